"""Seconds of a step of a job: the operations that a run on fake tensors records, each at the speed of a device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from helpers.duration.rates import Rates
from helpers.memory.jobs import Job
from helpers.memory.operations import AGAIN, BACKWARD, FORWARD, UPDATE, Counts
from helpers.memory.recording import layers_of, recorded

PASS = (FORWARD, AGAIN, BACKWARD)
SHALLOW, DEEP = 1, 2  # layers of the two short models that stand for a deep one
KNOTS = 2  # lengths at which a step is predicted; between them the line


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, by where in it they are spent.

    Attributes:
        device: where -> seconds of computing.
        calls: where -> seconds of calling: Python, torch, autograd.
        kinds: kind of operation -> seconds of computing.
        overlaps: calling goes on while earlier calls compute.
        passes: forward and backward passes for one update.
    """

    device: dict[str, float]
    calls: dict[str, float]
    kinds: dict[str, float]
    overlaps: bool
    passes: int = 1

    def spent(self, *where: str) -> float:
        """Seconds of these parts of one step."""
        computing, calling = (sum(by.get(part, 0.0) for part in where) for by in (self.device, self.calls))
        return max(computing, calling) if self.overlaps else computing + calling

    @property
    def places(self) -> dict[str, float]:
        """Where in a step -> seconds."""
        return {place: self.spent(place) for place in self.calls}

    @property
    def reading(self) -> float:
        """Seconds of one forward pass."""
        return self.spent(FORWARD)

    @property
    def total(self) -> float:
        """Seconds of one update with all its passes."""
        return self.passes * self.spent(*PASS) + self.spent(UPDATE)


def time_of(counts: Counts, rates: Rates, passes: int = 1) -> StepTime:
    """Seconds of counted operations: each as often as it comes."""
    device, calls, kinds = Counter[str](), Counter[str](), Counter[str]()
    for (operation, where), times in counts.items():
        seconds = times * rates.device_seconds(operation, where)
        device[where] += seconds  # type: ignore[assignment]
        kinds[operation.kind] += seconds  # type: ignore[assignment]
        calls[where] += times * rates.call_seconds(operation, where)  # type: ignore[assignment]
    return StepTime(dict(device), dict(calls), dict(kinds), rates.overlaps, passes)


@lru_cache(maxsize=256)
def counted_once(job: Job, layers: int | None = None) -> Counts:
    """The operations of one pass and one update of `job`, with another number of `layers` if given."""
    found: Counts = recorded(job.but(accumulation=1), layers)[0].tally.counts
    return found


def depths(job: Job) -> tuple[int, ...]:
    """Numbers of layers that are looked at: two small ones for a deep model, its own for one that is not."""
    layers = layers_of(job)
    return (layers,) if layers <= SHALLOW + DEEP else (SHALLOW, DEEP)


def step_time(job: Job, rates: Rates) -> StepTime:
    """Seconds of one step of `job`.

    All layers of a language model do the same, so time is a line in their number: two short models give it exactly.
    """
    passes = job.accumulation if job.trains else 1
    times = [time_of(counted_once(job, n), rates, passes) for n in depths(job)]
    if len(times) == 1:
        return times[0]
    low, high = times
    share = (layers_of(job) - SHALLOW) / (DEEP - SHALLOW)

    def line(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
        return {name: max(0.0, a.get(name, 0.0) + share * (b[name] - a.get(name, 0.0))) for name in b}

    device, calls, kinds = line(low.device, high.device), line(low.calls, high.calls), line(low.kinds, high.kinds)
    return StepTime(device, calls, kinds, rates.overlaps, passes)


def knots(lengths: Sequence[int], most: int = KNOTS) -> list[int]:
    """Lengths at which to predict so that all of `lengths` lie between them: the ends and, evenly, some within."""
    distinct = sorted(set(lengths))
    if len(distinct) <= most:
        return distinct
    low, high = distinct[0], distinct[-1]
    wanted = [low + (high - low) * i / (most - 1) for i in range(most)]
    return sorted({min(distinct, key=lambda length: abs(length - w)) for w in wanted})


def line(lengths: Sequence[int], seconds: Callable[[int], float]) -> Callable[[Sequence[int]], float]:
    """A function that sums `seconds` over batches of some lengths: read off the lines between ``knots`` of `lengths`.

    Args:
        lengths: all that may be asked for.
    """
    import numpy as np

    places = knots(lengths)
    values = [seconds(length) for length in places]
    return lambda some: float(np.interp(some, places, values).sum()) if some else 0.0


def summed(lengths: Sequence[int], seconds: Callable[[int], float]) -> float:
    """Sum of `seconds` over batches of these lengths; see ``line``."""
    return line(lengths, seconds)(lengths)
