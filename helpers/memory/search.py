"""The cheapest change that makes a job fit: what it costs in time or in quality, not in work to type."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from helpers.errors import ModelError, ParameterError
from helpers.memory.jobs import Job
from helpers.memory.planner import Plan, plan

# What each change costs, in one unit; a smaller batch, with more passes an update, costs nothing but some speed.
SMALL_STATES = 2.0  # 8-bit moments: hardly anything
CHECKPOINTED = 3.0  # a third more time
DOUBLE = 1.0  # scales in 8 bits: hardly anything
FOUR_BITS = 5.0  # the base model rounded
FEWER_PIXELS = 8.0  # a half, each: detail
SHORTER = 12.0  # three quarters, each: the end of the longest texts
MOST_HALVINGS = {"pixels": 3, "length": 3}


@dataclass(frozen=True)
class Change:
    """Fields of a job that change to make it fit, the changed job and its plan."""

    job: Job
    changed: dict[str, object]
    plan: Plan

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value!r}" for name, value in self.changed.items())


FIELDS = ("batch_size", "accumulation", "checkpointing", "length", "pixels", "quant", "optimizer")  # that may change


def cheapest(
    job: Job, available: float, tried: Callable[[Job], Plan] = plan, allowed: Collection[str] = FIELDS
) -> Change | None:
    """The cheapest changes with which the job fits into `available` bytes; ``None`` where none of them helps.

    Accumulation grows as the batch shrinks, so that an update sees as many rows as before. All else is tried at one
    row a pass first; where that fits, the largest batch that fits too is looked for.

    Args:
        tried: makes a plan.
        allowed: which of ``FIELDS`` may change.
    """
    seen: dict[Job, Plan] = {}

    def fits(candidate: Job) -> bool:
        if candidate not in seen:
            seen[candidate] = tried(candidate)
        return seen[candidate].fits(available)

    for _, base in sorted(_others(job, allowed), key=lambda option: option[0]):
        try:
            if "batch_size" not in allowed:
                batch = base.batch_size if fits(base) else 0
            else:
                batch = _largest(base, fits, allowed) if fits(_with_batch(base, 1, allowed)) else 0
            if not batch:
                continue
        except (ParameterError, ModelError):  # a shorter row has no room for its picture, say
            continue
        found = _with_batch(base, batch, allowed)
        changed = {name: getattr(found, name) for name in FIELDS if getattr(found, name) != getattr(job, name)}
        return Change(found, changed, seen[found])
    return None


def _with_batch(job: Job, batch_size: int, allowed: Collection[str]) -> Job:
    more = job.trains and "accumulation" in allowed
    passes = math.ceil(job.batch_size * job.accumulation / batch_size) if more else job.accumulation
    return job.but(batch_size=batch_size, accumulation=passes)


def _largest(job: Job, fits: Callable[[Job], bool], allowed: Collection[str]) -> int:
    """Largest of the halved batch sizes that fits; 1 does."""
    sizes = [1]
    while sizes[-1] * 2 <= job.batch_size:
        sizes.append(sizes[-1] * 2)
    if sizes[-1] != job.batch_size:
        sizes.append(job.batch_size)
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_with_batch(job, sizes[middle], allowed)) else (low, middle - 1)
    fits(_with_batch(job, sizes[low], allowed))
    return sizes[low]


def _others(job: Job, allowed: Collection[str]) -> list[tuple[float, Job]]:
    """(cost, job) of all combinations of changes but the batch."""
    options: list[tuple[float, Job]] = [(0.0, job)]

    def add(field: str, possible: bool, *values: tuple[float, Any]) -> None:
        if possible and field in allowed:
            more = [(c + cost, j.but(**{field: value})) for cost, value in values for c, j in options]
            options.extend(more)

    plain = job.quant in ("none", "int8")
    add("optimizer", job.method == "full" and job.optimizer == "adamw_torch", (SMALL_STATES, "adamw_bnb_8bit"))
    add(
        "checkpointing",
        job.trains and not job.checkpointing and job.method in ("lora", "embedding", "full"),
        (CHECKPOINTED, True),
    )
    add(
        "quant",
        job.quant != "nf4-double" and job.method not in ("full", "soft"),
        (FOUR_BITS if plain else DOUBLE, "nf4-double"),
    )
    halves = range(1, MOST_HALVINGS["pixels"] + 1)
    add("pixels", bool(job.pixels), *((n * FEWER_PIXELS, (job.pixels or 0) >> n) for n in halves))
    steps = range(1, MOST_HALVINGS["length"] + 1)
    add("length", True, *((n * SHORTER, int(job.length * 0.75**n)) for n in steps))
    return options
