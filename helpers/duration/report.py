"""How long, in words: parts, and what that is on Colab and Kaggle."""

from __future__ import annotations

from typing import Any

from helpers.duration.predict import StepTime
from helpers.duration.work import Duration

SESSION_HOURS = 12.0  # a Kaggle session with a GPU, and the most that Colab says a free one can last
WEEK_HOURS = 30.0  # Kaggle's GPU time a week


def clock(seconds: float) -> str:
    """ "1 h 05 min", "3 min 20 s", "45 s" """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s" if seconds < 600 else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def one_line(found: Duration) -> str:
    """How long in one line, for a notebook."""
    parts = ", ".join(f"{name} {clock(seconds)}" for name, seconds in found.seconds.items())
    return f"predicted time: {clock(found.total)} ({parts}) on {found.where}; {known(found)}"


def known(found: Duration) -> str:
    """How far a prediction can be trusted."""
    rows = "lengths of your data" if found.rows_known else "usual lengths of rows"
    if found.measured:
        return f"speeds measured here, {rows}"
    if "CPU" in found.where:
        return f"speeds guessed, {rows}; `python -m helpers plan --calibrate` measures them"
    return f"not yet measured on this card: data sheet and assumed efficiency, {rows}"


def describe(found: Duration | StepTime | None, units_per_hour: float | None = None) -> str:
    """A line a part, and what it is in Colab's and Kaggle's terms; of a step its seconds.

    Args:
        units_per_hour: Colab's compute units that this card takes in an hour, as its menu says today.
    """
    if found is None:
        return "how long: not known, no data sheet of this GPU is kept and no work is on record"
    if isinstance(found, StepTime):
        parts = ", ".join(f"{place} {seconds:.3g} s" for place, seconds in found.places.items())
        return f"one update: {found.total:.3g} s ({parts})"
    lines = [f"how long, on {found.where}:"]
    lines += [f"  {name:<20} {clock(seconds):>12}" for name, seconds in found.seconds.items()]
    lines.append(f"  {'in all':<20} {clock(found.total):>12}  ({known(found)})")
    if found.updates:
        lines.append(f"training: {found.updates} updates of {found.update:.2f} s")
    hours = found.total / 3600
    fits = "fits" if hours <= SESSION_HOURS else "does not fit"
    line = f"{fits} a session of {SESSION_HOURS:.0f} h; {hours / WEEK_HOURS:.0%} "
    line += f"of Kaggle's {WEEK_HOURS:.0f} GPU hours a week"
    if units_per_hour is not None:
        line += f"; {hours * units_per_hour:.1f} Colab units at {units_per_hour:g} an hour"
    return "\n".join([*lines, line])


def as_dict(found: Duration | StepTime | None) -> dict[str, Any] | None:
    """A prediction, ready for JSON: seconds."""
    if found is None:
        return None
    if isinstance(found, StepTime):
        return {"update_seconds": round(found.total, 4)} | {k: round(v, 4) for k, v in found.places.items()}
    return {
        "seconds": {name: round(seconds, 1) for name, seconds in found.seconds.items()},
        "total_seconds": round(found.total, 1),
        "where": found.where,
        "measured": found.measured,
        "rows_known": found.rows_known,
        "updates": found.updates,
        "seconds_per_update": round(found.update, 4),
        "download_gb": round(found.download_gb, 2),
    }
