"""Compositional measures with intervals, and paired comparisons of recognisers on the same pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from helpers.adapters.compositional.measures import (
    Candidates,
    FloatArray,
    Measures,
    Pair,
    bootstrap_measures,
    compositional_measures,
    harmonic_mean,
    right_at,
)
from helpers.errors import DataError
from helpers.evaluation.intervals import Estimate, score_interval
from helpers.evaluation.statistics import DRAWS, TestResult, bootstrap, difference_of_draws

METRICS = ("harmonic_mean", "auc")
PERCENTILES = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class CompositionalScores:
    """Measures of one recogniser in one world.

    Attributes:
        measures: on the pictures as they are.
        drawn: measure -> (draws,) its values on resampled pictures; see ``bootstrap_measures``.
        key: what was scored against; two recognisers compare only if it is the same.
    """

    measures: Measures
    drawn: dict[str, FloatArray]
    key: tuple[object, ...]

    def estimates(self, metrics: Iterable[str] = METRICS) -> dict[str, Estimate]:
        """Measures with their 95 % intervals: percentiles of the draws, Wilson's for the words, state and object."""
        seen, unseen = self.measures.n_seen, self.measures.n_unseen
        sizes = {"best_seen": seen, "best_unseen": unseen}
        found = {}
        for metric in metrics:
            value, n = getattr(self.measures, metric), sizes.get(metric, seen + unseen)
            if metric in self.drawn:
                low, high = (float(bound) for bound in np.quantile(self.drawn[metric], PERCENTILES))
            if metric not in self.drawn or low == high in (0.0, 1.0):  # no resample differs where all are alike
                low, high = score_interval(value, min(seen, unseen) if metric in METRICS else n)
            found[metric] = Estimate(value, low, high, n)
        return found


def score_compositional(
    scores: ArrayLike, truth: Iterable[Pair], candidates: Candidates, draws: int = DRAWS, seed: int = 0
) -> CompositionalScores:
    """Measures of a recogniser, and the same on resampled pictures.

    Args:
        scores: (n, k) one column per candidate, higher is better.
        truth: (n,) the true pairs.
        draws: resamples.
        seed: of the resamples; recognisers that are compared need the same one.

    Raises:
        DataError: as ``compositional_measures``, or a true pair is no candidate.
    """
    target = candidates.index(truth)
    drawn = bootstrap_measures(scores, target, candidates, draws, seed)
    key = (candidates.pairs, target.tobytes(), draws, seed)
    return CompositionalScores(compositional_measures(scores, target, candidates), drawn, key)


def estimates_at(
    scores: ArrayLike, truth: Iterable[Pair], candidates: Candidates, bias: float, seed: int = 0
) -> dict[str, Estimate]:
    """Accuracy on seen and on unseen pairs (Wilson) and their harmonic mean (bootstrap) at a bias chosen elsewhere.

    Raises:
        DataError: as ``score_compositional``.
    """
    right, known, _ = right_at(scores, candidates.index(truth), candidates, bias)
    found = {}
    for name, which in (("seen", known), ("unseen", ~known)):
        value, n = float(right[which].mean()), int(which.sum())
        found[name] = Estimate(value, *score_interval(value, n), n)
    stats = np.stack([right * known, known, right * ~known, ~known], axis=1)

    def mean(sums: FloatArray) -> FloatArray:
        return harmonic_mean(sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3])

    return found | {"harmonic mean": bootstrap(stats, mean, seed=seed)}


def compare_compositional(
    a: CompositionalScores, b: CompositionalScores, name_a: str, name_b: str, metrics: Sequence[str] = METRICS
) -> list[TestResult]:
    """Paired bootstrap tests of two recognisers on the same pictures; ``difference`` = ``a`` - ``b``.

    Raises:
        DataError: they were not scored on the same pictures and candidates, or with other draws.
    """
    if a.key != b.key:
        raise DataError(
            f"{name_a} and {name_b} were not scored alike: no paired test",
            "score both on the same pictures and candidates, with the same draws and seed",
        )
    results = []
    for metric in metrics:
        gap = getattr(a.measures, metric) - getattr(b.measures, metric)
        d = difference_of_draws(gap, a.drawn[metric] - b.drawn[metric])
        test = f"paired bootstrap, {len(a.drawn[metric])} draws"
        results.append(TestResult(name_a, name_b, metric, d.difference, d.low, d.high, d.p_value, test))
    return results
