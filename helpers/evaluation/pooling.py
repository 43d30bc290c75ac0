"""Several seeds of one system, what the training run itself adds to the uncertainty; several metrics of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError, ParameterError
from helpers.evaluation.aggregates import aggregate
from helpers.evaluation.intervals import LEVEL, Estimate, check_level
from helpers.evaluation.scores import Scores
from helpers.evaluation.statistics import DRAWS, Aggregate, FloatArray, TestResult, bootstrap, paired_bootstrap


@dataclass(frozen=True)
class Pooled:
    """One metric over several seeds.

    Attributes:
        mean, sd: of the seeds' values; ``sd`` with n − 1, NaN for one seed.
        low, high: Student's t interval of the mean over seeds; NaN for one seed.
        boot_low, boot_high: percentile bootstrap over seeds. With few seeds it is too narrow (with 3 it covers
            about 3 times in 4 where it says 19 in 20), because three values know little of a distribution's tails.
        seeds: how many.
    """

    mean: float
    sd: float
    low: float
    high: float
    boot_low: float
    boot_high: float
    seeds: int

    def __str__(self) -> str:
        if self.seeds == 1:
            return f"{self.mean:.3f} (one seed)"
        return f"{self.mean:.3f} ± {self.sd:.3f} over {self.seeds} seeds, mean in [{self.low:.3f}, {self.high:.3f}]"


def pool(values: ArrayLike, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Pooled:
    """Pool one metric's values, one per seed.

    Seeds are the unit: each trained model and test sample is one draw, however many examples it was tested on.
    Putting all seeds' examples into one interval would count the luck of a training run as if it were known.

    Raises:
        DataError: no values, or values that are not finite.
        ParameterError: ``level`` or ``draws`` out of range.
    """
    from scipy.stats import t

    data = _finite(values)
    check_level(level)
    if draws < 1:
        raise ParameterError(f"draws = {draws} is out of range, it must be at least 1")
    n, mean = len(data), float(data.mean())
    nan = math.nan
    sd, half = (float(data.std(ddof=1)), nan) if n > 1 else (nan, nan)
    if n > 1:
        half = float(t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    picks = np.random.default_rng(seed).integers(0, n, size=(draws, n))
    low, high = np.quantile(data[picks].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Pooled(
        mean, sd, mean - half, mean + half,
        float(low) if n > 1 else nan, float(high) if n > 1 else nan, n,
    )  # fmt: skip


def overall(scores: Scores, metrics: Sequence[str], seed: int = 0) -> Estimate:
    """Project B's "overall" with its interval: the plain mean of metrics on a 0–1 scale, times 100.

    It adds what does not compare: a metric with a wide range of values decides the ranking alone. Reported only
    to place a system in that project's table. Each resample of the examples gives one value of every metric.

    Raises:
        DataError: no metrics, or one that is not on the 0–1 scale.
    """
    stats, mean = _together(scores, metrics)
    return bootstrap(stats, mean, seed=seed)


def overall_difference(
    a: Scores, b: Scores, name_a: str, name_b: str, metrics: Sequence[str], seed: int = 0
) -> TestResult:
    """Paired comparison of two "overall" scores; ``difference`` = ``a`` − ``b``, in points.

    What was scored against may differ: that is what comparing two references is about.

    Raises:
        DataError: as ``overall``, or not the same number of examples.
    """
    (x, mean), (y, _) = _together(a, metrics), _together(b, metrics)
    found = paired_bootstrap(x, y, mean, seed=seed)
    return TestResult(name_a, name_b, "overall", *found, f"paired bootstrap, {DRAWS} draws")


def _together(scores: Scores, metrics: Sequence[str]) -> tuple[FloatArray, Aggregate]:
    """The statistics of several metrics side by side, and the function from their sums to the overall score."""
    values = _finite([scores.value(metric) for metric in metrics])
    if values.min() < 0 or values.max() > 1:
        raise DataError("the overall score is made of metrics between 0 and 1", "Leave perplexity out")
    parts = [scores.parts[metric].independent for metric in metrics]
    edges = np.cumsum([part.shape[1] for part in parts])[:-1]

    def mean(sums: FloatArray) -> FloatArray:
        pieces = zip(metrics, np.split(sums, edges, axis=1), strict=True)
        return np.asarray(100 * np.mean([aggregate(metric)(piece) for metric, piece in pieces], axis=0))

    return np.hstack(parts), mean


def _finite(values: ArrayLike) -> FloatArray:
    data = np.asarray(values, dtype=np.float64).reshape(-1)
    if not data.size or not np.isfinite(data).all():
        raise DataError("there is nothing to pool, or a value is NaN or infinite", "Finish the runs first")
    return data
