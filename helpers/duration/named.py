"""The plan of a lesson or a model by its name: whether it fits a card, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from helpers.machine import free, hardware
from helpers.memory import uncompiled


@dataclass(frozen=True)
class Planned:
    """A plan as values and in words.

    Attributes:
        fits: into the card or the machine, closely or not.
    """

    values: dict[str, Any]
    words: str
    fits: bool


def planned(
    what: str,
    profile: str,
    given: Mapping[str, Any],
    card: str | None = None,
    *,
    calibrate: bool = False,
    units: float | None = None,
    megabytes: float = 50.0,
) -> Planned:
    """Plan memory and time; loads no weights.

    Args:
        what: a lesson, or the id of a model.
        profile: of a lesson.
        given: parameters that differ from the profile's.
        card: a card of ``memory.CARDS`` in short, or "cpu"; without it this machine's GPU, or a T4 where it has none.
        calibrate: measure this machine's CPU first.
        units: Colab's, that this card takes in an hour.
        megabytes: a second of a download.

    Raises:
        ParameterError: no such lesson, model, card or parameter.
    """
    with uncompiled():
        from helpers.memory import fit, planner, report
    from helpers.duration import forecast
    from helpers.duration import report as times

    machine = free.refreshed(hardware.probe())
    if card == "cpu" or (calibrate and card is None):
        machine = report.without_card(machine)
    elif card is not None or machine.device == "cpu":
        machine = report.machine_with(report.card_named(card or "T4"), machine)
    found = fit.check_named(what, profile, dict(given), machine)
    jobs = {name: plan.job for name, plan in found.plans.items()}
    if calibrate:
        forecast.calibrated(machine, jobs.values())
    took = forecast.named_time(what, profile, given, machine, jobs, megabytes)
    words = f"{report.describe(found)}\n\n{times.describe(took, units)}"
    return Planned(report.as_dict(found) | {"time": times.as_dict(took)}, words, found.verdict != planner.TOO_LARGE)


def planned_several(*what: Any, **options: Any) -> Planned:
    """``several.planned_cards``, without torch's compiler; see ``memory.uncompiled``."""
    with uncompiled():
        from helpers.duration.several import planned_cards

    return planned_cards(*what, **options)
