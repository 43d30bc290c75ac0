"""A lesson's or a job's time on a machine that is here, or on a card that is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.config.lessons import find_lesson
from helpers.config.settings import resolve
from helpers.duration import rates as known_rates
from helpers.duration.predict import StepTime, step_time
from helpers.duration.rates import Rates
from helpers.duration.work import MEGABYTES, Duration, duration_of
from helpers.errors import ParameterError
from helpers.memory.jobs import Job
from helpers.memory.lessons import picture_tokens
from helpers.memory.planner import CARDS, GB


def rates_of(machine: Any) -> Rates | None:
    """How fast a machine is: as calibrated, else by its data sheet; ``None`` for a GPU whose sheet is not kept."""
    from helpers.duration import calibrate

    if machine.device != "cuda":
        return calibrate.kept() or known_rates.of_processor(machine.cpu_count)
    card = card_of(machine)
    return None if card is None else known_rates.of_card(card)


def card_of(machine: Any) -> str | None:
    """The card of ``memory.CARDS`` that a machine's GPU is, by its name and then by its memory."""
    words = set(machine.device_name.replace("-", " ").split())
    named = [card for card in CARDS if card.split()[0] in words]
    return min(named, key=lambda card: abs(CARDS[card][0] / GB - machine.gpu_memory_gb), default=None)


def lesson_time(
    settings: Any, machine: Any, jobs: Mapping[str, Job], lengths: Sequence[int] | None = None,
    megabytes: float = MEGABYTES,
) -> Duration | None:  # fmt: skip
    """How long the lesson of these settings takes; ``None`` where it is not known how fast the machine is.

    Args:
        jobs: from ``memory.lesson_jobs``.
        lengths: tokens of each training row, pictures not counted.
    """
    rates = rates_of(machine)
    if rates is None:
        return None
    fetched = sum(map(download_gb, {job.model for job in jobs.values()}))
    return duration_of(settings, jobs, rates, lengths, fetched, megabytes)


def named_time(
    what: str, profile: str, given: Mapping[str, Any], machine: Any, jobs: Mapping[str, Job], megabytes: float
) -> Duration | StepTime | None:
    """Time of a lesson by its number or name, or of one step of the planned job of a model."""
    try:
        spec = find_lesson(what)
    except ParameterError:
        rates = rates_of(machine)
        return None if rates is None else step_time(next(iter(jobs.values())), rates)
    settings = resolve(spec.id, {"profile": profile, **given}, machine)
    return lesson_time(settings, machine, jobs, megabytes=megabytes)


def calibrated(machine: Any, jobs: Collection[Job]) -> None:
    """Measure this machine's CPU with the operations of these jobs, and keep it.

    Raises:
        ParameterError: another machine is planned for.
    """
    from helpers.duration import calibrate

    if machine.device != "cpu":
        raise ParameterError("--calibrate measures this machine's CPU", "Leave --card out, or give --card cpu")
    wanted: list[Job] = []
    for share in (1, 3):  # the longest rows, and shorter ones
        for job in jobs:
            least = picture_tokens(job.model, job.pixels) + 3
            length = max(least, job.length // share)
            wanted.append(job.but(length=length, labelled=max(1, min(job.labelled, length // 2))))
    calibrate.keep(calibrate.calibrate(wanted, rates=calibrate.kept()))


def download_gb(model: str) -> float:
    """GB of weights in 16 bits that are not on this machine yet."""
    from helpers.models.load import ASSET_COPIES
    from helpers.models.skeletons import skeleton
    from helpers.sources import assets, hub

    if model.startswith("tiny/") or Path(model).expanduser().is_dir() or hub.cached(model):
        return 0.0
    ready = {row.name for row in assets.listing() if row.state == "ready"}
    if ASSET_COPIES.get(model) in ready:
        return 0.0
    return sum(p.numel() for p in skeleton(model).parameters()) * 2 / GB
