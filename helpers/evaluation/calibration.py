"""Is a classifier as sure as it is right? Confidence against accuracy, and their mean distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError, ParameterError
from helpers.evaluation.clusters import Groups, group_sums
from helpers.evaluation.intervals import LEVEL, Estimate, as_binary, check_level, wilson
from helpers.evaluation.statistics import DRAWS, FloatArray, bootstrap

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """The examples whose confidence lies in (low, high]: their mean confidence, and the share that is right."""

    low: float
    high: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Selective:
    """Answers given only where the model is sure: the share answered, and the accuracy of these answers.

    ``accuracy`` is ``None`` where nothing was answered.
    """

    coverage: Estimate
    accuracy: Estimate | None

    def __str__(self) -> str:
        right = str(self.accuracy) if self.accuracy else "none"
        return f"{right} of the {self.coverage.value:.0%} answered"


def softmax(logits: ArrayLike) -> FloatArray:
    """Probabilities of each row, ``(n, classes)``; safe for large logits."""
    values = np.asarray(logits, dtype=np.float64)
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(values / values.sum(axis=-1, keepdims=True))


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """The diagram's points: bins of equal width that hold an example, from low to high confidence.

    Args:
        confidence: (n,) probability of the chosen class, in 0…1.
        right: (n,) whether the choice was right, as booleans or 0/1.

    Raises:
        DataError: no examples, lengths differ, or values out of range.
        ParameterError: fewer than one bin.
    """
    p, r, which = _checked(confidence, right, bins)
    return [
        ReliabilityBin(b / bins, (b + 1) / bins, float(p[which == b].mean()), wilson(int(r[which == b].sum()), n))
        for b in range(bins)
        if (n := int((which == b).sum()))
    ]


def expected_calibration_error(
    confidence: ArrayLike,
    right: ArrayLike,
    bins: int = BINS,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
    groups: Groups | None = None,
) -> Estimate:
    """Mean distance of confidence and accuracy over the bins, weighted by their examples (ECE).

    Naeini, Cooper and Hauskrecht (2015); Guo et al. (2017, arXiv:1706.04599). 0 is perfectly calibrated. The
    estimate is biased upwards on few examples: each bin's accuracy is itself uncertain, and a distance is never
    negative. The interval is a percentile bootstrap over examples and shares that bias.

    Args:
        groups: (n,) labels of related examples; whole groups are resampled then, see ``clusters``.

    Raises:
        DataError, ParameterError: as ``reliability``, or groups as in ``group_codes``.
    """
    p, r, which = _checked(confidence, right, bins)
    # A bin's |sum of confidence − sum of right| is all that ECE needs: k = 1 + bins columns that can be summed.
    stats = np.zeros((len(p), bins + 1))
    stats[np.arange(len(p)), which] = p - r
    stats[:, bins] = 1

    def from_sums(sums: FloatArray) -> FloatArray:
        return np.asarray(np.abs(sums[:, :bins]).sum(axis=1) / sums[:, bins])

    drawn = stats if groups is None else group_sums(stats, groups)
    return replace(bootstrap(drawn, from_sums, level, draws, seed), n=len(stats))


def fit_temperature(logits: ArrayLike, gold: ArrayLike) -> float:
    """The temperature T that makes the true classes likeliest under softmax(logits / T), between exp(-4) and exp(4).

    Guo et al. (2017, arXiv:1706.04599). Fit it on examples that are not used for testing. If every example is right,
    no error limits the confidence: the result is 1.

    Args:
        logits: (n, classes).
        gold: (n,) true classes.

    Raises:
        DataError: no examples, or lengths differ.
    """
    from scipy.optimize import minimize_scalar

    values, target = np.asarray(logits), np.asarray(gold)
    if values.ndim != 2 or not len(values) or target.shape != values.shape[:1]:
        raise DataError(f"logits {values.shape} and {target.size} classes do not fit", "give one class a row")
    if (values.argmax(axis=1) == target).all():
        return 1.0

    def loss(log_t: float) -> float:
        p = softmax(values / np.exp(log_t))
        return float(-np.log(p[np.arange(len(target)), target] + 1e-12).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def selective(right: ArrayLike, answered: ArrayLike) -> Selective:
    """Coverage and accuracy, each with a Wilson interval, of a model that answers only some examples.

    Args:
        right: (n,) whether the answer is, or would be, right.
        answered: (n,) whether it is given.

    Raises:
        DataError: no examples, or lengths differ.
    """
    r, given = np.asarray(right, dtype=bool).reshape(-1), np.asarray(answered, dtype=bool).reshape(-1)
    if len(r) != len(given):
        raise DataError(f"{len(r)} results for {len(given)} answers", "give one result for each example")
    n = int(given.sum())
    return Selective(wilson(n, len(r)), wilson(int(r[given].sum()), n) if n else None)


def discrimination(confidence: ArrayLike, right: ArrayLike, level: float = LEVEL) -> Estimate | None:
    """Chance that a right answer is surer than a wrong one (AUROC, the Mann-Whitney statistic), with its interval.

    0.5 says that confidence tells nothing about being right, 1 that every right answer is surer than every wrong one;
    ties count half. The interval is Newcombe's method 5 (2006, "Confidence intervals for an effect size measure based
    on the Mann-Whitney statistic", part 2): like Wilson's it has a width also where all pairs are in order.

    Args:
        confidence: (n,) finite numbers on any scale, higher is surer.
        right: (n,) whether the answer was right, as booleans or 0/1.

    Returns:
        None where all answers are right or all are wrong: there is nothing to tell apart.

    Raises:
        DataError: as ``coverage_curve``, or ``right`` has other values.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri
    from scipy.stats import rankdata

    check_level(level)
    coverage_curve(confidence, right)  # refuses what does not fit
    r = as_binary(right)
    n, m = int(r.sum()), int((~r).sum())
    if not n or not m:
        return None
    value = (float(rankdata(np.asarray(confidence, dtype=np.float64))[r].sum()) - n * (n + 1) / 2) / (n * m)
    z, pairs = float(ndtri((1 + level) / 2)), (n + m) / 2 - 1

    def outside(t: float) -> float:
        spread = t * (1 - t) * (1 + pairs * (1 - t) / (2 - t) + pairs * t / (1 + t)) / (n * m)
        return float((value - t) ** 2 - z * z * spread)

    tiny = 1e-9  # at 0 and 1 there is no spread
    low = brentq(outside, 0, min(value, 1 - tiny)) if value > 0 else 0.0
    high = brentq(outside, max(value, tiny), 1) if value < 1 else 1.0
    return Estimate(value, float(low), float(high), len(r))


