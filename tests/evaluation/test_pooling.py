"""Several seeds as one result: against scipy, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from helpers.errors import DataError, ParameterError
from helpers.evaluation.metrics import score_nll, score_texts, score_values
from helpers.evaluation.pooling import overall, overall_difference, pool
from helpers.evaluation.statistics import bootstrap


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


def test_overall_is_the_mean_of_the_metrics_and_its_interval_is_that_of_their_mean() -> None:
    rng = np.random.default_rng(0)
    x, y, names = rng.random(60), rng.random(60), [str(i) for i in range(60)]
    both = score_values("cosine", x, names) | score_values("meteor", y, names)
    found, alone = overall(both, ["cosine", "meteor"]), bootstrap((x + y) / 2, lambda sums: 100 * sums[:, 0] / 60)
    assert found.value == pytest.approx(100 * (x + y).mean() / 2)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high)), "one draw of examples for all metrics"
    with pytest.raises(DataError, match="perplexity"):
        overall(score_nll([12.0], [2]), ["perplexity"])


def test_two_references_are_compared_on_the_same_answers() -> None:
    texts = ["cut the bread", "boil two eggs", "add some salt"] * 10
    own, longer = (score_texts(texts, [t + more for t in texts], ["bleu", "rougeL"]) for more in ("", " as we said"))
    found = overall_difference(own, longer, "own", "longer", ["bleu", "rougeL"])
    points = [overall(s, ["bleu", "rougeL"]).value for s in (own, longer)]
    assert found.difference == pytest.approx(points[0] - points[1]) and found.low > 0 and found.p_value < 0.001


def test_errors() -> None:
    with pytest.raises(DataError, match="nothing to pool"):
        pool([])
    with pytest.raises(DataError, match="NaN"):
        pool([0.1, math.nan])
    with pytest.raises(ParameterError, match="level"):
        pool([0.1, 0.2], level=95)
