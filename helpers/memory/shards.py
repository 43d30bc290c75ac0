"""The record of one card of several: what FSDP2 holds, gathers, gives back and sums, in its order of events.

Made from the record of the step on one card, whose computing is the same, with marks where FSDP2 acts. The rules are
those of torch 2.13 (``torch.distributed.fsdp._fully_shard``):

- A card keeps its part of each sharded tensor and of its optimizer states.
- Before a unit's forward pass its parts are gathered into one buffer and copied out into whole tensors. The buffer is
  kept until the next unit is copied out, so that two layers are there at once; in the backward pass it goes at once,
  but the buffer of the unit before is filled already (prefetch).
- After a unit's backward pass its whole tensors go, its gradients are copied into a buffer, summed into a card's part
  and cast to the parameter's dtype. The buffer stays until the next unit's sum.

CUDA's allocator keeps a pool for each stream, and FSDP2 gathers and sums on streams of their own; here there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from helpers.memory import steps
from helpers.memory.build import ADAPTERS, WEIGHTS
from helpers.memory.jobs import Job
from helpers.memory.ledger import MARK, Ledger
from helpers.memory.marks import AFTER, BACKWARD, DONE, END, FORWARD, put_marks
from helpers.memory.recording import Record, layers_of, record_of
from helpers.memory.spread import Spread
from helpers.memory.units import Member, Unit, master, units_of

KEPT = (WEIGHTS, ADAPTERS)
_Shape = tuple[int, ...]


@lru_cache(maxsize=32)
def marked_record(job: Job) -> tuple[Record, tuple[Unit, ...]]:
    """A step of the job as FSDP computes it, with marks, and the units of its model."""
    found: list[tuple[Unit, ...]] = []

    def prepare(run: Any, model: Any) -> None:
        found.append(units_of(model, job, _missing(model, job)))
        put_marks(run, model)

    record = record_of(job.but(mixed=False, uniform=job.mixed), prepare)
    return record, found[0]


@lru_cache(maxsize=32)
def whole_record(job: Job) -> tuple[Record, tuple[Unit, ...]]:
    """A step of the job on one card, and the units of its model."""
    found: list[tuple[Unit, ...]] = []
    record = record_of(job, lambda run, model: found.append(units_of(model, job, _missing(model, job))))
    return record, found[0]


def _missing(model: Any, job: Job) -> int:
    """Layers that a shallow model has less than the job's."""
    return layers_of(job) - int(model.config.get_text_config().num_hidden_layers)


def with_buckets(ledger: Ledger, sizes: Sequence[int]) -> Ledger:
    """A card's record under DDP: buckets that gradients are copied to and summed in, there from the start."""
    found = Ledger([], dict(ledger.causes), dict(ledger.shapes))
    for number, size in enumerate(sizes, 1):
        found.events.append((-number, size))
        found.causes[-number], found.shapes[-number] = steps.SENT, ((size,), torch.uint8, "bucket")
    found.events += ledger.events
    return found


def sharded(record: Ledger, units: Sequence[Unit], job: Job, spread: Spread) -> tuple[Ledger, int]:
    """A card's record, made from ``marked_record``'s of `job`; most bytes that its process keeps in the RAM."""
    rank = _Rank(record, {unit.name: unit for unit in units}, job, spread)
    return rank.play(), rank.offloaded


@dataclass(eq=False)
class _Use:
    """A unit in one forward and backward pass.

    Attributes:
        buffer: key of what it was gathered into.
        whole: keys of its whole tensors.
        done: its backward pass is over.
    """

    unit: Unit
    buffer: int | None = None
    whole: list[int] = field(default_factory=list)
    done: bool = False


