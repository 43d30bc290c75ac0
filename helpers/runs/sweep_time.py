"""How long the runs of a sweep will take: as runs here and the course's records did, or as the plan predicts."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

from helpers.config.lessons import LESSONS
from helpers.config.settings import resolve
from helpers.errors import LabError
from helpers.machine import hardware
from helpers.runs.budget import KIND, lasting
from helpers.runs.headless import Job
from helpers.runs.live import roughly


@dataclass(frozen=True)
class Expected:
    """What is known of the time of some runs.

    Attributes:
        seconds: of each run, ``None`` where nothing is known.
        predicted: some are not from a run that was timed, but from the planned operations alone.
    """

    seconds: Sequence[float | None]
    predicted: bool = False

    def told(self, at_a_time: int, shared: bool) -> str:
        """One line: the time of a run, and of all together.

        Args:
            shared: runs at a time share the processor or a GPU, so that each takes longer.
        """
        known = [seconds for seconds in self.seconds if seconds is not None]
        if not known:
            return "time expected: not known, no run like these has been timed"
        low, high = together(known, at_a_time, shared)
        line = f"time expected: {roughly(min(known), max(known))} a run, "
        missing = len(self.seconds) - len(known)
        line += f"together {'more than ' if missing else ''}{roughly(low, high)}"
        line += f" with {at_a_time} at a time" if at_a_time > 1 else ""
        line += f"; {missing} not known" if missing else ""
        return line + (" (predicted, not timed)" if self.predicted else "")


def together(seconds: Sequence[float], at_a_time: int, shared: bool) -> tuple[float, float]:
    """Least and most seconds until runs that are begun in this order have ended, so many at a time.

    The least is that of runs that do not disturb each other. Where they share a processor, together they take no more
    than one after the other would.
    """
    ends = [0.0] * max(1, at_a_time)
    for took in seconds:
        heapq.heapreplace(ends, ends[0] + took)
    return max(ends), sum(seconds) if shared else max(ends)


def expected(jobs: Sequence[Job]) -> Expected:
    """How long each job takes here.

    As ``budget.lasting`` says, where a run with these settings has been timed. Else the time of the lesson with its
    usual settings, in proportion to what is predicted for both; without it, the prediction alone.
    """
    usual = [replace(job, parameters={n: v for n, v in job.parameters.items() if n in KIND}) for job in jobs]
    rows: list[float | None] = [None] * (2 * len(jobs))
    with suppress(LabError):  # the model by which machines are compared is not to be had
        rows = [row.seconds for row in lasting([*jobs, *usual])]
    timed, timed_usual = rows[: len(jobs)], rows[len(jobs) :]
    asked = [_asked(job) for job in (*jobs, *usual)]
    wanted = [one for i, one in enumerate(asked) if timed[i % len(jobs)] is None and LESSONS[one[0]].memory is not None]
    if not wanted:
        return Expected(timed)
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # what it loads is gone when it ends
        answers = dict(zip(map(repr, wanted), apart.submit(predicted, wanted).result(), strict=True))
    found, alone = list(timed), False
    for i, seconds in enumerate(timed):
        own, other = (answers.get(repr(asked[place])) for place in (i, i + len(jobs)))
        if seconds is None and own is not None:
            base = timed_usual[i]
            alone |= base is None or not other
            found[i] = base * own / other if base is not None and other else own
    return Expected(found, alone)


def _asked(job: Job) -> tuple[str, dict[str, Any]]:
    """A lesson and those parameters that its time depends on."""
    return job.spec.id, {n: v for n, v in sorted(job.parameters.items()) if n not in ("seed", "output_dir", "resume")}


def predicted(asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[float | None]:
    """Seconds of each lesson with these parameters, from its planned operations; ``None`` where that cannot be told."""
    from helpers.duration.forecast import lesson_time
    from helpers.memory.lessons import lesson_jobs

    machine = hardware.probe()
    known: dict[str, float | None] = {}
    for lesson, given in asked:
        if (at := repr((lesson, given))) not in known:
            try:
                settings = resolve(lesson, given, machine)
                took = lesson_time(settings, machine, lesson_jobs(settings, machine))
                known[at] = None if took is None else took.total
            except Exception:  # a model that cannot be looked at: the run itself will say why, and no forecast stops it
                known[at] = None
    return [known[repr((lesson, given))] for lesson, given in asked]
