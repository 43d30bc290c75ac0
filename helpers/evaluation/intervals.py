"""Intervals of one proportion, of a mean, and of the difference of two proportions. Importing it costs nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.errors import DataError, ParameterError

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval. ``n`` is the number of examples behind it."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


def wilson(k: int, n: int, level: float = LEVEL) -> Estimate:
    """Wilson score interval for ``k`` successes in ``n`` trials.

    Raises:
        DataError: ``n`` is not positive, or ``k`` lies outside 0…n.
    """
    if n < 1 or not 0 <= k <= n:
        raise DataError(f"{k} successes in {n} trials is not a proportion", "Score at least one example")
    return Estimate(k / n, *score_interval(k / n, n, level), n)


def score_interval(p: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval, (low, high), of a share ``p`` of ``n`` trials, a number that need not be whole."""
    check_level(level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    z2 = z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the formula gives 0 and 1 up to rounding: say so exactly.
    return 0.0 if p == 0 else max(0.0, centre - half), 1.0 if p == 1 else min(1.0, centre + half)


def mean_interval(values: ArrayLike, bounds: tuple[float, float] | None = None, level: float = LEVEL) -> Estimate:
    """Mean of a few independent numbers with Student's t interval, for fewer than a bootstrap is good for.

    Args:
        values: (n,) finite numbers, in any unit; of a single one the interval is ``bounds``, or else a point.
        bounds: that no mean can pass, (low, high). Where all numbers are equal, t has no width; then some others, as
            many as Wilson's interval of 0 in n allows, may still lie at either bound.

    Raises:
        DataError: no numbers, or some that are not finite.
    """
    from scipy.special import stdtrit

    check_level(level)
    data = np.asarray(values, dtype=np.float64).reshape(-1)
    if not data.size or not np.isfinite(data).all():
        raise DataError("A mean needs finite numbers, one at least", "Leave out what could not be measured")
    value, n = float(data.mean()), len(data)
    low, high = bounds or (-math.inf, math.inf)
    if n == 1:
        return Estimate(value, *(bounds or (value, value)), n)
    if bounds and np.ptp(data) == 0:
        others = score_interval(0.0, n, level)[1]
        return Estimate(value, value - others * (value - low), value + others * (high - value), n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * float(data.std(ddof=1)) / math.sqrt(n)
    return Estimate(value, max(low, value - half), min(high, value + half), n)


def newcombe(correct_a: ArrayLike, correct_b: ArrayLike, level: float = LEVEL) -> tuple[float, float, float]:
    """Difference a − b of two paired proportions with its interval: (difference, low, high).

    Newcombe (1998), method 10: Wilson intervals of the two proportions, squared and added, with their
    correlation. Unlike a bootstrap it does not collapse to a point when the systems agree everywhere.
    """
    a, b = paired_binary(correct_a, correct_b)
    n = len(a)
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum())
    neither = n - both - only_a - only_b
    first, second = wilson(both + only_a, n, level), wilson(both + only_b, n, level)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    phi = 0.0
    if margins:
        cross = both * neither - only_a * only_b
        phi = (max(cross - n / 2, 0.0) if cross > 0 else cross) / math.sqrt(margins)
    return of_two_intervals(first, second, phi)


def of_two_intervals(first: Estimate, second: Estimate, phi: float) -> tuple[float, float, float]:
    """Difference first − second with its interval: their sides, squared and added, with their correlation ``phi``."""
    difference = first.value - second.value

    def half(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    low = difference - half(first.value - first.low, second.high - second.value)
    high = difference + half(first.high - first.value, second.value - second.low)
    return difference, low, high


def as_binary(values: ArrayLike) -> NDArray[np.bool_]:
    """(n,) booleans or 0/1 as booleans; DataError for no examples or other values."""
    data = np.asarray(values).reshape(-1)
    if not data.size or not np.isin(data, (0, 1)).all():
        raise DataError("Correctness must be a non-empty list of 0 and 1")
    return data.astype(bool)


def paired_binary(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What two systems have right of the same examples, as booleans.

    Raises:
        DataError: lengths differ, no examples, or values other than 0 and 1.
    """
    a, b = as_binary(correct_a), as_binary(correct_b)
    if a.shape != b.shape:
        raise DataError(f"A paired comparison needs the same examples in both systems, got {len(a)} and {len(b)}")
    return a, b


def check_level(level: float) -> None:
    """ParameterError unless a level of confidence lies between 0 and 1."""
    if not 0 < level < 1:
        raise ParameterError(f"level = {level} is out of range, it must lie between 0 and 1")
