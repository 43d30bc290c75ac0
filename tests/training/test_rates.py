"""The search for a learning rate ends with a best one that has worse ones beside it."""

from __future__ import annotations

import math

import pytest

from helpers.training.rates import STEP, enclosed, next_step


def searched(losses: dict[int, float], start: int, most: int = 6) -> dict[int, float]:
    tried: dict[int, float] = {}
    while (step := next_step(tried, start, most)) is not None:
        assert step not in tried
        tried[step] = losses[step]
    return tried


@pytest.mark.parametrize("start", [-2, -1, 0, 1, 2])
def test_it_finds_the_best_of_a_valley_from_either_side(start: int) -> None:
    valley = {step: abs(step) + 0.1 * (step > 0) for step in range(-6, 7)}
    tried = searched(valley, start)
    assert min(tried, key=tried.__getitem__) == 0 and enclosed(tried) and len(tried) <= 2 + abs(start) + 2


def test_it_stops_where_nothing_more_may_be_tried_and_says_that_nothing_is_enclosed() -> None:
    tried = searched({step: -float(step) for step in range(-3, 9)}, 0, most=3)
    assert list(tried) == [0, -1, 1] and not enclosed(tried)
    assert searched({0: 1.0}, 0, most=1) == {0: 1.0}


def test_a_training_that_diverged_is_the_worst() -> None:
    tried = searched({-2: 3.0, -1: 1.0, 0: math.inf}, 0)
    assert enclosed(tried) and min(tried, key=tried.__getitem__) == -1


def test_two_steps_are_a_factor_of_ten() -> None:
    assert abs(STEP**2 - 10) < 1e-12
