"""Bootstrap and paired tests; ``intervals`` has those of proportions, ``clusters`` what is for related examples.

Every metric of the course is a function of *summed* per-example statistics (see ``metrics``). Resampling
examples with replacement is then a matrix product, ``weights @ stats``, where row ``d`` of ``weights`` says
how often each example was drawn in draw ``d``: 2,000 draws over 300 examples take some ten milliseconds,
for corpus BLEU as much as for a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.errors import DataError, ParameterError
from helpers.evaluation.intervals import LEVEL, Estimate, check_level, paired_binary

FloatArray = NDArray[np.float64]
Aggregate = Callable[[FloatArray], FloatArray]
"""Maps summed statistics of shape (m, k) to one value per row, shape (m,). NaN means undefined."""

DRAWS = 2000
_CHUNK = 2_000_000  # weights held at once (16 MB), whatever the number of examples


@dataclass(frozen=True)
class TestResult:
    """A paired comparison: ``difference`` = metric of ``a`` − metric of ``b``, with its interval."""

    __test__ = False  # the name would make pytest collect it

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    test: str

    def as_dict(self) -> dict[str, str | float]:
        return asdict(self)

    def __str__(self) -> str:
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return (
            f"{self.metric}: {self.a} - {self.b} = {self.difference:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}], {p} ({self.test})"
        )


class PairedDifference(NamedTuple):
    """What ``paired_bootstrap`` returns; ``difference`` is a − b."""

    difference: float
    low: float
    high: float
    p_value: float


class McNemar(NamedTuple):
    """What ``mcnemar_exact`` returns: examples right in ``a`` only, in ``b`` only, two-sided p-value."""

    only_a: int
    only_b: int
    p_value: float


def bootstrap(stats: ArrayLike, fn: Aggregate, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Percentile bootstrap interval of ``fn(sum of stats over examples)``.

    Args:
        stats: (n, k), or (n,) for k = 1: one row of sufficient statistics per example.
        fn: maps summed statistics (m, k) to values (m,).
        level: coverage, between 0 and 1.
        draws: resamples of n examples with replacement.
        seed: the same seed, data and machine give the same interval.

    Draws on which the metric is undefined (NaN) are left out. With one example the interval is a point:
    resampling cannot say more. Below some 30 examples percentile intervals come out too narrow.

    Raises:
        DataError: no examples, or statistics that are not finite.
        ParameterError: ``level`` or ``draws`` out of range.
    """
    data = _as_stats(stats)
    value = float(fn(data.sum(axis=0, keepdims=True))[0])
    low, high = _percentiles(fn(resampled_sums(data, draws, seed)), level, value)
    return Estimate(value, low, high, len(data))


def paired_bootstrap(
    stats_a: ArrayLike,
    stats_b: ArrayLike,
    fn: Aggregate,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedDifference:
    """Difference a − b of a metric on the same examples, percentile interval and two-sided p-value.

    Each draw resamples example indices once and uses them for both systems. The p-value shifts the
    bootstrap distribution of the difference onto the null hypothesis of no difference and counts how
    often it lies at least as far from 0 as what was observed::

        p = (1 + #{|d* - d| >= |d|}) / (draws + 1)

    so it is never 0: with 2,000 draws the smallest is 0.0005.

    Args:
        stats_a, stats_b: (n, k) each, row i of both about the same example.

    Raises:
        DataError: shapes differ, no examples, or statistics that are not finite.
        ParameterError: ``level`` or ``draws`` out of range.
    """
    a, b = _as_stats(stats_a), _as_stats(stats_b)
    if a.shape != b.shape:
        raise DataError(
            f"A paired test needs the same examples in both systems, got {a.shape} and {b.shape} statistics"
        )
    difference = float((fn(a.sum(0, keepdims=True)) - fn(b.sum(0, keepdims=True)))[0])
    drawn = np.concatenate([fn(w @ a) - fn(w @ b) for w in _weights(len(a), draws, seed)])
    return difference_of_draws(difference, drawn, level)


def difference_of_draws(difference: float, drawn: ArrayLike, level: float = LEVEL) -> PairedDifference:
    """Interval and p-value of ``paired_bootstrap`` from differences that were drawn elsewhere.

    Args:
        difference: a − b, observed.
        drawn: (draws,) a − b on resampled examples, the same ones for both; NaN where undefined.
    """
    found = np.asarray(drawn, dtype=np.float64)
    low, high = _percentiles(found, level, difference)
    found = found[np.isfinite(found)]
    # The slack keeps ties ties: w @ stats may differ in the last bits from the sum over all rows.
    far = np.abs(found - difference) >= abs(difference) - 1e-12 * max(1.0, abs(difference))
    return PairedDifference(difference, low, high, (1 + int(far.sum())) / (len(found) + 1))


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of two systems judged right or wrong on the same examples.

    Only examples on which they disagree count; under the null hypothesis each of those is a fair coin.
    For examples that share a premise or a picture: ``clusters.sign_flips``.

    Args:
        correct_a, correct_b: (n,) booleans or 0/1.

    Raises:
        DataError: lengths differ, no examples, or values other than 0 and 1.
    """
    from scipy.stats import binomtest

    a, b = paired_binary(correct_a, correct_b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    m = only_a + only_b
    tail = binomtest(min(only_a, only_b), m, alternative="less").pvalue if m else 1.0
    return McNemar(only_a, only_b, min(1.0, 2 * float(tail)))


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Holm's step-down adjusted p-values, in the order given; keeps the family-wise error at its level.

    Raises:
        DataError: a value lies outside 0…1.
    """
    p = np.asarray(p_values, dtype=np.float64).reshape(-1)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values must lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def resampled_sums(stats: ArrayLike, draws: int = DRAWS, seed: int = 0) -> FloatArray:
    """(draws, k) sums of statistics (n, k) over n examples drawn with replacement."""
    data = _as_stats(stats)
    return np.concatenate([weights @ data for weights in _weights(len(data), draws, seed)])


def _weights(n: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield (chunk, n) multinomial counts, ``draws`` rows altogether."""
    if draws < 1:
        raise ParameterError(f"draws = {draws} is out of range, it must be at least 1")
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // n)
    for start in range(0, draws, step):
        m = min(step, draws - start)
        picks = rng.integers(0, n, size=(m, n))
        picks += np.arange(m)[:, None] * n  # each draw counts into its own block of n bins
        yield np.bincount(picks.ravel(), minlength=m * n).reshape(m, n).astype(np.float64)


def _percentiles(drawn: FloatArray, level: float, value: float) -> tuple[float, float]:
    check_level(level)
    defined = drawn[np.isfinite(drawn)]
    if not defined.size:
        return value, value
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _as_stats(stats: ArrayLike) -> FloatArray:
    data = np.asarray(stats, dtype=np.float64)
    if data.ndim == 1:
        data = data[:, None]
    if data.ndim != 2 or not len(data):
        raise DataError(f"Statistics of shape {data.shape} hold no examples", "Score at least one example")
    if not np.isfinite(data).all():
        raise DataError("Some per-example statistics are NaN or infinite")
    return data
