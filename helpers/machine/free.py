"""How much memory is free at this moment: of the GPU that torch will use, and of the computer.

A card's size is not what a job can have: other programs, a display and other notebooks take their part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess

from helpers.machine.hardware import Machine
from helpers.machine.out_of_memory import torch_on_gpu
from helpers.machine.probes import GB, SMI_TIMEOUT, memory

CUDA_CONTEXT = 0.5e9  # bytes that CUDA takes in each process, outside of torch's allocator; assumed
QUERY = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.free", "--format=csv,noheader,nounits"]
MIB = 2**20


def refreshed(machine: Machine) -> Machine:
    """The same machine with what is free now: ``ram_free_gb``, and ``gpu_free_gb`` where it computes on a GPU."""
    free = gpu_free_gb(machine.device_name, machine.gpu_memory_gb) if machine.device == "cuda" else None
    return dataclasses.replace(machine, ram_free_gb=memory()[1], gpu_free_gb=free)


def gpu_free_gb(name: str, size_gb: float) -> float | None:
    """GB of a usable GPU that other programs leave; ``None`` where neither torch nor the driver says.

    What this process holds itself counts as free: a lesson's cells replace their model when they run again, and torch
    hands out again what it has reserved. Before CUDA is started the driver is asked (``nvidia-smi``), since torch
    would have to start it, which breaks processes that are forked later. Only where there is no answer torch is asked.

    Args:
        name: of the GPU that torch uses; of several cards ``nvidia-smi`` lists, those with this name count.
        size_gb: what torch can use of it at all.
    """
    if started := torch_on_gpu():
        free = started.cuda.mem_get_info()[0] + started.cuda.memory_reserved() + CUDA_CONTEXT
    elif (told := ask_driver(name)) is not None:
        free = told
    else:
        try:
            import torch

            free = torch.cuda.mem_get_info()[0] + CUDA_CONTEXT
        except Exception:  # a CPU build, a driver that fails: the plan must not fail with it
            return None
    return round(min(free / GB, size_gb), 2)


def ask_driver(name: str) -> int | None:
    """Free bytes of the card that CUDA shows first, as ``nvidia-smi`` says; ``None`` without an answer."""
    null = subprocess.DEVNULL
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        output = subprocess.check_output(QUERY, stderr=null, stdin=null, timeout=SMI_TIMEOUT)
        return parse_free(output.decode(errors="replace"), name, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return None


def parse_free(text: str, name: str, visible: str | None = None) -> int | None:
    """Free bytes in the answer to ``QUERY``, see ``of_card``.

    Raises:
        ValueError: a card that does not say how much is free.
    """
    found = of_card(text, name, visible)
    return None if found is None else int(found) * MIB


def of_card(text: str, name: str, visible: str | None = None) -> str | None:
    """What nvidia-smi says of the card that torch uses: a line a card, ``0, GPU-5e1d…, Tesla T4, 14910``.

    Args:
        name: of the card that torch uses.
        visible: ``CUDA_VISIBLE_DEVICES``; its first entry is a card's index or the beginning of its UUID.
    """
    rows = [[part.strip() for part in line.split(",")] for line in text.strip().splitlines()]
    cards = [row for row in rows if len(row) == 4 and row[2] == name]
    first = (visible or "").split(",")[0].strip()
    # nvidia-smi counts cards by their place on the bus, CUDA the fastest first: an index means a card among equals.
    chosen = [row for row in cards if first and (row[0] == first or row[1].startswith(first))] or cards
    return chosen[0][3] if chosen else None
