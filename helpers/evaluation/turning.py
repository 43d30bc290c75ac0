"""The point of a training from which on it gets worse on new examples, with its interval."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError
from helpers.evaluation.clusters import group_sums
from helpers.evaluation.intervals import LEVEL, Estimate
from helpers.evaluation.statistics import DRAWS, resampled_sums


def turning_point(
    losses: Sequence[ArrayLike],
    steps: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """The step with the lowest mean loss, the first of equals, and the range in which it lies for resampled examples.

    Overfitting starts there; if it is the last step, it had not started yet.

    Args:
        losses: for each step (n,) losses of the same validation examples.
        steps: when they were measured, rising, in any unit.
        groups: (n,) labels of related examples, which are then drawn together; with one group it may be anywhere.

    Raises:
        DataError: not one row of losses for each step, or losses of different examples.
    """
    rows = [np.asarray(row, dtype=np.float64).reshape(-1) for row in losses]
    if not rows or len(rows) != len(steps) or len({len(row) for row in rows}) > 1:
        raise DataError(f"{len(rows)} rows of losses for {len(steps)} steps", "Give the same examples at each step")
    table = np.stack(rows, axis=1)  # (examples, steps)
    at = np.asarray(steps, dtype=np.float64)
    best = float(at[table.mean(axis=0).argmin()])
    if groups is not None and len(set(groups)) < 2:  # nothing to draw from: it may be anywhere
        return Estimate(best, float(at.min()), float(at.max()), len(table))
    units = table if groups is None else group_sums(table, groups)
    drawn = at[resampled_sums(units, DRAWS, seed).argmin(axis=1)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(best, float(low), float(high), len(table))
