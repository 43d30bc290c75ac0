"""The units of a sharded model: which of its tensors are gathered together, and how large a card's part of them is.

The units are those that accelerate makes for FSDP2 (``accelerate.utils.fsdp_utils.fsdp2_prepare_model``): each layer is
one, the input embedding one, the output head one that stays whole from the forward to the backward pass, and what is
left belongs to the model itself and stays whole too. A tensor is cut along its first dimension, as ``torch.chunk``
does it; where the rows do not divide, what travels is padded to the largest part (PyTorch, ``torch.distributed.fsdp``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from helpers.memory.jobs import Job
from helpers.memory.spread import Spread, gathered_in

LAYER, ROOT = "layer", "model"


@dataclass(frozen=True)
class Member:
    """A parameter of a unit.

    Attributes:
        shape: as it is stored; of packed 4-bit weights ``(bytes, 1)``.
        dtype: as it is stored; of packed weights ``torch.uint8``, whatever they are kept in.
        trained: it has a gradient.
        packed: two 4-bit weights a byte.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    trained: bool
    packed: bool = False

    def sharded(self, spread: Spread) -> bool:
        """Whether it is cut: packed weights only where they are kept as floats."""
        return spread.sharded and not (self.packed and spread.storage == "uint8")

    def stored(self, spread: Spread) -> torch.dtype:
        """What it is kept in."""
        return getattr(torch, spread.storage) if self.packed else self.dtype

    def gathered(self, job: Job, spread: Spread) -> torch.dtype:
        """What it is in a forward pass; its gradient is in the same."""
        policy = gathered_in(job)
        stored = self.stored(spread)
        return getattr(torch, policy) if policy and stored.is_floating_point else stored

    def numbers(self, spread: Spread, rank: int | None = None) -> int:
        """Numbers of it that a card holds, of type ``stored``.

        Args:
            rank: number of the card in its group; without it of the largest part, which all parts are padded to.
        """
        rows, *rest = self.shape or (1,)
        if self.packed:
            rows = math.ceil(rows / self.stored(spread).itemsize)
        if self.sharded(spread):
            part = math.ceil(rows / spread.shard)
            rows = part if rank is None else max(0, min(part, rows - rank * part))
        return rows * math.prod(rest)


@dataclass(frozen=True)
class Unit:
    """Parameters that are gathered together.

    Attributes:
        name: ``LAYER``, ``ROOT`` or the path of its first module.
        keeps: it stays whole from its forward pass on, with every strategy.
        count: how many units are the same as this one.
    """

    name: str
    members: tuple[Member, ...]
    keeps: bool = False
    count: int = 1

    def cut(self, spread: Spread) -> list[Member]:
        """The members that are sharded."""
        return [member for member in self.members if member.sharded(spread)]

    def whole_bytes(self, job: Job, spread: Spread) -> int:
        """Bytes of what comes out of its all-gather, padding included."""
        return sum(m.numbers(spread) * m.gathered(job, spread).itemsize for m in self.cut(spread)) * spread.shard

    def gradient_bytes(self, job: Job, spread: Spread) -> int:
        """Bytes of what goes into its reduce-scatter, padding included; gradients are in what was gathered."""
        trained = [m for m in self.members if m.trained]
        return sum(m.numbers(spread) * m.gathered(job, spread).itemsize for m in trained) * spread.shard


def modules_of(model: Any) -> list[tuple[str, list[nn.Module], bool]]:
    """(name, modules, whether they stay whole) of each unit, in the order in which accelerate makes them, root last."""
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    found = [(LAYER, [module], False) for module in model.modules() if type(module).__name__ in kinds]
    first, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = first is not None and head is not None and first.weight is head.weight
    if first is not None and not tied:
        found.append((_path(model, first), [first], False))
    tail = [module for module in (_final_norm(model), first if tied else None, head) if module is not None]
    if tail:
        found.append((_path(model, tail[0]), tail, True))
    return [*found, (ROOT, [model], True)]


def _path(model: nn.Module, wanted: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def _final_norm(model: Any) -> nn.Module | None:
    """The norm in front of the output head, where accelerate looks for it; inside of PEFT's wrapper it finds none."""
    base = getattr(model, getattr(model, "base_model_prefix", "") or "", model)
    norms = [module for _, module in base.named_children() if "Norm" in type(module).__name__]
    return norms[-1] if norms else None


def units_of(model: Any, job: Job, more: int = 0) -> tuple[Unit, ...]:
    """The units of a model that is built for `job`, on ``meta`` or fake; layers that are alike as one with a count.

    Args:
        more: layers that the job's model has beyond those of this one.
    """
    taken: set[int] = set()
    units: list[Unit] = []
    for name, modules, keeps in modules_of(model):
        own = [p for module in modules for p in module.parameters() if id(p) not in taken]
        taken |= {id(p) for p in own}
        members = tuple(dict.fromkeys(own))
        units.append(Unit(name, tuple(_member(p, job) for p in members), keeps))
    alike = [unit for unit in units if unit.name == LAYER]
    if len(set(alike)) == 1:
        one = Unit(LAYER, alike[0].members, False, len(alike) + more)
        units = [one, *(unit for unit in units if unit.name != LAYER)]
    return tuple(units)


def _member(parameter: Any, job: Job) -> Member:
    packed = hasattr(parameter, "quant_state")
    dtype = master(job) if parameter.requires_grad else parameter.dtype
    return Member(tuple(parameter.shape), dtype, parameter.requires_grad, packed)


def master(job: Job) -> torch.dtype:
    """What trained parameters are kept in: PEFT's adapters in float32, and weights where precision is mixed."""
    return torch.float32 if job.mixed or job.method != "full" else getattr(torch, job.dtype)


def members(units: Sequence[Unit]) -> Iterator[Member]:
    """Every parameter of a model."""
    for unit in units:
        yield from unit.members * unit.count


def held(units: Sequence[Unit], spread: Spread, rank: int = 0) -> dict[str, int]:
    """Bytes that a card holds between two steps and at the end of a backward pass, padding left out.

    Args:
        rank: number of the card in its group of ``spread.shard``.

    Returns:
        "parameters", "gradients" and "optimizer states" (two moments of AdamW in the parameter's dtype). Scales of
        quantised weights and buffers are whole on every card and not counted here.
    """
    found = {"parameters": 0, "gradients": 0, "optimizer states": 0}
    for member in members(units):
        size = member.numbers(spread, rank) * member.stored(spread).itemsize
        found["parameters"] += size
        if member.trained:
            found["gradients"] += size
            found["optimizer states"] += 2 * size
    return found
