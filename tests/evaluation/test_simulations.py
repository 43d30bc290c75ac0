"""The statistics keep their promises where the truth is known: 300 test examples, as in the lessons, many times.

A nominal 95 % interval covers the truth in 93 to 97 % of the draws. A paired test at 5 % rejects a true null in
4 to 6 %; an exact one in at most 5 %, because its p can only take a few values.
"""

from __future__ import annotations

import numpy as np
import pytest

from helpers.evaluation import calibration, ratings
from helpers.evaluation.aggregates import macro_f1_from_stats, mean_from_stats, perplexity_from_stats, with_count
from helpers.evaluation.intervals import newcombe, wilson
from helpers.evaluation.metrics import score_choices
from helpers.evaluation.pooling import pool
from helpers.evaluation.statistics import bootstrap, mcnemar_exact, paired_bootstrap

N, DRAWS = 300, 2000
RESAMPLES = 400


def _kept(hits: int | float, draws: int = DRAWS) -> bool:
    return 0.93 <= hits / draws <= 0.97


@pytest.mark.parametrize("truth", [0.33, 0.5, 0.85, 0.95])
def test_wilson(truth: float) -> None:
    found = (wilson(int(k), N) for k in np.random.default_rng(0).binomial(N, truth, DRAWS))
    assert _kept(sum(e.low <= truth <= e.high for e in found))


@pytest.mark.parametrize("before", [0.33, 0.7])
def test_newcombe(before: float) -> None:
    """Two systems that are right with probability ``before`` and 0.8, on questions of differing difficulty."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(DRAWS):
        luck = rng.random(N)  # shared: an easy question is easy for both
        a, b = (0.5 * luck + 0.5 * rng.random(N) for _ in range(2))
        _, low, high = newcombe(a < _threshold(0.8), b < _threshold(before))
        hits += low <= 0.8 - before <= high
    assert _kept(hits)


def _threshold(probability: float) -> float:
    """Where the mean of two uniform numbers lies below with this probability (triangular distribution)."""
    if probability <= 0.5:
        return float(np.sqrt(probability / 2))
    return float(1 - np.sqrt((1 - probability) / 2))


def test_bootstrap_of_a_mean() -> None:
    rng, hits = np.random.default_rng(2), 0
    for trial in range(DRAWS):
        found = bootstrap(with_count(rng.beta(1, 4, N)), mean_from_stats, draws=RESAMPLES, seed=trial)
        hits += found.low <= 0.2 <= found.high
    assert _kept(hits)


def test_bootstrap_of_a_perplexity() -> None:
    rng, hits = np.random.default_rng(3), 0
    for trial in range(DRAWS):
        tokens = rng.integers(20, 200, N).astype(float)
        nll = tokens * rng.gamma(8, 0.25, N)  # 2 nats a token on average, whatever the length
        found = bootstrap(np.stack([nll, tokens], 1), perplexity_from_stats, draws=RESAMPLES, seed=trial)
        hits += found.low <= np.exp(2.0) <= found.high
    assert _kept(hits)


def test_bootstrap_of_macro_f1() -> None:
    rng, hits = np.random.default_rng(4), 0
    confusion = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.05, 0.05, 0.9]]) / 3  # joint, rows are true labels
    recall, precision = np.diag(confusion) / confusion.sum(1), np.diag(confusion) / confusion.sum(0)
    truth = float(np.mean(2 * recall * precision / (recall + precision)))
    for trial in range(DRAWS):
        cells = rng.choice(9, size=N, p=confusion.ravel())
        stats = score_choices(cells % 3, cells // 3, n_classes=3).parts["macro_f1"].stats
        found = bootstrap(stats, macro_f1_from_stats, draws=RESAMPLES, seed=trial)
        hits += found.low <= truth <= found.high
    assert _kept(hits)


@pytest.mark.parametrize("seeds", [3, 5])
def test_pooled_seeds(seeds: int) -> None:
    rows = np.random.default_rng(5).normal(0.8, 0.02, size=(DRAWS, seeds))
    assert _kept(sum(f.low <= 0.8 <= f.high for f in (pool(row, draws=10) for row in rows)))


def test_paired_bootstrap_under_a_true_null() -> None:
    rng, rejected, covered = np.random.default_rng(6), 0, 0
    for trial in range(DRAWS):
        shared = rng.random(N)
        a, b = (with_count(shared + rng.normal(0, 0.2, N)) for _ in range(2))
        found = paired_bootstrap(a, b, mean_from_stats, draws=RESAMPLES, seed=trial)
        rejected += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
    assert 0.04 <= rejected / DRAWS <= 0.06
    assert _kept(covered)


@pytest.mark.parametrize("skill", [0.4, 0.85])
def test_exact_mcnemar_under_a_true_null(skill: float) -> None:
    rng = np.random.default_rng(8)
    right = rng.random((DRAWS, 2, N)) < skill
    rejected = sum(mcnemar_exact(a, b).p_value < 0.05 for a, b in right)
    assert 0.01 <= rejected / DRAWS <= 0.05


def test_sign_test_of_ratings_under_a_true_null() -> None:
    answers = [f"answer {i}" for i in range(100)]
    items, key = ratings.make_items([f"question {i}" for i in range(100)], answers, [a + "!" for a in answers])
    made = (ratings.simulate(items, key, preference=0.5, ties=0.1, raters=1, seed=s) for s in range(500))
    rejected = sum(ratings.verdict(table, "a", "b").p_value < 0.05 for table in made)
    assert rejected / 500 <= 0.05


def test_calibration_error_of_a_calibrated_model_is_small() -> None:
    """The error is never negative, so chance alone makes it positive: about 0.05 with 300 answers in 10 bins."""
    rng = np.random.default_rng(9)
    found = []
    for _ in range(50):
        confidence = rng.uniform(0.34, 1, N)
        found.append(calibration.expected_calibration_error(confidence, rng.random(N) < confidence, draws=10).value)
    assert 0 < np.mean(found) < 0.08
