"""Means and shares before and after: against scipy, and against every choice of signs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers.errors import DataError
from helpers.evaluation import before_after
from helpers.evaluation.intervals import mean_interval, newcombe, wilson
from helpers.evaluation.statistics import mcnemar_exact


@pytest.mark.parametrize("n", [2, 5, 12, 40])
def test_the_interval_of_a_mean_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(3, 2, n)
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((values.mean(), low, high, n))


def test_a_mean_stays_within_its_bounds_and_one_value_has_none() -> None:
    assert (mean_interval([0.0, 1.0], (0, 1)).low, mean_interval([0.0, 1.0], (0, 1)).high) == (0, 1)
    assert mean_interval([0.3], (0, 1)).high == 1 and mean_interval([0.3]).high == 0.3
    for bad in ([], [np.nan, 1.0]):
        with pytest.raises(DataError, match="finite numbers"):
            mean_interval(bad)


def test_equal_values_are_no_proof_that_all_others_are_equal() -> None:
    share = wilson(0, 12).high
    found = mean_interval([10.0] * 12, (0, 10))
    assert (found.value, found.low, found.high) == pytest.approx((10, 10 - 10 * share, 10))
    none = mean_interval([0.0] * 12, (-1, 1))
    assert (none.low, none.value, none.high) == pytest.approx((-share, 0, share))
    assert mean_interval([0.0] * 12).high == 0, "without bounds nothing is known"


@pytest.mark.parametrize("n", [1, 4, 9])
def test_few_signs_are_all_tried(n: int) -> None:
    d = np.random.default_rng(n).normal(0.6, 1, n)
    far = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product((1, -1), repeat=n)]
    p, name = before_after.sign_flip_test(d)
    assert p == pytest.approx(np.mean([value >= abs(d.sum()) - 1e-12 for value in far])) and "exact" in name


def test_all_signs_tried_and_signs_drawn_say_about_the_same() -> None:
    d = np.random.default_rng(0).normal(0.5, 1, 14)
    exact, _ = before_after.sign_flip_test(d)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert exact == pytest.approx(expected)
    longer = np.append(d, 0.0)  # one difference of 0 changes nothing, but there are too many choices now
    drawn, name = before_after.sign_flip_test(longer)
    assert drawn == pytest.approx(exact, abs=0.02) and "drawn" in name
    assert before_after.sign_flip_test(longer, seed=0) == before_after.sign_flip_test(longer, seed=0)
    assert before_after.sign_flip_test(np.ones(60))[0] == pytest.approx(1e-4), "never 0"


def test_no_difference_at_all() -> None:
    same = before_after.means([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "m")
    assert same.change.p_value == 1 and same.change.difference == 0
    assert before_after.shares([1, 0, 1], [1, 0, 1], "s").change.p_value == 1


def test_means_and_shares_have_both_estimates_and_the_change() -> None:
    x, y = [1.0, 2.0, 4.0, 3.0], [2.0, 4.0, 4.5, 6.0]
    found = before_after.means(x, y, "exposure (bits)", names=("a", "b"))
    assert found.before == mean_interval(x) and found.after == mean_interval(y)
    change = found.change
    assert (change.a, change.b, change.metric) == ("b", "a", "exposure (bits)") and change.difference == 1.625
    flags = [True, False, False, False, True], [True, True, True, False, True]
    shares = before_after.shares(*flags, "given away")
    assert shares.before == wilson(2, 5) and shares.after == wilson(4, 5)
    assert (shares.change.difference, shares.change.low, shares.change.high) == newcombe(flags[1], flags[0])
    assert shares.change.p_value == mcnemar_exact(*flags).p_value
    assert str(shares).startswith("0.40 [") and "before, 0.80 [" in str(shares)


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(DataError, match="same examples in both systems, got 2 and 3"):
        before_after.means([1.0, 2.0], [1.0, 2.0, 3.0], "m")
    with pytest.raises(DataError):
        before_after.shares([1, 0], [1, 0, 1], "s")
