"""Several processes that train together, one on each card: which of them this is, and what they tell each other.

``accelerate launch`` and ``torchrun`` start the same program several times and say in the environment who is who. A
program that was started once is process 0 of 1. torch is imported where there are several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from helpers.errors import HardwareError, LabError, RunError, shown

T = TypeVar("T")


def world() -> int:
    """How many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if {"WORLD_SIZE", "RANK", "LOCAL_RANK"} <= os.environ.keys() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return int(os.environ["RANK"]) if world() > 1 else 0


def local_rank() -> int:
    """Its number on this machine: that of its card."""
    return int(os.environ["LOCAL_RANK"]) if world() > 1 else 0


def first() -> bool:
    """Whether it is the one that prints and writes."""
    return rank() == 0


def sharded() -> bool:
    """Whether they share one copy of the model (FSDP), rather than have one each (DDP)."""
    return world() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def join(device: str, gpus: int = 0) -> None:
    """Meet the others: on CPUs over gloo, on GPUs over NCCL.

    Args:
        device: "cpu" or "cuda".
        gpus: of this machine.

    Raises:
        HardwareError: there are more processes than GPUs.
    """
    if world() == 1:
        return
    if device == "cuda" and local_rank() >= gpus:
        what = f"process {rank()} of {world()} has no GPU of its own: this machine shows {gpus}"
        raise HardwareError(what, f"Launch {gpus} processes")
    from accelerate import PartialState

    PartialState(cpu=device == "cpu")


def gathered(value: T) -> list[T]:
    """What each process has given, in their order."""
    if world() == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * world()
    dist.all_gather_object(found, value)
    return found


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` returns in process 0, in all of them; it is called nowhere else.

    Raises:
        LabError: that ``make`` has raised, in all processes.
    """
    if world() == 1:
        return make()
    import torch.distributed as dist

    told: list[Any] = [None, None]
    if first():
        try:
            told[0] = make()
        except LabError as error:
            told[1] = error
    dist.broadcast_object_list(told, src=0)
    if told[1] is not None:
        raise told[1]
    return told[0]


def agree(what: str, told: Mapping[str, Any]) -> None:
    """Make sure that all processes have the same.

    Args:
        what: these are, for the error line: "settings".
        told: name → value that can be compared.

    Raises:
        RunError: one has another value; in all processes, with the first name that differs.
    """
    rows = gathered(dict(told))
    for number, row in enumerate(rows):
        for name in (name for name in rows[0] | row if row.get(name) != rows[0].get(name)):
            here, there = shown(row.get(name)), shown(rows[0].get(name))
            raise RunError(
                f"process {number} of {len(rows)} has other {what} than process 0: {name} is {here} and not {there}",
                "Start all processes with one command, on the same data and the same packages",
            )
