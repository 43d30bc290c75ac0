"""Several seeds as one result: against scipy, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from helpers.errors import DataError, ParameterError
from helpers.evaluation.pooling import overall, pool, pooled_difference


def test_interval_equals_scipy() -> None:
    values = [0.81, 0.84, 0.86, 0.79]
    found = pool(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.smallest, found.largest, found.seeds) == (0.79, 0.86, 4)
    assert found.boot_low >= found.smallest and found.boot_high <= found.largest


def test_paired_difference_equals_scipy() -> None:
    a, b = [0.81, 0.84, 0.86], [0.70, 0.78, 0.71]
    found, p = pooled_difference(a, b)
    expected = stats.ttest_rel(a, b)
    assert p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_a_bootstrap_over_few_seeds_is_too_narrow_as_documented() -> None:
    draws = np.random.default_rng(3).normal(0.8, 0.02, size=(500, 3))
    found = [pool(row, draws=200) for row in draws]
    assert np.mean([f.boot_low <= 0.8 <= f.boot_high for f in found]) < 0.85


def test_one_seed_has_no_spread() -> None:
    found = pool([0.8])
    assert found.mean == 0.8 and math.isnan(found.sd) and math.isnan(found.low) and "one seed" in str(found)
    assert math.isnan(pooled_difference([0.8], [0.7])[1])


def test_equal_differences_have_no_variance() -> None:
    assert pooled_difference([0.5, 0.75], [0.5, 0.75])[1] == 1.0
    assert pooled_difference([0.5, 0.75], [0.25, 0.5])[1] == 0.0


def test_overall_is_the_mean_of_their_five() -> None:
    assert overall([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(30.0)
    with pytest.raises(DataError, match="perplexity"):
        overall([0.1, 12.0])


def test_errors() -> None:
    with pytest.raises(DataError, match="nothing to pool"):
        pool([])
    with pytest.raises(DataError, match="NaN"):
        pool([0.1, math.nan])
    with pytest.raises(DataError, match="2 and 1 seeds"):
        pooled_difference([1, 2], [1])
    with pytest.raises(ParameterError, match="level"):
        pool([0.1, 0.2], level=95)
