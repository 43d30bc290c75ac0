"""Run notebooks headless: plan the jobs, start a process for each, show progress, sum up.

Each notebook runs in a worker process (``helpers.runs.worker``) with papermill and a kernel of its own, so that
nothing a notebook does can harm the next one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from helpers.config.checks import check_value
from helpers.config.lessons import LESSONS, Lesson, find_lesson
from helpers.config.parameters import PARAMETERS
from helpers.config.profiles import PROFILES
from helpers.config.settings import default_output_dir
from helpers.errors import ParameterError, RunError
from helpers.files import repo_root
from helpers.hints import did_you_mean
from helpers.machine import hardware
from helpers.runs import live
from helpers.runs.display import duration, text_table
from helpers.runs.records import FAILED, FINISHED, INTERRUPTED, to_json, writable_folder
from helpers.runs.worker import KERNEL_DIED, TIMED_OUT

WORKER = (sys.executable, "-m", "helpers.runs.worker")


@dataclass(frozen=True)
class Job:
    """One notebook to run, with the parameters it accepts; ``label`` is what it is called while it runs."""

    spec: Lesson
    notebook: Path
    parameters: dict[str, Any]
    output_dir: Path
    cell_timeout: int | None
    label: str = ""


@dataclass(frozen=True)
class Outcome:
    """How one notebook ended. ``status``: finished, failed, timed out, kernel died or interrupted."""

    notebook: str
    status: str
    error: str | None
    folder: Path | None
    seconds: float
    cell: int
    cells: int


def parse_value(name: str, text: str) -> Any:
    """A command-line value as papermill reads it (int, float, True, False, None, text).

    A parameter that is text stays text: ``-p run_name 12`` is a name.
    """
    if text == "None":
        return None
    if name in PARAMETERS and PARAMETERS[name].type is str:
        return text
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def plan(
    names: Sequence[str],
    parameters: Mapping[str, Any],
    *,
    profile: str | None = None,
    output_dir: Path | None = None,
    cell_timeout: int | None = None,
    notebooks_dir: Path | None = None,
) -> list[Job]:
    """The jobs for notebooks ``names`` ("04", "04_qlora_instruct", "all"), checked before anything starts.

    A parameter goes to the notebooks that have it.

    Raises:
        ParameterError: an unknown notebook, a parameter that none of them has, a bad value.
        RunError: a notebook file is missing, the output folder cannot be written.
    """
    folder = notebooks_dir or repo_root() / "notebooks"
    every = list(LESSONS.values())
    wanted = [spec for name in names or ["all"] for spec in (every if name == "all" else [find_lesson(name)])]
    specs = list({spec.id: spec for spec in wanted}.values())
    given = dict(parameters) | ({"profile": profile} if profile else {})
    # Relative to where the command was typed; the notebook runs somewhere else.
    for name in ("dataset", "model_id", "reasoner_id"):
        value = given.get(name)
        if isinstance(value, str) and value not in ("", ".") and Path(value).expanduser().exists():
            given[name] = os.path.abspath(Path(value).expanduser())
    if given.get("checkpoint_dir"):
        given["checkpoint_dir"] = os.path.abspath(Path(str(given["checkpoint_dir"])).expanduser())
    place = Path(str(given.pop("output_dir", None) or output_dir or default_output_dir()))
    place = writable_folder(place.expanduser().absolute())
    accepted = list(dict.fromkeys(n for spec in specs for n in spec.parameters))
    for name, value in given.items():
        if name not in accepted:
            known = name in PARAMETERS
            what = f"none of these notebooks has a parameter {name!r}" if known else f"unknown parameter {name!r}"
            hint = "" if known else did_you_mean(name, accepted)
            raise ParameterError(what + hint, f"Parameters: {', '.join(accepted)}")
        if value is not None:
            check_value(PARAMETERS[name], value)
    jobs = []
    for spec in specs:
        path = folder / f"{spec.id}.ipynb"
        if not path.is_file():
            raise RunError(f"{path} does not exist", "Run from a complete copy of the repository")
        own = {n: v for n, v in given.items() if n in spec.parameters}
        if own.get("task") and spec.tasks and own["task"] not in spec.tasks:
            hint = did_you_mean(own["task"], spec.tasks)
            what = f"task = {own['task']!r} is not one of {spec.id}{hint}"
            raise ParameterError(what, f"Allowed: {', '.join(spec.tasks)}")
        # Without a profile it can become "full", which has no limit.
        usual = PROFILES[own["profile"]].cell_timeout if own.get("profile") in PROFILES else None
        jobs.append(Job(spec, path, own | {"output_dir": str(place)}, place, cell_timeout or usual))
    return jobs


def run_all(jobs: Sequence[Job], *, parallel: int = 1, say: Callable[[str], None] = print) -> list[Outcome]:
    """Run the jobs, at most ``parallel`` at a time; every job gets an outcome, in the order given.

    A notebook that reads the others' runs starts when all the others have ended. Where there are several GPUs, each of
    those that run at a time has one to itself. ``say`` takes one line for each that has ended, and those of
    ``live.Lines``; a terminal has one line instead that changes.
    """
    parallel = max(1, min(parallel, len(jobs)))
    cards = hardware.cards(hardware.probe()) if parallel > 1 else ()
    if 0 < len(cards) < parallel:
        say(f"{len(cards)} GPUs, so {len(cards)} notebooks at a time rather than {parallel}")
        parallel = len(cards)
    free: SimpleQueue[str | None] = SimpleQueue()
    for card in cards or [None] * parallel:
        free.put(card)
    running: set[subprocess.Popen[str]] = set()
    stopping = threading.Event()
    futures: dict[int, Future[Outcome]] = {}

    def run(job: Job) -> Outcome:
        card = free.get()
        try:
            lesson = screen.begin(job.label or job.spec.id)
            outcome = _run(job, _environment(parallel, card), running, stopping, lesson.take)
            screen.end(lesson, f"{lesson.name:<25}  {outcome.status} after {duration(outcome.seconds)}")
            return outcome
        finally:
            free.put(card)

    with live.screen(say) as screen, ThreadPoolExecutor(parallel) as pool:
        try:
            for reads_runs in (False, True):
                at_once = [i for i, job in enumerate(jobs) if job.spec.reads_runs == reads_runs]
                futures |= {i: pool.submit(run, jobs[i]) for i in at_once}
                screen.wait(futures.values())
        except KeyboardInterrupt:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):
                _stop(process)
    not_started = {i for i in range(len(jobs)) if i not in futures or futures[i].cancelled()}
    return [
        Outcome(job.spec.id, INTERRUPTED, "not started", None, 0.0, 0, 0) if i in not_started else futures[i].result()
        for i, job in enumerate(jobs)
    ]


def _run(
    job: Job,
    environment: Mapping[str, str],
    running: set[subprocess.Popen[str]],
    stopping: threading.Event,
    take: Callable[[Mapping[str, Any]], None],
) -> Outcome:
    """Run one notebook in a worker process, which is in ``running`` meanwhile; ``take`` gets what it tells."""
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="peft-lab-"))
    order = {"id": job.spec.id, "work": work, "cell_timeout": job.cell_timeout, "parameters": job.parameters}
    order |= {"notebook": job.notebook, "output_dir": job.output_dir}
    (work / "job.json").write_text(to_json(order), encoding="utf-8")
    command = [*WORKER, str(work / "job.json")]
    told: dict[str, dict[str, Any]] = {"cell": {"k": 0, "n": 0}}  # the latest event of each kind
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        running.add(process)
        if stopping.is_set():
            _stop(process)
        assert process.stdout is not None
        for text in process.stdout:
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # other output of the process
                event = json.loads(text)
                told[event["event"]] = event
                take(event)
        code = process.wait()
        running.discard(process)
        log.seek(0)
        said = log.read().strip().splitlines()
    if end := told.get("end"):
        fields = {name: value for name, value in end.items() if name != "event"}
        outcome = Outcome(job.spec.id, **fields | {"folder": Path(end["folder"]) if end["folder"] else None})
    else:
        why = f"its process ended with code {code}" + (f": {said[-1][:300]}" if said else "")
        seconds, cell = round(time.monotonic() - began, 1), told["cell"]
        outcome = Outcome(job.spec.id, FAILED, why, None, seconds, cell["k"], cell["n"])
    return replace(outcome, status=INTERRUPTED, error="stopped") if stopping.is_set() else outcome


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask a process to stop, as Ctrl-C does; kill it when it does not."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()


def summary(outcomes: Iterable[Outcome]) -> str:
    """One row a notebook: status, time, cells; the error line below those that did not finish."""
    rows = list(outcomes)
    cells = [
        {"notebook": r.notebook, "status": r.status, "time": duration(r.seconds), "cells": f"{r.cell}/{r.cells}"}
        for r in rows
    ]
    errors = ["", "", *(f"\n    {r.error}" if r.status != FINISHED and r.error else "" for r in rows)]
    return "\n".join(map(str.__add__, text_table(cells).splitlines(), errors))


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 when every notebook finished; 130 interrupted, 138 kernel died, 124 timed out, else 1."""
    codes = {INTERRUPTED: 130, KERNEL_DIED: 138, TIMED_OUT: 124}
    bad = [row.status for row in outcomes if row.status != FINISHED]
    return codes.get(bad[0], 1) if bad else 0


def _environment(parallel: int, card: str | None = None) -> dict[str, str]:
    """The worker's environment: the package importable, the cores shared out, a GPU of its own, no progress bars."""
    values = dict(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(p for p in (str(repo_root()), values.get("PYTHONPATH")) if p)
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "PYDEVD_DISABLE_FILE_VALIDATION"):
        values.setdefault(name, "1")
    if card is not None:
        values["CUDA_VISIBLE_DEVICES"] = card
    if parallel > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, cores // parallel)
        # Also where the caller asked for more: threads of two processes that wait for one core multiply the time.
        asked = values.get("OMP_NUM_THREADS", "")
        values["OMP_NUM_THREADS"] = str(min(share, int(asked)) if asked.isdigit() and int(asked) else share)
    return values
