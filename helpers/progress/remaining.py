"""How long a training still takes, from the steps that it has made."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median, quantiles

FEWEST = 4  # steps before anything is said
RECENT = 50  # steps that count: a machine that becomes slower or faster is followed


class Remaining:
    """Seconds left: the median of recent steps times the steps left, and the pauses that are still to come.

    Steps differ, because batches differ in length: the lower and the upper quartile in place of the median give the
    spread. A step with a pause, for a validation say, is no measure of a step; what it takes longer is the measure of
    a pause.

    Args:
        steps: of the whole training.
        paused: steps whose seconds hold a pause as well. Seconds run from the end of the step before to the step's
            own end, so a validation after step 100 belongs to step 101, one after the last to ``steps`` + 1.
    """

    def __init__(self, steps: int, paused: Iterable[int] = ()) -> None:
        self._steps = steps
        self._paused = frozenset(paused)
        self._plain: deque[float] = deque(maxlen=RECENT)
        self._long: deque[float] = deque(maxlen=RECENT)
        self._at: int | None = None

    def add(self, step: int, seconds: float) -> None:
        """A step has ended. The first one that is seen is left out: it also starts what the others find running."""
        if self._at is not None:
            (self._long if step in self._paused else self._plain).append(seconds)
        self._at = step

    def seconds(self) -> tuple[float, float, bool] | None:
        """(from, to, whether all pauses are in it); None before enough is known.

        Pauses to come are not in it until one of them has been seen.
        """
        plain, long = self._plain, self._long
        if len(plain) < FEWEST and len(long) >= FEWEST:  # a pause at (nearly) every step: these are the steps
            plain, long = long, deque()
        if self._at is None or len(plain) < FEWEST:
            return None
        left = max(0, self._steps - self._at)
        low, _, high = quantiles(plain, n=4, method="inclusive")
        to_come = sum(step > self._at for step in self._paused) if plain is not self._long else 0
        pauses = to_come * max(0.0, median(long) - median(plain)) if long else 0.0
        return left * low + pauses, left * high + pauses, bool(long) or not to_come