def coverage_curve(confidence: ArrayLike, right: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """What answering only where confidence is high buys: coverage and accuracy at every threshold.

    El-Yaniv and Wiener (2010), "On the foundations of noise-free selective classification". Examples of one confidence
    are answered together or not at all.

    Args:
        confidence: (n,) finite numbers on any scale, higher is surer.
        right: (n,) whether the choice was right.

    Returns:
        Share answered, ascending to 1, and accuracy among those, one entry for each different confidence.

    Raises:
        DataError: no examples, lengths differ, or a value that is not finite.
    """
    c, r = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not c.size or c.shape != r.shape or not np.isfinite(c).all():
        raise DataError(f"{c.size} confidences for {r.size} answers", "give one finite confidence for each answer")
    order = np.argsort(-c, kind="stable")
    last = np.append(np.diff(c[order]) < 0, True)
    answered = np.arange(1, len(c) + 1)
    return answered[last] / len(c), (np.cumsum(r[order]) / answered)[last]


def threshold_for(confidence: ArrayLike, right: ArrayLike, accuracy: float, level: float = 0.9) -> float:
    """Lowest confidence from which on answers are shown to be right as often as asked for; infinite if none is.

    Of many thresholds some look better than they are. So each one is tested (exact binomial test, the same as the lower
    end of a Clopper-Pearson interval), from the highest confidence down, and the first failure ends the search: "Learn
    then Test", Angelopoulos et al. (2021, arXiv:2110.01052). Since a few early errors would end it too soon, it starts
    again at the surest ... eighth, quarter and half of the examples, and at all of them. The starts share the permitted
    error; a search that reaches the next one takes its share along (Wiens 2003, "A fixed sequence Bonferroni
    procedure").

    If surer answers are right more often, the *chosen* threshold's true accuracy is below ``accuracy`` with a
    probability of at most (1 - level) / 2. Choose it on other examples than it is judged on, and on unrelated ones.

    Args:
        confidence: (n,) finite numbers on any scale, higher is surer.
        right: (n,) whether the choice was right, as booleans or 0/1.
        accuracy: share of right answers, above 0 and at most 1.
        level: 0.9 permits an error of one in twenty.

    Raises:
        DataError: as ``coverage_curve``, or ``right`` has other values.
        ParameterError: ``accuracy`` or ``level`` out of range.
    """
    from scipy.stats import binom

    check_level(level)
    if not 0 < accuracy <= 1:
        raise ParameterError(f"accuracy = {accuracy} is out of range, it must lie above 0 and be at most 1")
    coverage, share = coverage_curve(confidence, right)
    right_or_not = as_binary(right)
    answered = np.rint(coverage * len(right_or_not)).astype(int)
    p_values = binom.sf(np.rint(share * answered) - 1, answered, accuracy)
    starts = [len(right_or_not)]
    error = (1 - level) / 2
    while accuracy ** (starts[-1] // 2) <= error / (len(starts) + 2):
        starts.append(starts[-1] // 2)
    # The last start is the fewest examples that could pass, if all of them are right.
    if accuracy < 1 and (fewest := math.ceil(math.log(error / (len(starts) + 1), accuracy))) < starts[-1]:
        starts.append(fewest)
    shares = np.bincount(np.searchsorted(answered, starts), minlength=len(answered)) * error / len(starts)
    budget, chosen = 0.0, float("inf")
    thresholds = np.unique(np.asarray(confidence, dtype=np.float64))[::-1]
    for threshold, p_value, added in zip(thresholds, p_values, shares, strict=True):
        budget += added
        if p_value <= budget:
            chosen = float(threshold)
        else:
            budget = 0.0
    return chosen


def confusion(gold: Sequence[int], predicted: Sequence[int], classes: int) -> np.ndarray:
    """Counts ``(classes, classes)``: row = true class, column = predicted one. Unreadable answers (−1) are left out."""
    from sklearn.metrics import confusion_matrix

    return np.asarray(confusion_matrix(gold, predicted, labels=range(classes)))


def _checked(confidence: ArrayLike, right: ArrayLike, bins: int) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Confidence, correctness and each example's bin."""
    if bins < 1:
        raise ParameterError(f"bins = {bins} is out of range, it must be at least 1")
    p = np.asarray(confidence, dtype=np.float64).reshape(-1)
    r = np.asarray(right, dtype=np.float64).reshape(-1)
    if len(p) != len(r) or not len(p):
        raise DataError(f"{len(p)} confidences for {len(r)} answers", "Give one confidence per answer")
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(r, (0, 1)).all():
        raise DataError("confidences must lie between 0 and 1, correctness must be 0 or 1")
    return p, r, np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
