"""Several seeds as one result: against scipy, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from helpers.errors import DataError, ParameterError
from helpers.evaluation.pooling import overall, pool


def test_interval_equals_scipy() -> None:
    values = [0.81, 0.84, 0.86, 0.79]
    found = pool(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.seeds == 4 and 0.79 <= found.boot_low < found.mean < found.boot_high <= 0.86


def test_a_bootstrap_over_few_seeds_is_too_narrow_as_documented() -> None:
    draws = np.random.default_rng(3).normal(0.8, 0.02, size=(500, 3))
    found = [pool(row, draws=200) for row in draws]
    assert np.mean([f.boot_low <= 0.8 <= f.boot_high for f in found]) < 0.85


def test_one_seed_has_no_spread() -> None:
    found = pool([0.8])
    assert found.mean == 0.8 and math.isnan(found.sd) and math.isnan(found.low) and "one seed" in str(found)


def test_overall_is_the_mean_of_their_five() -> None:
    assert overall([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(30.0)
    with pytest.raises(DataError, match="perplexity"):
        overall([0.1, 12.0])


def test_errors() -> None:
    with pytest.raises(DataError, match="nothing to pool"):
        pool([])
    with pytest.raises(DataError, match="NaN"):
        pool([0.1, math.nan])
    with pytest.raises(ParameterError, match="level"):
        pool([0.1, 0.2], level=95)
