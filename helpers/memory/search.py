"""The cheapest change that makes a job fit: what it costs in time or in quality, not in work to type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from helpers.errors import ModelError, ParameterError
from helpers.memory.jobs import Job
from helpers.memory.planner import Plan, plan

# What each change costs, in one unit: none changes the result by more than the one after it.
HALVED_BATCH = 1.0  # the same update in more passes: some speed
SMALL_STATES = 2.0  # 8-bit moments: hardly anything
CHECKPOINTED = 3.0  # a third more time
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


def cheapest(job: Job, available: float, tried: Callable[[Job], Plan] = plan) -> Change | None:
    """The cheapest changes with which the job fits into `available` bytes; ``None`` where none of them helps.

    Accumulation grows as the batch shrinks, so that an update sees as many rows as before. All else is tried at one
    row a pass first; where that fits, the largest batch that fits too is looked for.

    Args:
        tried: makes a plan.
    """
    seen: dict[Job, Plan] = {}

    def fits(candidate: Job) -> bool:
        if candidate not in seen:
            seen[candidate] = tried(candidate)
        return seen[candidate].fits(available)

    for _, base in sorted(_others(job), key=lambda option: option[0]):
        try:
            if not fits(_with_batch(base, 1)):
                continue
            batch = _largest(base, fits)
        except (ParameterError, ModelError):  # a shorter row has no room for its picture, say
            continue
        found = _with_batch(base, batch)
        changed = {name: getattr(found, name) for name in FIELDS if getattr(found, name) != getattr(job, name)}
        return Change(found, changed, seen[found])
    return None


def _with_batch(job: Job, batch_size: int) -> Job:
    passes = math.ceil(job.batch_size * job.accumulation / batch_size) if job.trains else job.accumulation
    return job.but(batch_size=batch_size, accumulation=passes)


def _largest(job: Job, fits: Callable[[Job], bool]) -> int:
    """Largest of the halved batch sizes that fits; 1 does."""
    sizes = [1]
    while sizes[-1] * 2 <= job.batch_size:
        sizes.append(sizes[-1] * 2)
    if sizes[-1] != job.batch_size:
        sizes.append(job.batch_size)
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_with_batch(job, sizes[middle])) else (low, middle - 1)
    fits(_with_batch(job, sizes[low]))
    return sizes[low]


def _others(job: Job) -> Iterator[tuple[float, Job]]:
    """(cost, job) of all combinations of changes but the batch."""
    steps: list[tuple[float, Job]] = [(0.0, job)]
    if job.trains and job.method == "full" and job.optimizer == "adamw_torch":
        steps += [(c + SMALL_STATES, j.but(optimizer="adamw_bnb_8bit")) for c, j in steps]
    if job.trains and not job.checkpointing and job.method in ("lora", "embedding", "full"):
        steps += [(c + CHECKPOINTED, j.but(checkpointing=True)) for c, j in steps]
    if job.quant in ("none", "int8") and job.method != "full":
        steps += [(c + FOUR_BITS, j.but(quant="nf4-double")) for c, j in steps]
    if job.pixels:
        steps += [
            (c + n * FEWER_PIXELS, j.but(pixels=(job.pixels or 0) >> n))
            for n in range(1, MOST_HALVINGS["pixels"] + 1)
            for c, j in list(steps)
            if j.pixels == job.pixels
        ]
    for n in range(1, MOST_HALVINGS["length"] + 1):
        length = int(job.length * 0.75**n)
        steps += [(c + n * SHORTER, j.but(length=length)) for c, j in list(steps) if j.length == job.length]
    yield from steps