class _Rank:
    def __init__(self, record: Ledger, units: dict[str, Unit], job: Job, spread: Spread) -> None:
        self.record, self.units, self.job, self.spread = record, units, job, spread
        self.out = Ledger()
        self.next = 0
        self.sizes: dict[int, int] = {}
        self.keys: dict[int, int | None] = {}  # key in the record -> here; None: it is in the machine's memory
        self.order: list[_Use] = []  # as their forward passes ended
        self.begun: list[_Use] = []  # whose forward pass has not ended
        self.last: int | None = None  # buffer of the forward pass that the next unit will free
        self.sum: list[int] = []  # what the latest sum of gradients still holds
        self.gradients: dict[tuple[_Shape, torch.dtype], list[int]] = {}  # whole ones, keys in the record
        self.parts: dict[int, list[int]] = {}  # key in the record -> [parts of gradients here, whole ones they are of]
        self.hosted: dict[int, int] = {}  # what is in the machine's memory: key in the record -> bytes
        self.in_host = self.offloaded = 0  # bytes there now, and the most

    def play(self) -> Ledger:
        for key, size in self.record.events:
            cause, (shape, dtype, operation) = self.record.causes[key], self.record.shapes[key]
            if cause == MARK:
                self._marked(*operation.split(" ", 1))
            elif size >= 0:
                self._begins(key, size, cause, shape, dtype, operation)
            else:
                self._ends(key)
        return self.out

    # what the record has

    def _begins(self, key: int, size: int, cause: str, shape: _Shape, dtype: torch.dtype, operation: str) -> None:
        kept = cause in KEPT
        if kept or (cause == steps.STATES and shape):
            member = self._member(cause, shape, dtype)
            size = member.numbers(self.spread) * member.stored(self.spread).itemsize
            if self.spread.offloads and member.sharded(self.spread):
                self._host(size)
                self.keys[key], self.hosted[key] = None, size
                return
        elif cause == steps.GRADIENTS:
            self.gradients.setdefault((shape, dtype), []).append(key)
        self.keys[key] = self._birth(size, cause, shape, dtype, operation)

    def _member(self, cause: str, shape: _Shape, dtype: torch.dtype) -> Member:
        trained = cause != WEIGHTS or self.job.method == "full"
        return Member(shape, master(self.job) if trained else dtype, trained, dtype == torch.uint8)

    def _ends(self, key: int) -> None:
        if key in self.parts:
            left = self.parts.pop(key)
            left[-1] -= 1
            if left[-1] == 0:
                self._free(left[:-1])
            return
        if (here := self.keys.pop(key)) is not None:
            self._free([here])
        else:
            self._host(-self.hosted.pop(key, 0))

    def _host(self, size: int) -> None:
        self.in_host += size
        self.offloaded = max(self.offloaded, self.in_host)

    # what FSDP adds

    def _birth(self, size: int, cause: str, shape: _Shape, dtype: torch.dtype, operation: str) -> int:
        key, self.next = self.next, self.next + 1
        self.out.events.append((key, size))
        self.out.causes[key], self.out.shapes[key] = cause, (shape, dtype, operation)
        self.sizes[key] = size
        return key

    def _bytes(self, size: int, cause: str, operation: str) -> int:
        return self._birth(size, cause, (size,), torch.uint8, operation)

    def _free(self, keys: list[int]) -> None:
        self.out.events += [(key, -self.sizes.pop(key)) for key in keys]

    def _marked(self, what: str, name: str = "") -> None:
        if what == END:
            for use in self.order:
                self._after(use)
            self._free(self.sum)
            self.order, self.sum = [], []
            return
        unit = self.units[name]
        if what == FORWARD:
            self.begun.append(_Use(unit))
            self._gather(self.begun[-1])
            self._place(self.begun[-1], forward=True)
        elif what == DONE:
            use = next(use for use in reversed(self.begun) if use.unit is unit)
            self.begun.remove(use)
            self.order.append(use)
            if self.spread.frees and not unit.keeps:
                self._give_back(use)
            if not self.begun and self.last is not None:
                self._free([self.last])
                self.last = None
        else:
            use = next(use for use in reversed(self.order) if use.unit is unit and not use.done)
            if what == BACKWARD:
                self._gather(use)
                self._place(use, forward=False)
                if (index := self.order.index(use)) > 0:
                    self._gather(self.order[index - 1])
            elif what == AFTER:
                self._after(use)

    def _gather(self, use: _Use) -> None:
        cut = use.unit.cut(self.spread)
        if use.whole or use.buffer is not None or not cut or use.done:
            return
        brought: list[int] = []
        if self.spread.offloads:
            own = sum(m.numbers(self.spread) * m.stored(self.spread).itemsize for m in cut)
            brought.append(self._bytes(own, steps.GATHERED, "brought"))
        if cast := sum(
            m.numbers(self.spread) * m.gathered(self.job, self.spread).itemsize
            for m in cut
            if m.gathered(self.job, self.spread) != m.stored(self.spread)
        ):
            brought.append(self._bytes(cast, steps.GATHERED, "cast"))
        use.buffer = self._bytes(use.unit.whole_bytes(self.job, self.spread), steps.GATHERED, "gathered")
        self._free(brought)

    def _place(self, use: _Use, forward: bool) -> None:
        if use.buffer is None:
            return
        if forward and self.last is not None:
            self._free([self.last])
            self.last = None
        for member in use.unit.cut(self.spread):
            dtype = member.gathered(self.job, self.spread)
            size = member.numbers(self.spread) * self.spread.shard * dtype.itemsize
            use.whole.append(self._birth(size, steps.GATHERED, member.shape, dtype, "whole"))
        if forward:
            self.last = use.buffer
        else:
            self._free([use.buffer])
        use.buffer = None

    def _give_back(self, use: _Use) -> None:
        self._free(use.whole)
        use.whole = []

    def _after(self, use: _Use) -> None:
        """The end of a unit's backward pass."""
        if use.done:
            return
        use.done = True
        if use.buffer is not None:  # was gathered ahead, and not used
            self._free([use.buffer])
            use.buffer = None
        self._give_back(use)
        self._free(self.sum)
        self.sum = []
        self._summed(use.unit)

    def _summed(self, unit: Unit) -> None:
        wanted = Counter((m.shape, m.gathered(self.job, self.spread)) for m in unit.members if m.trained)
        there = [self.gradients[kind].pop() for kind, n in wanted.items() for _ in range(n) if self.gradients.get(kind)]
        if not there:
            return
        size = unit.gradient_bytes(self.job, self.spread)
        buffer = self._bytes(size, steps.SENT, "gradients")
        self._free([here for key in there if (here := self.keys.pop(key)) is not None])
        part = self._bytes(size // self.spread.shard, steps.GRADIENTS, "part")
        self.sum = [buffer]
        exact = sum(m.numbers(self.spread) * m.dtype.itemsize for m in unit.members if m.trained)
        if any(m.dtype != m.gathered(self.job, self.spread) for m in unit.members if m.trained):
            kept = self._bytes(exact, steps.GRADIENTS, "part")
            if self.spread.copies > 1:
                self.sum.append(part)
            else:
                self._free([part])
            part = kept
        if self.spread.offloads:
            self._host(exact)
            self._free([part])
            left: list[int] = [len(there)]
        else:
            left = [part, len(there)]
        for key in there:
            self.parts[key] = left
