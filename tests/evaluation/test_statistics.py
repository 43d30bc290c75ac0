"""Bootstrap and tests against statsmodels, scipy and simulation."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from helpers.errors import DataError, ParameterError
from helpers.evaluation.intervals import Estimate
from helpers.evaluation.statistics import (
    TestResult,
    _weights,
    bootstrap,
    difference_of_draws,
    holm,
    mcnemar_exact,
    paired_bootstrap,
)


def mean(stats: np.ndarray) -> np.ndarray:
    return stats[:, 0] / stats[:, 1]


def with_count(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def paired_vectors(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[int], list[int]]:
    a = [1] * (both + only_a) + [0] * (only_b + neither)
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    return a, b


# ---- exact McNemar ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("both", "only_a", "only_b", "neither"),
    [(25, 8, 60, 7), (0, 0, 0, 5), (10, 5, 5, 3), (10, 1, 0, 3), (3, 0, 12, 0), (900, 40, 61, 300)],
)
def test_mcnemar_equals_statsmodels_and_scipy(both: int, only_a: int, only_b: int, neither: int) -> None:
    from scipy.stats import binomtest
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = paired_vectors(both, only_a, only_b, neither)
    found = mcnemar_exact(a, b)
    assert found[:2] == (only_a, only_b)
    expected = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    assert found.p_value == pytest.approx(min(1.0, expected), rel=1e-9)
    if only_a + only_b:
        assert found.p_value == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)


def test_mcnemar_does_not_underflow_on_thousands_of_disagreements() -> None:
    from scipy.stats import binomtest

    a, b = paired_vectors(0, 1300, 1700, 0)
    assert mcnemar_exact(a, b).p_value == pytest.approx(binomtest(1300, 3000).pvalue, rel=1e-7)


def test_mcnemar_equals_the_sum_of_binomials() -> None:
    for only_a, only_b in itertools.product(range(41), repeat=2):
        m = only_a + only_b
        tail = Fraction(sum(math.comb(m, i) for i in range(min(only_a, only_b) + 1)), 2**m)
        found = mcnemar_exact(*paired_vectors(1, only_a, only_b, 0)).p_value
        assert found == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)


def test_mcnemar_of_a_million_disagreements() -> None:
    a = np.arange(1_000_000) < 501_000
    z = (2000 - 1) / 1000  # normal approximation with continuity correction, near enough for so many
    assert mcnemar_exact(a, ~a).p_value == pytest.approx(2 * (1 - NormalDist().cdf(z)), rel=1e-4)
    even = np.arange(1_000_000) % 2
    assert mcnemar_exact(even, 1 - even).p_value == 1.0


@pytest.mark.parametrize(("a", "b"), [([1, 0], [1]), ([], []), ([2, 0], [1, 0]), ([0.5], [1])])
def test_mcnemar_refuses_bad_input(a: list[float], b: list[float]) -> None:
    with pytest.raises(DataError):
        mcnemar_exact(a, b)


# ---- bootstrap ----------------------------------------------------------------------------------------


def test_bootstrap_agrees_with_scipy() -> None:
    from scipy.stats import bootstrap as scipy_bootstrap

    values = np.random.default_rng(0).beta(1, 3, 200)
    ours = bootstrap(with_count(values), mean, draws=20_000, seed=1)
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=1e-3)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=1e-3)


def test_bootstrap_resamples_examples_not_columns() -> None:
    """With one column fixed by the other the ratio cannot vary; shuffled columns would make it vary."""
    tokens = np.arange(1.0, 101.0)
    found = bootstrap(np.stack([3 * tokens, tokens], 1), mean)
    assert found.low == pytest.approx(3) and found.high == pytest.approx(3)


def test_bootstrap_is_reproducible_and_chunking_covers_all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers.evaluation import statistics

    stats = with_count(np.random.default_rng(0).random(40))
    assert bootstrap(stats, mean, seed=4) == bootstrap(stats, mean, seed=4)
    assert bootstrap(stats, mean, seed=4) != bootstrap(stats, mean, seed=5)
    monkeypatch.setattr(statistics, "_CHUNK", 40 * 7)
    blocks = list(statistics._weights(40, 100, 0))
    assert [len(b) for b in blocks] == [7] * 14 + [2]
    assert (np.concatenate(blocks).sum(axis=1) == 40).all()


def test_bootstrap_leaves_out_undefined_draws() -> None:
    stats = np.array([[2.0, 1.0], [0.0, 0.0]])

    def ratio(s: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return s[:, 0] / s[:, 1]

    assert bootstrap(stats, ratio) == Estimate(2.0, 2.0, 2.0, 2)


def test_one_example_gives_a_point() -> None:
    assert bootstrap([[0.3, 1.0]], mean) == Estimate(0.3, 0.3, 0.3, 1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="no examples"):
        bootstrap(np.zeros((0, 2)), mean)
    with pytest.raises(DataError, match="NaN"):
        bootstrap([[np.nan, 1.0]], mean)
    with pytest.raises(ParameterError, match="draws"):
        bootstrap([[0.3, 1.0]], mean, draws=0)
    with pytest.raises(ParameterError, match="level"):
        bootstrap([[0.3, 1.0]], mean, level=95)
    with pytest.raises(DataError, match="same examples"):
        paired_bootstrap(np.ones((3, 2)), np.ones((4, 2)), mean)


# ---- paired bootstrap ---------------------------------------------------------------------------------


def test_paired_bootstrap_of_0_1_scores_is_cautious() -> None:
    """Many draws tie with what was observed; ties count against rejecting, so a true null is rejected less often."""
    rng, trials = np.random.default_rng(7), 1000
    rejected = 0
    for trial in range(trials):
        skill = rng.random(120)  # difficulty shared by both systems, as on a real test set
        a, b = ((rng.random(120) < skill).astype(float) for _ in range(2))
        rejected += paired_bootstrap(with_count(a), with_count(b), mean, draws=500, seed=trial).p_value < 0.05
    assert 0.02 <= rejected / trials <= 0.055


def test_paired_bootstrap_p_values_agree_with_a_permutation_test() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(2)
    skill = rng.random(150)
    a, b = skill + rng.normal(0.03, 0.15, 150), skill + rng.normal(0, 0.15, 150)
    ours = paired_bootstrap(with_count(a), with_count(b), mean, draws=20_000)
    theirs = permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=1
    )
    assert 0.01 < theirs.pvalue < 0.5
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.02)


def test_pairing_matters() -> None:
    """A small, steady gain over widely varying examples: found when paired, lost in separate intervals."""
    rng = np.random.default_rng(1)
    skill = rng.random(200)
    a, b = with_count(skill + 0.02 + rng.normal(0, 0.02, 200)), with_count(skill)
    assert paired_bootstrap(a, b, mean).p_value < 0.001
    assert bootstrap(a, mean).low < bootstrap(b, mean).high


def test_sign_and_extremes_of_the_paired_bootstrap() -> None:
    low, high = with_count(np.full(50, 0.2)), with_count(np.full(50, 0.6))
    better = paired_bootstrap(high, low, mean, draws=999)
    assert better.difference == pytest.approx(0.4) and better.p_value == pytest.approx(0.001)
    assert paired_bootstrap(low, high, mean).difference == pytest.approx(-0.4)
    noisy = with_count(np.random.default_rng(0).random(50))
    same = paired_bootstrap(noisy, noisy, mean)
    assert same == (0.0, 0.0, 0.0, 1.0)


# ---- Holm ---------------------------------------------------------------------------------------------


def test_holm_equals_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = rng.random(size) ** 3
        p[: size // 3] = p[0]  # ties
        assert np.allclose(holm(p), multipletests(p, method="holm")[1])
    assert holm([]).size == 0
    with pytest.raises(DataError):
        holm([0.5, 1.5])


# ---- records, speed -----------------------------------------------------------------------------------


def test_results_read_well_and_serialise() -> None:
    r = TestResult("qlora", "base", "rougeL", 0.081, 0.05, 0.11, 0.0005, "paired bootstrap")
    assert str(r) == "rougeL: qlora - base = +0.081 [+0.050, +0.110], p < 0.001 (paired bootstrap)"
    assert set(r.as_dict()) == {"a", "b", "metric", "difference", "low", "high", "p_value", "test"}


def test_2000_draws_over_300_examples_take_well_under_a_second() -> None:
    stats = np.random.default_rng(0).random((300, 10))
    start = time.perf_counter()
    bootstrap(stats, lambda s: s[:, 0] / s[:, 1], draws=2000)
    paired_bootstrap(stats, stats[::-1], lambda s: s[:, 0] / s[:, 1], draws=2000)
    assert time.perf_counter() - start < 0.8


def test_importing_the_package_pulls_in_nothing_heavy() -> None:
    code = (
        "import sys, helpers.evaluation; heavy = {'torch', 'scipy', 'sklearn', 'transformers', 'nltk', "
        "'sacrebleu', 'evaluate', 'datasets', 'pandas'}; print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_difference_of_draws_is_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random(40), rng.random(40) - 0.1
    found = paired_bootstrap(x, y, lambda sums: sums[:, 0] / 40, seed=5)
    drawn = np.concatenate([w @ (x - y) / 40 for w in _weights(40, 2000, 5)])
    assert difference_of_draws(found.difference, drawn) == pytest.approx(found)
