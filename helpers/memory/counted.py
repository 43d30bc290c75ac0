"""Collectives counted as they are called: how many of each kind, and how many bytes; for comparison with ``wire``."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.memory.wire import BROADCAST, GATHER, REDUCE, SCATTER

# Operation of torch.distributed -> (kind, which argument's bytes count: an all-gather's result, else what goes in).
COLLECTIVES = {
    "_allgather_base_": (GATHER, 0),
    "all_gather_into_tensor_out": (GATHER, 3),
    "_reduce_scatter_base_": (SCATTER, 1),
    "allreduce_": (REDUCE, 0),
    "all_reduce": (REDUCE, 0),
    "all_reduce_": (REDUCE, 0),
    "broadcast_": (BROADCAST, 0),
    "broadcast": (BROADCAST, 0),
}
QUIET = {"wait_tensor", "_wrap_tensor_autograd", "barrier", "monitored_barrier_"}  # nothing of a tensor travels
SPACES = ("c10d", "_c10d_functional")


class Counted(TorchDispatchMode):
    """Under it this process' collectives are counted, those of a backward pass on a CPU too.

    Attributes:
        calls: (kind, bytes) of each, in order; of one that is not in ``COLLECTIVES`` its own name, and of all tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if DTensor in types:
            return NotImplemented  # it calls the operations on its parts, which come here then
        if getattr(func, "namespace", "") in SPACES:
            name = func.overloadpacket.__name__
            if name not in QUIET:
                kind, place = COLLECTIVES.get(name, (name, None))
                self.calls.append((kind, _bytes(args if place is None else args[place])))
        return func(*args, **(kwargs or {}))

    def sums(self) -> dict[str, tuple[int, int]]:
        """Kind -> (calls, bytes)."""
        found: dict[str, tuple[int, int]] = {}
        for kind, size in self.calls:
            calls, before = found.get(kind, (0, 0))
            found[kind] = (calls + 1, before + size)
        return found


def _bytes(values: Any) -> int:
    return sum(x.numel() * x.element_size() for x in tree_leaves(values) if isinstance(x, torch.Tensor))
