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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.config.checks import check_value
from helpers.config.lessons import LESSONS, Lesson, find_lesson
from helpers.config.parameters import PARAMETERS
from helpers.config.profiles import PROFILES
from helpers.config.settings import default_output_dir
from helpers.errors import ParameterError, RunError
from helpers.files import repo_root
from helpers.hints import did_you_mean
from helpers.runs import progress
from helpers.runs.progress import Outcome, exit_code, summary
from helpers.runs.records import FAILED, INTERRUPTED, to_json, writable_folder

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["Job", "Outcome", "exit_code", "parse_value", "plan", "run_all", "summary"]


@dataclass(frozen=True)
class Job:
    """One notebook to run, with the parameters it accepts."""

    spec: Lesson
    notebook: Path
    parameters: dict[str, Any]
    output_dir: Path
    cell_timeout: int | None


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
    place = writable_folder((output_dir or default_output_dir()).expanduser().absolute())
    given = dict(parameters) | ({"profile": profile} if profile else {})
    # Relative to where the command was typed; the notebook runs somewhere else.
    for name in ("dataset", "model_id"):
        value = given.get(name)
        if isinstance(value, str) and value not in ("", ".") and Path(value).expanduser().exists():
            given[name] = os.path.abspath(Path(value).expanduser())
    if given.get("checkpoint_dir"):
        given["checkpoint_dir"] = os.path.abspath(Path(str(given["checkpoint_dir"])).expanduser())
    place = Path(str(given.pop("output_dir", None) or place)).expanduser().absolute()
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
        limit = cell_timeout if cell_timeout is not None else _usual_timeout(own.get("profile"))
        jobs.append(Job(spec, path, own | {"output_dir": str(place)}, place, limit))
    return jobs


def _usual_timeout(profile: str | None) -> int | None:
    if profile in (None, "auto"):  # it can become "full", which has no limit
        return None
    return PROFILES[str(profile)].cell_timeout


def run_all(jobs: Sequence[Job], *, parallel: int = 1, say: Callable[[str], None] = print) -> list[Outcome]:
    """Run the jobs, at most ``parallel`` at a time; every job gets an outcome, in the order given.

    A notebook that reads the others' runs starts when all the others have ended.
    """
    parallel = max(1, min(parallel, len(jobs) or 1))
    waiting = sorted(enumerate(jobs), key=lambda item: item[1].spec.reads_runs)
    running: dict[int, _Worker] = {}
    outcomes: dict[int, Outcome] = {}

    def end(index: int, outcome: Outcome) -> None:
        outcomes[index] = outcome
        screen.remove_task(running.pop(index).bar)
        say(progress.line(outcome))

    with progress.bars(say is print and sys.stdout.isatty()) as screen:
        try:
            while waiting or running:
                while waiting and len(running) < parallel and not (waiting[0][1].spec.reads_runs and running):
                    index, job = waiting.pop(0)
                    running[index] = _Worker(job, parallel, screen.add_task(job.spec.id, total=None))
                for index, worker in list(running.items()):
                    screen.update(worker.bar, completed=worker.cell, total=worker.cells or None)
                    if (outcome := worker.outcome()) is not None:
                        end(index, outcome)
                time.sleep(0.1)
        except KeyboardInterrupt:
            for index, worker in list(running.items()):
                end(index, worker.stop())
            for index, job in waiting:
                outcomes[index] = Outcome(job.spec.id, INTERRUPTED, "not started", None, 0.0, 0, 0)
    return [outcomes[index] for index in sorted(outcomes)]


class _Worker:
    """One worker process and what it has said so far; ``bar`` is its line on the screen."""

    def __init__(self, job: Job, parallel: int, bar: TaskID) -> None:
        self.bar = bar
        self.cell = self.cells = 0
        self._name = job.spec.id
        self._began = time.monotonic()
        self._end: dict[str, Any] | None = None
        work = Path(tempfile.mkdtemp(prefix="peft-lab-"))
        order = {"id": job.spec.id, "work": str(work), "cell_timeout": job.cell_timeout, "parameters": job.parameters}
        order |= {"notebook": str(job.notebook), "output_dir": str(job.output_dir)}
        (work / "job.json").write_text(to_json(order), encoding="utf-8")
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed with the process)
        command = [sys.executable, "-m", "helpers.runs.worker", str(work / "job.json")]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True, env=_environment(parallel)
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        """Take in what the process prints until it is gone."""
        assert self._process.stdout is not None
        for text in self._process.stdout:
            event: Any = None
            with suppress(ValueError):
                event = json.loads(text)
            kind = event.pop("event", None) if isinstance(event, dict) else None
            if kind == "cell":
                self.cell, self.cells = event["k"], event["n"]
            elif kind == "end":
                self._end = event

    def outcome(self) -> Outcome | None:
        """How the notebook ended; None while its process runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._reader.join(5)
        if self._end is not None:
            folder = Path(self._end["folder"]) if self._end["folder"] else None
            return Outcome(self._name, **self._end | {"folder": folder})
        self._log.seek(0)
        said = self._log.read().strip().splitlines()
        why = f"its process ended with code {code}" + (f": {said[-1][:300]}" if said else "")
        seconds = round(time.monotonic() - self._began, 1)
        return Outcome(self._name, FAILED, why, None, seconds, self.cell, self.cells)

    def stop(self) -> Outcome:
        """Ask the process to stop, as Ctrl-C does; kill it when it does not."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        ended = self.outcome()
        assert ended is not None
        return replace(ended, status=INTERRUPTED, error="stopped")


def _environment(parallel: int) -> dict[str, str]:
    """The worker's environment: the package importable, the cores shared out, no progress bars."""
    values = dict(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(p for p in (str(repo_root()), values.get("PYTHONPATH")) if p)
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "PYDEVD_DISABLE_FILE_VALIDATION"):
        values.setdefault(name, "1")
    if parallel > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, cores // parallel)
        # Also where the caller asked for more: threads of two processes that wait for one core multiply the time.
        asked = values.get("OMP_NUM_THREADS", "")
        values["OMP_NUM_THREADS"] = str(min(share, int(asked)) if asked.isdigit() and int(asked) else share)
    return values
