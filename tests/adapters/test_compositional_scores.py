"""Intervals and paired tests of compositional measures agree with the draws they come from."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.adapters.compositional import (
    accuracy_at,
    bootstrap_measures,
    closed_world,
    compare_compositional,
    compositional_measures,
    estimates_at,
    score_compositional,
)
from helpers.errors import DataError
from helpers.evaluation import wilson

SEEN = [("red", "cup"), ("red", "hat"), ("blue", "cup")]
UNSEEN = [("blue", "hat"), ("old", "cup")]
CLOSED = closed_world(SEEN, UNSEEN)


def problem(noise: float, n: int = 120) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Scores that favour the truth, less so with more noise."""
    truth = np.arange(n) % len(CLOSED)
    scores = np.eye(len(CLOSED))[truth] + np.random.default_rng(0).normal(size=(n, len(CLOSED))) * noise
    return scores, [CLOSED.pairs[i] for i in truth]


def test_estimates_are_the_measures_with_percentiles_of_their_draws() -> None:
    scores, truth = problem(1.0)
    found = score_compositional(scores, truth, CLOSED, draws=300, seed=4)
    plain = compositional_measures(scores, CLOSED.index(truth), CLOSED)
    drawn = bootstrap_measures(scores, CLOSED.index(truth), CLOSED, draws=300, seed=4)
    for metric, estimate in found.estimates(("harmonic_mean", "auc", "best_seen")).items():
        assert estimate.value == getattr(plain, metric) and estimate.n == (72 if metric == "best_seen" else 120)
        assert (estimate.low, estimate.high) == tuple(np.quantile(drawn[metric], [0.025, 0.975]))
        assert estimate.low < estimate.value < estimate.high


def test_words_and_a_bias_chosen_elsewhere_have_intervals_too() -> None:
    scores, truth = problem(1.0)
    words = score_compositional(scores, truth, CLOSED, draws=50).estimates(("state", "object"))
    plain = accuracy_at(scores, CLOSED.index(truth), CLOSED, 0.7)
    found = estimates_at(scores, truth, CLOSED, 0.7)
    assert (found["seen"].value, found["unseen"].value) == (plain.seen, plain.unseen)
    assert found["harmonic mean"].value == pytest.approx(plain.harmonic_mean)
    assert (found["seen"].n, found["unseen"].n) == (72, 48)
    assert found["unseen"] == wilson(round(48 * plain.unseen), 48)
    for estimate in (*found.values(), *words.values()):
        assert estimate.low < estimate.value < estimate.high


def test_an_interval_has_a_width_where_every_picture_is_right() -> None:
    scores, truth = problem(0.0)
    found = score_compositional(scores, truth, CLOSED, draws=50).estimates(("best_seen", "auc"))
    assert found["best_seen"] == wilson(72, 72) and found["auc"].n == 120
    assert (found["auc"].low, found["auc"].high) == (wilson(48, 48).low, 1), "the fewer pictures limit what is known"


def test_a_better_recogniser_is_found_better_and_itself_is_not() -> None:
    (good, truth), (bad, _) = problem(0.5), problem(2.0)
    a, b = (score_compositional(scores, truth, CLOSED, draws=500) for scores in (good, bad))
    for test in compare_compositional(a, b, "good", "bad"):
        assert test.difference > 0 and test.low > 0 and test.p_value < 0.01
        assert test.test == "paired bootstrap, 500 draws" and (test.a, test.b) == ("good", "bad")
    for test in compare_compositional(a, a, "good", "same"):
        assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)


def test_only_what_was_scored_alike_is_compared() -> None:
    scores, truth = problem(1.0)
    first = score_compositional(scores, truth, CLOSED, draws=50)
    others = (
        score_compositional(scores, truth, CLOSED, draws=50, seed=1),
        score_compositional(scores, truth, CLOSED, draws=60),
        score_compositional(scores[::-1], truth[::-1], CLOSED, draws=50),
    )
    for other in others:
        with pytest.raises(DataError, match="not scored alike"):
            compare_compositional(first, other, "a", "b")
