"""Related examples: several questions about one premise, picture or recipe are less than as many independent ones.

Their answers are right or wrong together, so intervals and tests that count examples are too sure. Here the *group* is
what is drawn at random: examples that share something have one label, different groups have nothing in common.

==================  ===================  ==================================================================
independent         in groups            how
==================  ===================  ==================================================================
wilson              group_wilson         Wilson's interval of the effective number of examples
newcombe            group_newcombe       the same for both systems, with the correlation of their groups
mcnemar_exact       sign_flips           exact test: each group's difference changes its sign or does not
(paired_)bootstrap  the same, on sums    whole groups are resampled: ``bootstrap(group_sums(stats, groups))``
==================  ===================  ==================================================================

Groups of one example each give the independent results again. ``Scores.grouped`` makes ``estimates`` and ``compare``
use all of this. With fewer than some 30 groups a bootstrap of groups is too narrow, as it is with so few examples.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.errors import DataError
from helpers.evaluation.intervals import (
    LEVEL,
    Estimate,
    as_binary,
    check_level,
    of_two_intervals,
    paired_binary,
    score_interval,
    wilson,
)
from helpers.evaluation.statistics import FloatArray

Groups = Iterable[Hashable] | NDArray[Any]
_DIRECT = 10**8  # products up to which a convolution is summed term by term, which keeps the smallest p-values exact


class SignFlips(NamedTuple):
    """What ``sign_flips`` returns: groups with more right answers in ``a``, in ``b``, two-sided p-value."""

    more_in_a: int
    more_in_b: int
    p_value: float


def group_codes(groups: Groups, n: int) -> NDArray[np.int64]:
    """(n,) labels of any kind as numbers, 0 for the first one that occurs; one grouping gives one array.

    Raises:
        DataError: not one label for each of ``n`` examples, a missing label, or all examples in one group.
    """
    seen: dict[Any, int] = {}
    labels = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)  # Python's numbers are quicker
    if len(labels) != n:
        raise DataError(f"{len(labels)} group labels for {n} examples", "Give one label for each example")
    for i, label in enumerate(labels):
        try:
            seen.setdefault(label, len(seen))
        except TypeError:
            what = f"The group of example {i} is {type(label).__name__}"
            raise DataError(what, "Give a text, a number or a tuple") from None
        if label is None or label != label or label == "":
            raise DataError(f"Example {i} has no group", "Give it a label of its own if it is related to no other")
    if len(seen) < 2:
        raise DataError(f"All {n} examples are in one group", "Intervals and tests need groups that are independent")
    return np.array([seen[label] for label in labels])


def group_sums(stats: ArrayLike, groups: Groups) -> FloatArray:
    """(n, k) statistics of examples, or (n,), → (groups, k) sums, in the order in which the groups first occur.

    Raises:
        DataError: as ``group_codes``.
    """
    data = np.asarray(stats, dtype=np.float64)
    data = data[:, None] if data.ndim == 1 else data
    codes = group_codes(groups, len(data))
    return np.stack([np.bincount(codes, column) for column in data.T], axis=1)


def group_wilson(right: ArrayLike, groups: Groups, level: float = LEVEL) -> Estimate:
    """Share of right answers with Wilson's interval of the effective number of examples, n / design effect.

    The design effect is the variance of the share between groups (Kish 1965; linearised, so sizes may differ), divided
    by that of independent examples, and at least 1. It is estimated with one group of average size, all right, and one,
    all wrong, added: an estimate from a share near 0 or 1 is unreliable, and at 0 or 1 there is none. There the added
    groups lead to the most cautious design effect, that of groups that are right or wrong as a whole. With few groups
    the effective number is reduced by the quantiles of Student's t (Korn and Graubard 1998).

    Args:
        right: (n,) booleans or 0/1.
        groups: (n,) labels.

    Raises:
        DataError: as ``group_codes``, or values other than 0 and 1.
    """
    correct = as_binary(right)
    found = wilson(int(correct.sum()), len(correct), level)
    rows = group_sums(np.stack([correct, np.ones(len(correct))], axis=1), groups)
    n, size = _smoothed(rows[:, 1])
    p, residuals = _residuals(rows[:, 0], rows[:, 1])
    between = float(residuals @ residuals) + size**2 * (p**2 + (1 - p) ** 2)
    effective = found.n / max(1.0, between / (n * p * (1 - p))) * _few(len(rows), found.n, level)
    low, high = score_interval(found.value, effective, level)
    return replace(found, low=low, high=high)


def group_newcombe(
    correct_a: ArrayLike, correct_b: ArrayLike, groups: Groups, level: float = LEVEL
) -> tuple[float, float, float]:
    """Difference a − b of two paired shares with its interval: (difference, low, high).

    Newcombe's method 10 with ``group_wilson``'s intervals, and in place of phi the correlation of the two systems'
    groups (Zou and Donner 2008 show that any two intervals may be so combined). A quarter of the groups that
    ``group_wilson`` adds falls into each of right in both, in ``a`` only, in ``b`` only and in none.

    Args:
        correct_a, correct_b: (n,) booleans or 0/1, about the same examples.
        groups: (n,) labels.

    Raises:
        DataError: as ``group_wilson``, or lengths differ.
    """
    a, b, codes = _paired(correct_a, correct_b, groups)
    first, second = group_wilson(a, codes, level), group_wilson(b, codes, level)
    right_a, right_b, sizes = group_sums(np.stack([a, b, np.ones(len(a))], axis=1), codes).T
    (p, x), (q, y) = _residuals(right_a, sizes), _residuals(right_b, sizes)
    added = _smoothed(sizes)[1] ** 2
    spread_x, spread_y = (r @ r + added * (s**2 + (1 - s) ** 2) for r, s in ((x, p), (y, q)))
    phi = float((x @ y + added * (1 - 2 * p) * (1 - 2 * q) / 2) / math.sqrt(spread_x * spread_y))
    return of_two_intervals(first, second, phi)


def sign_flips(correct_a: ArrayLike, correct_b: ArrayLike, groups: Groups) -> SignFlips:
    """Exact two-sided test of two systems judged right or wrong on the same examples, by permutation within groups.

    If the systems are equally good, each group's difference (right in ``a`` minus right in ``b``) might as well have
    the other sign. p is the share of all 2^groups choices of signs whose sum is at least as far from 0 as the sum that
    was observed. They are counted, not drawn. With one example in each group this is the exact McNemar test.

    Args:
        correct_a, correct_b: (n,) booleans or 0/1.
        groups: (n,) labels.

    Raises:
        DataError: as ``group_newcombe``.
    """
    from scipy.stats import binom

    a, b, codes = _paired(correct_a, correct_b, groups)
    differences = np.rint(group_sums(a.astype(float) - b, codes)[:, 0]).astype(int)
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of each sum of the differences whose sign is plus
    for size, count in zip(sizes, counts, strict=True):
        steps = np.zeros(count * size + 1)
        steps[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = _convolve(chances, steps)
    total = len(chances) - 1
    far = np.abs(2 * np.arange(total + 1) - total) >= abs(differences.sum())
    # No choice of signs is rarer than the two most extreme ones; rounding could make it so.
    p_value = min(1.0, max(float(chances[far].sum()), 0.5 ** max(0.0, counts.sum() - 1.0)))
    return SignFlips(int((differences > 0).sum()), int((differences < 0).sum()), p_value)


def _convolve(x: FloatArray, y: FloatArray) -> FloatArray:
    if x.size * y.size <= _DIRECT:
        return np.convolve(x, y)
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(x, y))


def _paired(
    correct_a: ArrayLike, correct_b: ArrayLike, groups: Groups
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    a, b = paired_binary(correct_a, correct_b)
    return a, b, group_codes(groups, len(a))


def _smoothed(sizes: FloatArray) -> tuple[float, float]:
    """Number of examples with the two added groups, and the size of each: the mean group that an example is in."""
    size = float(sizes @ sizes / sizes.sum())
    return float(sizes.sum()) + 2 * size, size


def _residuals(right: FloatArray, sizes: FloatArray) -> tuple[float, FloatArray]:
    """Share that is right with the two added groups, and what each group has more than that."""
    n, size = _smoothed(sizes)
    p = (float(right.sum()) + size) / n
    return p, right - p * sizes


def _few(groups: int, n: int, level: float) -> float:
    """By how much few groups reduce the effective number; 1 for groups of one example each."""
    from scipy.special import stdtrit

    check_level(level)
    upper = (1 + level) / 2
    return float((stdtrit(n - 1, upper) / stdtrit(groups - 1, upper)) ** 2)
