"""The turning point is where the mean is lowest; its interval has it as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.errors import DataError
from helpers.evaluation.turning import turning_point

STEPS = [0, 4, 8, 12, 16]


def losses(rng: np.random.Generator, noise: float, n: int = 60) -> list[np.ndarray]:
    """Lowest at 8 in the population."""
    return [level + rng.normal(0, noise, n) for level in (1.1, 0.6, 0.4, 0.5, 0.7)]


def test_the_lowest_mean_and_no_doubt_without_noise() -> None:
    found = turning_point(losses(np.random.default_rng(0), 1e-6), STEPS)
    assert (found.value, found.low, found.high, found.n) == (8, 8, 8, 60)
    falling = [np.full(5, level) for level in (3.0, 2.0, 1.0)]
    assert turning_point(falling, [0, 1, 2]).value == 2, "it has not started"
    equal = [np.full(5, level) for level in (3.0, 1.0, 1.0)]
    assert turning_point(equal, [0, 1, 2]).value == 1, "the first of equals"


def test_the_interval_equals_a_plain_bootstrap() -> None:
    table = losses(np.random.default_rng(1), 0.6)
    found, rng = turning_point(table, STEPS), np.random.default_rng(7)
    drawn = []
    for _ in range(2000):
        picks = rng.integers(0, 60, 60)
        drawn.append(STEPS[int(np.argmin([row[picks].mean() for row in table]))])
    assert (found.low, found.high) == tuple(np.quantile(drawn, [0.025, 0.975]))


def test_the_interval_holds_the_truth_nearly_always() -> None:
    rng = np.random.default_rng(2)
    found = [turning_point(losses(rng, 0.5), STEPS) for _ in range(100)]
    assert sum(f.low <= 8 <= f.high for f in found) >= 93


def test_related_examples_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    table = [np.repeat(row, 4) for row in losses(rng, 0.4, 12)]
    groups = [i // 4 for i in range(48)]
    alone, together = turning_point(table, STEPS), turning_point(table, STEPS, groups)
    assert alone.value == together.value and alone.high - alone.low <= together.high - together.low
    one = turning_point(table, STEPS, ["all"] * 48)
    assert (one.low, one.high) == (0, 16), "of one group nothing can be drawn"


def test_other_examples_at_another_step_are_refused() -> None:
    for rows, steps in (([], []), ([np.ones(3)], [0, 1]), ([np.ones(3), np.ones(2)], [0, 1])):
        with pytest.raises(DataError, match="rows of losses"):
            turning_point(rows, steps)
