"""What goes over the wire in one update, by collective, as formulas of the sizes of a model's units.

Per forward and backward pass, with N cards, a unit's gathered weights W and gradients G (``units.Unit``):

- DDP: one all-reduce of all gradients after the last pass of an update, in buckets; each pass that syncs begins with a
  broadcast of the buffers.
- FSDP, full shard: an all-gather of W in front of the forward pass of a unit and another in front of its backward pass,
  none again for a unit that stays whole; a reduce-scatter of G after the last pass (Zhao et al. 2023, "PyTorch FSDP:
  Experiences on Scaling Fully Sharded Data Parallel", arXiv 2304.11277).
- Shard grad op: one all-gather of W a pass. Hybrid: all of this within a group, then an all-reduce of each card's part
  of G among the groups. CPU offload: as full shard; each card also brings its own part to the GPU before each gather.
- The norm of the gradient: an all-reduce of one number for each sharded gradient.

A ring sends (N - 1) / N of an all-gather's result or of a reduce-scatter's input from each card, and twice that of an
all-reduce (NVIDIA, nccl-tests, doc/PERFORMANCE.md). Not counted: what a trainer sends besides, such as the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from helpers.memory.jobs import Job
from helpers.memory.spread import Spread
from helpers.memory.units import LAYER, Unit

GATHER, SCATTER, REDUCE, BROADCAST = "all-gather", "reduce-scatter", "all-reduce", "broadcast"
BUCKETS = (2**20, 25 * 2**20)  # bytes from which DDP closes its first bucket of gradients, and the others
UP, DOWN = "to the GPU", "to the RAM"
NORM = "all-reduce of norms"


@dataclass(frozen=True)
class Traffic:
    """Collectives of one kind in one update, as every card takes part in them.

    Attributes:
        kind: ``GATHER`` and so on; ``UP`` and ``DOWN`` are copies between the machine's memory and a card.
        cards: how many take part.
        calls: how many there are.
        size: bytes of all of them: of an all-gather's result, of a reduce-scatter's or an all-reduce's input, of what
            a card copies.
    """

    kind: str
    cards: int
    calls: int
    size: int

    @property
    def sent(self) -> float:
        """Bytes that each card sends, as a ring does it; copies are no part of it."""
        share = (self.cards - 1) / self.cards
        if self.kind in (UP, DOWN):
            return 0.0
        return self.size * (2 * share if self.kind in (REDUCE, NORM) else share)


def gathers(unit: Unit, spread: Spread) -> int:
    """All-gathers of a unit in one forward and backward pass.

    Each unit's backward pass brings the one before it, in the order of the forward pass, so that the input embedding
    comes twice too, though its frozen weights are not used there.
    """
    if not unit.cut(spread):
        return 0
    return 2 if spread.frees and not unit.keeps else 1


def traffic(units: Sequence[Unit], job: Job, spread: Spread, buffers: int = 0) -> list[Traffic]:
    """What goes over the wire in one update of ``job.accumulation`` passes.

    Args:
        buffers: bytes of the model's buffers, which DDP keeps the same on all cards.
    """
    if spread.count == 1:
        return []
    passes = job.accumulation
    if not spread.sharded:
        sizes = buckets(units, spread)
        # Whether it syncs is looked at when a pass ends: the buffers travel in front of the pass after it.
        found = [Traffic(REDUCE, spread.count, len(sizes), sum(sizes)), Traffic(BROADCAST, spread.count, 1, buffers)]
        return [row for row in found if row.size]
    gathered = [(unit, gathers(unit, spread) * unit.count * passes) for unit in units]
    trained = [unit for unit in units if unit.gradient_bytes(job, spread)]
    into = [Traffic(GATHER, spread.shard, times, unit.whole_bytes(job, spread) * times) for unit, times in gathered]
    out = [
        Traffic(SCATTER, spread.shard, unit.count, unit.gradient_bytes(job, spread) * unit.count) for unit in trained
    ]
    parts = [Traffic(REDUCE, spread.copies, row.calls, row.size // spread.shard) for row in out]
    norms = sum(member.trained for unit in units for member in unit.members * unit.count)
    rows = [_sum(into), _sum(out)]
    if spread.copies > 1:
        rows.append(_sum(parts))
    rows.append(Traffic(NORM, spread.shard, 1, norms * 4))
    if spread.offloads:
        brought = sum(row.calls for row in into)
        rows += [
            Traffic(UP, 1, brought, _copied(units, spread, passes)),
            Traffic(DOWN, 1, sum(unit.count for unit in trained), _returned(units, spread)),
        ]
    return [row for row in rows if row.size]


def buckets(units: Sequence[Unit], spread: Spread) -> list[int]:
    """Bytes of DDP's buckets of gradients, about in the order in which a backward pass gives them: the last first."""
    first = sorted(units, key=lambda unit: (not unit.keeps, unit.name != LAYER))  # head, layers, embedding
    found: list[int] = []
    held = 0
    for member in (m for unit in first for m in [*reversed(unit.members)] * unit.count if m.trained):
        held += member.numbers(spread) * member.dtype.itemsize
        if held >= BUCKETS[bool(found)]:
            found.append(held)
            held = 0
    return [*found, held] if held else found


def _sum(rows: Sequence[Traffic]) -> Traffic:
    return Traffic(rows[0].kind, rows[0].cards, sum(r.calls for r in rows), sum(r.size for r in rows))


def _copied(units: Sequence[Unit], spread: Spread, passes: int) -> int:
    """Bytes that a card brings from the machine's memory: its own part before each gather, as it is stored."""
    return sum(
        member.numbers(spread) * member.stored(spread).itemsize * gathers(unit, spread) * unit.count * passes
        for unit in units
        for member in unit.cut(spread)
    )


def _returned(units: Sequence[Unit], spread: Spread) -> int:
    """Bytes of a card's part of the gradients, which go back to where the optimizer is."""
    return sum(
        member.numbers(spread) * member.stored(spread).itemsize * unit.count
        for unit in units
        for member in unit.members
        if member.trained
    )
