"""Lessons within a time that is given: how long they will take, and with which sizes they take no longer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

from helpers.config.lessons import find_lesson
from helpers.config.lessons.base import Shorter
from helpers.config.settings import resolve
from helpers.errors import ParameterError
from helpers.files import repo_root
from helpers.machine import hardware
from helpers.runs.cells import NO_OTHER_TIME, RECORDED, Earlier, earlier_runs
from helpers.runs.headless import Job
from helpers.runs.live import roughly
from helpers.runs.records import read_json

YARDSTICK = "03"  # the lesson by whose training machines are compared
KIND = {"profile", "task", "model_id", "dataset"}  # settings that a run has to share to say how long another takes
ROUND = 10  # sizes are multiples of this
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Lasting:
    """How long a lesson takes here with its usual sizes, ``None`` where nobody has timed it.

    Attributes:
        usual: size -> its usual value, of those that may be smaller.
    """

    job: Job
    seconds: float | None
    usual: Mapping[str, int]

    def with_sizes(self, share: float) -> tuple[dict[str, int], float]:
        """The sizes at `share` of the way from the least to the usual ones, and the seconds that the lesson takes."""
        rows = {name: self.job.spec.shorter[name] for name in self.usual}
        sizes = {name: _between(row.least, self.usual[name], share) for name, row in rows.items()}
        return sizes, (self.seconds or 0.0) * _part(rows, self.usual, sizes)


def seconds_of(text: str) -> float:
    """Seconds of a time as it is typed: "15m", "1h30m", "90s".

    Raises:
        ParameterError: it is none.
    """
    found = re.findall(r"(\d+(?:\.\d+)?)([hms])", text.lower())
    total = sum(float(number) * UNITS[unit] for number, unit in found)
    if not total or "".join(map("".join, found)) != text.lower().replace(" ", ""):
        raise ParameterError(f"--time {text!r} is no time", "Write 15m, 1h30m or 90s")
    return total


def within(jobs: Sequence[Job], seconds: float, say: Callable[[str], None] = print) -> list[Job]:
    """The jobs with sizes with which all of them together take no more than `seconds`, as far as that can be.

    Sizes that were given stay as they are. Where the usual ones take too long, all that may be smaller go the same
    part of the way to the least that a lesson's record names, never further. What was chosen, and why, is said.
    """
    known = lasting(jobs)
    at_most, at_least = (sum(row.with_sizes(share)[1] for row in known) for share in (1.0, 0.0))
    say("time expected: " + ", ".join(map(_told, known)) + f"; together {roughly(at_most)}, {roughly(seconds)} given")
    if at_most <= seconds:
        return list(jobs)
    share = (seconds - at_least) / (at_most - at_least) if at_least < seconds else 0.0
    chosen = [row.with_sizes(share)[0] for row in known]
    smaller = [
        f"{row.job.spec.id[:2]} {name} {size:,} (usual: {row.usual[name]:,})"
        for row, sizes in zip(known, chosen, strict=True)
        for name, size in sizes.items()
        if size < row.usual[name]
    ]
    will = sum(row.with_sizes(share)[1] for row in known)
    if smaller:
        say(f"smaller, so that they take {roughly(will)}: " + ", ".join(smaller))
    if at_least > seconds:
        why = "with smaller sizes they would show too little" if smaller else "none of their sizes is smaller"
        say(f"longer than given, {roughly(will)}: {why}")
    return [
        replace(job, parameters=job.parameters | {name: size for name, size in sizes.items() if size < row.usual[name]})
        for job, row, sizes in zip(jobs, known, chosen, strict=True)
    ]


def lasting(jobs: Sequence[Job]) -> list[Lasting]:
    """How long each job takes here: as an earlier run here did, else as the course's record at this machine's speed."""
    machine, slower = hardware.probe(), None
    found = []
    for job in jobs:
        values = resolve(job.spec.id, job.parameters, machine).as_dict()
        may = {n: row for n, row in job.spec.shorter.items() if values["profile"] == "cpu" and n not in job.parameters}
        usual = {name: int(values[name]) for name in may}
        alike = [run for run in earlier_runs(job.output_dir, job.spec.id) if _alike(run, job, values, may)]
        run = next((run for run in alike if run.info.get("hardware", {}).get("dtype") == machine.dtype), None)
        seconds = None
        if run is None or run.elsewhere:
            run = next((run for run in alike if run.elsewhere), None)
            if run is not None and slower is None and values["profile"] == "cpu":
                with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # what it loads is gone when it ends
                    slower = apart.submit(slowness).result()
        if run is not None:
            part = _part(may, usual, {name: int(run.info["settings"][name]) for name in may})
            seconds = float(run.info["wall_time_s"]) / part * (slower or 1.0 if run.elsewhere else 1.0)
        found.append(Lasting(job, seconds, usual))
    return found


def slowness() -> float:
    """Seconds here for one on the machine that made the course's records: a training step of lesson 03 on both."""
    from helpers.duration.measure import measure_step
    from helpers.memory.lessons import lesson_jobs
    from helpers.memory.measure import load
    from helpers.training import faster_on_cpu

    machine, spec = hardware.probe(), find_lesson(YARDSTICK)
    record = read_json(repo_root() / RECORDED / "cpu" / spec.id / "run.json")
    cost, then = record["notes"]["cost"], record["settings"]
    pairs = then["n_train"] * then["epochs"]
    length = round(cost["tokens_per_s"] * cost["train_seconds"] / pairs)
    job = lesson_jobs(resolve(spec.id, {"profile": "cpu"}, machine), machine)["training"].but(length=length, labelled=1)
    model = load(job)
    with faster_on_cpu(model, quiet=True):
        here = sum(measure_step(job, model, times=3, most=15.0).values())
    return here / job.batch_size / (cost["train_seconds"] / pairs)


def _alike(run: Earlier, job: Job, values: Mapping[str, Any], may: Mapping[str, Shorter]) -> bool:
    """Whether a run was made as this one was asked for, but for sizes of which it is known what they cost."""
    settings = run.info.get("settings", {})
    asked = (job.parameters.keys() | KIND) & values.keys() - NO_OTHER_TIME
    timed = "wall_time_s" in run.info and settings.keys() >= may.keys()
    return timed and all(settings.get(name) == values[name] for name in asked)


def _part(rows: Mapping[str, Shorter], usual: Mapping[str, int], sizes: Mapping[str, int]) -> float:
    """Of the time with the usual sizes that a lesson takes with these."""
    return 1.0 - sum(row.share * (1.0 - sizes[name] / usual[name]) for name, row in rows.items())


def _between(least: int, usual: int, share: float) -> int:
    return usual if share >= 1.0 else max(least, int(least + share * (usual - least)) // ROUND * ROUND)


def _told(row: Lasting) -> str:
    name = row.job.spec.id[:2]
    return f"{name} {roughly(row.seconds)}" if row.seconds is not None else f"{name} not known"
