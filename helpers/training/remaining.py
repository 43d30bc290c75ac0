"""How long a training still takes, from the updates that it has made: with a spread, and better with each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A prediction made before counts as this many updates, of which each may be off by this share.
PREDICTED_UPDATES, PREDICTED_SPREAD = 3, 0.25
Z = 1.96  # standard normal distribution, 95 %


@dataclass(frozen=True)
class Left:
    """Seconds that are left, and between which the truth lies in 95 % of trainings."""

    seconds: float
    low: float
    high: float


def time_left(done: Sequence[float], updates: int, expected: float | None = None, pauses: float = 0.0) -> Left | None:
    """Seconds that the rest of a training takes.

    The mean of n further updates differs from that of the k that were seen by both means' errors: a variance of
    s²/n + s²/k, where s² is that of one update. Updates differ because batches have different lengths.

    Args:
        done: seconds of each update so far, the first (which warms up) left out; the latest will do.
        updates: how many are left.
        expected: seconds of an update as predicted before the first.
        pauses: seconds of validation and saving per second of training so far.

    Returns:
        ``None`` where nothing is known: no update yet and no prediction.
    """
    seen = [float(seconds) for seconds in done]
    if updates <= 0:
        return Left(0.0, 0.0, 0.0)
    if not seen and expected is None:
        return None
    weight = len(seen) + (PREDICTED_UPDATES if expected is not None else 0)
    mean = (sum(seen) + (PREDICTED_UPDATES * expected if expected is not None else 0.0)) / weight
    squares = sum((seconds - mean) ** 2 for seconds in seen)
    if expected is not None:
        squares += PREDICTED_UPDATES * ((expected - mean) ** 2 + (PREDICTED_SPREAD * expected) ** 2)
    variance = squares / (weight - 1) if weight > 1 else (PREDICTED_SPREAD * mean) ** 2
    seconds = updates * mean
    error = Z * math.sqrt(variance * (updates + updates**2 / weight))
    factor = 1.0 + pauses
    return Left(factor * seconds, factor * max(0.0, seconds - error), factor * (seconds + error))
