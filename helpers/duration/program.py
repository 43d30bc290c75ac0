"""A recorded step played again on real tensors, one operation after the other, with a clock.

An operation that is measured alone finds its arguments in the cache and writes to memory that it has just had. In a
step it does not: on a CPU that decides about half of the time. So the step's operations are played in their order, on
storages that begin and end as they do in the step; what is left out is Python's and autograd's own work.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor

from helpers.duration.timing import now
from helpers.memory.fake import FakeRun
from helpers.memory.jobs import Job
from helpers.memory.operations import VIEW, Described, Operation
from helpers.memory.recording import recorded


class Place(NamedTuple):
    """A tensor as a part of a numbered storage."""

    storage: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype


@dataclass
class Line:
    """One call: its operation, where in the step it is made, its arguments, what it makes, what has ended before it."""

    func: Any
    operation: Operation
    where: str
    args: Any
    kwargs: dict[str, Any]
    made: list[int]
    ended: list[int] = field(default_factory=list)


class RecordingRun(FakeRun):
    """A ``FakeRun`` that keeps the step as ``lines`` that can be played; ``given`` has whole numbers it began with."""

    def __init__(self, workspace: Any = None) -> None:
        super().__init__(workspace)
        self.lines: list[Line] = []
        self.given: dict[int, torch.Tensor] = {}
        self._made: set[int] = set()
        self._read = 0  # events of the ledger that lines know of

    def count(
        self, func: Any, args: Any, kwargs: Any, out: Any, where: str, call: Described, known: Operation | None
    ) -> Operation:
        operation = super().count(func, args, kwargs, out, where, call, known)
        place = self.tally.last[1]
        if operation.kind == VIEW:
            return operation
        outs = [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(x, torch.Tensor)]
        places = self._placed(list(args)), {name: self._placed(value) for name, value in kwargs.items()}
        made = [self.record(x, "made") for x in outs]
        self._made.update(made)
        ended = [key for key, size in self.ledger.events[self._read :] if size < 0]
        self._read = len(self.ledger.events)
        self.lines.append(Line(func, operation, place, *places, made, ended))
        return operation

    def _placed(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            key = self.record(value, "given")
            if not isinstance(value, FakeTensor) and key not in self._made and key not in self.given:
                self.given[key] = torch.empty(0, dtype=value.dtype).set_(value.untyped_storage().clone())
            return Place(key, tuple(value.shape), value.stride(), int(value.storage_offset()), value.dtype)
        if isinstance(value, (list, tuple)):
            return [self._placed(item) for item in value]
        return value


class Program:
    """A step of a job that can be played.

    Args:
        layers: of the language model, in place of as many as it has.
    """

    def __init__(self, job: Job, layers: int | None = None) -> None:
        run = recorded(job.but(accumulation=1), layers, RecordingRun)[0]
        self.lines: list[Line] = run.lines
        self.counts = run.tally.counts
        self._given: dict[int, torch.Tensor] = run.given
        self._sizes = {key: size for key, size in run.ledger.events if size > 0}
        self._kept: dict[int, Any] = {}  # storages that were there before the step
        self._dead: set[int] = set()  # lines that cannot be played

    def play(self) -> dict[tuple[Operation, str], float]:
        """Seconds of each operation, summed over the places where it comes."""
        storages: dict[int, Any] = dict(self._kept)
        made: set[int] = set()
        spent: dict[tuple[Operation, str], float] = defaultdict(float)
        with torch.no_grad():
            for number, line in enumerate(self.lines):
                for key in line.ended:
                    storages.pop(key, None)
                args, kwargs = self._real(line.args, storages, made), self._real(line.kwargs, storages, made)
                if number not in self._dead:
                    try:
                        began = now()
                        out = line.func(*args, **kwargs)
                        spent[line.operation, line.where] += now() - began
                    except (RuntimeError, TypeError, IndexError):
                        self._dead.add(number)
                        out = None
                else:
                    out = None
                outs = [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(x, torch.Tensor)]
                made.update(line.made)
                for key, tensor in zip(line.made, outs, strict=False):
                    if tensor.untyped_storage().nbytes() == self._sizes.get(key, 0):
                        storages[key] = tensor.untyped_storage()
                del args, kwargs, out, outs
        return spent

    def _real(self, value: Any, storages: dict[int, Any], made: set[int]) -> Any:
        """An argument on real storages; what was there before the step is made once and stays."""
        if isinstance(value, Place):
            if value.storage not in storages:
                fresh = self._fresh(value)
                storages[value.storage] = fresh
                if value.storage not in made:
                    self._kept[value.storage] = fresh
            whole = torch.empty(0, dtype=value.dtype)
            return whole.set_(storages[value.storage], value.offset, value.shape, value.stride)
        if isinstance(value, dict):
            return {name: self._real(item, storages, made) for name, item in value.items()}
        return [self._real(item, storages, made) for item in value] if isinstance(value, list) else value

    def _fresh(self, place: Place) -> Any:
        if place.storage in self._given:
            return self._given[place.storage].untyped_storage()
        size = -(-self._sizes.get(place.storage, 0) // place.dtype.itemsize)
        fill = 0.5 if place.dtype.is_floating_point else int(place.dtype == torch.bool)
        return torch.full((size,), fill, dtype=place.dtype).untyped_storage()


def operation_seconds(program: Program, times: int = 3) -> dict[Any, float]:
    """(operation, where) -> seconds of one call in the step: the fastest of so many plays, after one that warms up.

    What else a machine does only adds to a time.
    """
    program.play()
    plays = [program.play() for _ in range(times)]
    found = {}
    for key, calls in program.counts.items():
        if spent := [play[key] for play in plays if key in play]:
            found[key] = min(spent) / calls
    return found
