"""A search for a learning rate, in steps of a constant factor."""

from __future__ import annotations

from collections.abc import Mapping

STEP = 10**0.5  # from one rate to the next


def next_step(losses: Mapping[int, float], start: int = 0, most: int = 6) -> int | None:
    """Which rate to try next, so that the best one ends up between two worse ones.

    A lower rate is tried before a higher one, since what diverges says little. Rates are numbered by the power of
    ``STEP``: 0 is a usual rate, 2 is ten times as high.

    Args:
        losses: step → validation loss with it, of those tried so far; infinite where training diverged.
        start: the step to begin with.
        most: tries at most.

    Returns:
        The step; None where the search has ended. ``enclosed`` says whether that is because the best was found.
    """
    if not losses:
        return start
    best = min(losses, key=losses.__getitem__)
    missing = [step for step in (best - 1, best + 1) if step not in losses]
    return missing[0] if missing and len(losses) < most else None


def enclosed(losses: Mapping[int, float]) -> bool:
    """Whether the best of the tried steps has a worse one on either side."""
    best = min(losses, key=losses.__getitem__)
    return best + 1 in losses and best - 1 in losses
