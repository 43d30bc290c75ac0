"""One measurement before and after training, on the same examples: two estimates and the paired test between them.

``compare`` has these for the metrics of a lesson's systems. Here are those for what is counted among few examples or
measured in a unit of its own: secrets, pairs, checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError
from helpers.evaluation.intervals import Estimate, mean_interval, newcombe, wilson
from helpers.evaluation.statistics import FloatArray, TestResult, mcnemar_exact

EXACT = 14  # pairs up to which every choice of signs is tried
FLIPS = 9999  # choices of signs that are drawn for more pairs


@dataclass(frozen=True)
class BeforeAfter:
    """``before`` and ``after`` with their intervals; ``change`` is after − before with its own, and its p-value."""

    before: Estimate
    after: Estimate
    change: TestResult

    def __str__(self) -> str:
        p = "p < 0.001" if self.change.p_value < 0.001 else f"p = {self.change.p_value:.3f}"
        return f"{self.before} before, {self.after} after, {p} ({self.change.test})"


def shares(
    before: ArrayLike, after: ArrayLike, measure: str, names: tuple[str, str] = ("before", "after")
) -> BeforeAfter:
    """Shares of examples for which something is so: Wilson's intervals, exact McNemar test, Newcombe's difference.

    Args:
        before, after: (n,) booleans or 0/1, about the same examples.
        measure: what is counted, for the test's name.
        names: of the two systems.

    Raises:
        DataError: lengths differ, no examples, or values other than 0 and 1.
    """
    difference, low, high = newcombe(after, before)
    x, y = np.asarray(before, dtype=int), np.asarray(after, dtype=int)
    p = mcnemar_exact(after, before).p_value
    change = TestResult(names[1], names[0], measure, difference, low, high, p, "exact McNemar")
    return BeforeAfter(wilson(int(x.sum()), len(x)), wilson(int(y.sum()), len(y)), change)


def means(
    before: ArrayLike,
    after: ArrayLike,
    measure: str,
    bounds: tuple[float, float] | None = None,
    names: tuple[str, str] = ("before", "after"),
    seed: int = 0,
) -> BeforeAfter:
    """Means of a few numbers: Student's intervals, and a test by sign flips.

    Args:
        before, after: (n,) finite numbers about the same examples.
        bounds: that no mean can pass.
        seed: of the choices of signs, where there are too many to try all.

    Raises:
        DataError: lengths differ, no examples, or numbers that are not finite.
    """
    x, y = _numbers(before), _numbers(after)
    if len(x) != len(y):
        raise DataError(f"A paired comparison needs the same examples in both systems, got {len(x)} and {len(y)}")
    difference = mean_interval(y - x, bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0]))
    p, test = sign_flip_test(y - x, seed)
    change = TestResult(names[1], names[0], measure, difference.value, difference.low, difference.high, p, test)
    return BeforeAfter(mean_interval(x, bounds), mean_interval(y, bounds), change)


def sign_flip_test(differences: ArrayLike, seed: int = 0) -> tuple[float, str]:
    """Two-sided p-value that a mean is 0, and the test's name (Fisher 1935; Dwass 1957 for drawn signs).

    If a difference might as well have had the other sign, so might all of them: p is the share of the choices of signs
    whose mean is at least as far from 0 as the one observed. Up to ``EXACT`` numbers all choices are tried.

    Args:
        differences: (n,) finite numbers.
    """
    d = _numbers(differences)
    seen = abs(d.sum()) - 1e-9 * max(1.0, float(np.abs(d).sum()))  # the slack keeps ties ties
    if len(d) <= EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
        return float((np.abs(signs @ d) >= seen).mean()), f"exact sign flips of {len(d)}"
    signs = np.random.default_rng(seed).integers(0, 2, (FLIPS, len(d)), dtype=np.int8) * 2 - 1
    return (1 + int((np.abs(signs @ d) >= seen).sum())) / (FLIPS + 1), f"sign flips of {len(d)}, {FLIPS:,} drawn"


def _numbers(values: ArrayLike) -> FloatArray:
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    if not found.size or not np.isfinite(found).all():
        raise DataError("A mean needs finite numbers, one at least", "Leave out what could not be measured")
    return found
