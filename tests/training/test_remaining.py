"""What is left of a training: exact where updates are equal, and its interval against simulated trainings."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.training.remaining import PREDICTED_SPREAD, Left, time_left


def test_equal_updates_leave_no_doubt() -> None:
    assert time_left([2.0] * 10, 30) == Left(60.0, 60.0, 60.0)
    assert time_left([2.0] * 10, 30, pauses=0.5).seconds == 90.0
    assert time_left([2.0], 0) == Left(0.0, 0.0, 0.0)


def test_before_the_first_update_there_is_the_prediction_or_nothing() -> None:
    assert time_left([], 10) is None
    found = time_left([], 100, expected=3.0)
    assert found.seconds == pytest.approx(300.0)
    assert found.low < 300 * (1 - PREDICTED_SPREAD / 2) and found.high > 300 * (1 + PREDICTED_SPREAD / 2)


def test_a_wrong_prediction_is_corrected_by_what_is_seen() -> None:
    errors = [abs(time_left([5.0] * seen, 100, expected=2.0).seconds / 500 - 1) for seen in (1, 10, 100)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02


def test_the_interval_holds_the_truth_in_95_of_100_trainings() -> None:
    rng = np.random.default_rng(0)
    held, trainings = 0, 2000
    for _ in range(trainings):
        steps = rng.gamma(4.0, 0.5, size=120)
        found = time_left(steps[:40], 80)
        held += found.low <= steps[40:].sum() <= found.high
    assert 0.92 < held / trainings < 0.975


def test_the_spread_shrinks_as_the_training_goes_on() -> None:
    steps = np.random.default_rng(1).gamma(4.0, 0.5, size=200)
    widths = []
    for seen in (10, 50, 150):
        found = time_left(steps[:seen], 200 - seen)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
