"""Which of several GPUs a process sees: a lesson takes one, and a training that is launched on all of them all.

Works before CUDA has been started; from then on what a process sees stays as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping

from helpers.machine import ranks

VISIBLE = "CUDA_VISIBLE_DEVICES"
BEFORE = "PEFT_LAB_VISIBLE_BEFORE"  # what VISIBLE was before one was picked
EVERY = "PEFT_LAB_ALL_GPUS"  # "1": somebody wants to see all of them


def pick_one(count: int, values: MutableMapping[str, str] | None = None) -> bool:
    """Show this process the first of several GPUs; returns whether it has done so.

    Args:
        count: GPUs that are visible.
        values: the environment.
    """
    values = os.environ if values is None else values
    torch = sys.modules.get("torch")
    started = torch is not None and torch.cuda.is_initialized()
    if count < 2 or ranks.world() > 1 or started or values.get(EVERY) == "1":
        return False
    seen = values.get(VISIBLE)
    values[BEFORE] = seen or ""
    values[VISIBLE] = seen.split(",")[0] if seen else "0"
    return True


def with_all(values: Mapping[str, str]) -> dict[str, str]:
    """An environment in which all GPUs are visible that were before one was picked."""
    found = dict(values)
    if (before := found.pop(BEFORE, None)) is not None:
        found.pop(VISIBLE, None)
        if before:
            found[VISIBLE] = before
    return found
