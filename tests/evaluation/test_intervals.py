"""Intervals of proportions against statsmodels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.errors import DataError
from helpers.evaluation.intervals import Estimate, newcombe, wilson


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 25), (25, 25), (1, 7), (85, 100), (33, 100), (5, 4000)])
def test_wilson_equals_statsmodels(k: int, n: int, level: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = wilson(k, n, level)
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert (found.value, found.n) == (k / n, n)
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(k: int, n: int) -> None:
    with pytest.raises(DataError, match="not a proportion"):
        wilson(k, n)


def test_newcombe_keeps_a_width_where_systems_agree_and_swaps_sign() -> None:
    a = b = [1] * 20 + [0] * 20
    difference, low, high = newcombe(a, b)
    assert difference == 0 and low < 0 < high
    a, b = [1] * 48 + [0] * 2, [1] * 36 + [0] * 12 + [1] * 2  # 36 both, 12 and 2 only one
    forth, back = newcombe(a, b), newcombe(b, a)
    assert np.allclose(forth, [-back[0], -back[2], -back[1]])
    with pytest.raises(DataError, match="same examples in both systems, got 50 and 49"):
        newcombe(a, b[1:])


def test_estimates_read_well_and_serialise() -> None:
    e = Estimate(0.4312, 0.38, 0.481, 300)
    assert str(e) == "0.43 [0.38, 0.48]" and f"{e:.3f}" == "0.431 [0.380, 0.481]"
    assert json.loads(json.dumps(e.as_dict())) == {"value": 0.4312, "low": 0.38, "high": 0.481, "n": 300}
