"""Run notebooks headless: plan the jobs, start a process for each, show progress, sum up.

Each notebook runs in a worker process (``helpers.runs.worker``) with papermill and a kernel of its own, so that
nothing a notebook does can harm the next one.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.config.checks import check_value
from helpers.config.lessons import LESSONS, Lesson, find_lesson
from helpers.config.parameters import PARAMETERS
from helpers.config.profiles import PROFILES
from helpers.config.settings import default_output_dir
from helpers.errors import ParameterError, RunError
from helpers.files import repo_root
from helpers.hints import did_you_mean
from helpers.runs.progress import Outcome, Progress, exit_code, summary
from helpers.runs.records import FAILED, INTERRUPTED, to_json, writable_folder

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
    wanted = [spec for name in names or ["all"] for spec in _select(name)]
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


def _select(name: str) -> list[Lesson]:
    return list(LESSONS.values()) if name == "all" else [find_lesson(name)]


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
    screen = Progress(say, max((len(job.spec.id) for job in jobs), default=0))
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                if waiting[0][1].spec.reads_runs and running:
                    break
                index, job = waiting.pop(0)
                running[index] = _Worker(job, parallel)
                screen.started(job.spec.id)
            for index, worker in list(running.items()):
                worker.read()
                if worker.outcome is not None:
                    outcomes[index] = worker.outcome
                    screen.ended(worker.outcome)
                    del running[index]
            screen.show(list(running.values()))
            time.sleep(0.1)
    except KeyboardInterrupt:
        for index, worker in running.items():
            outcomes[index] = worker.stop()
            screen.ended(outcomes[index])
        for index, job in waiting:
            outcomes[index] = Outcome(job.spec.id, INTERRUPTED, "not started", None, 0.0, 0, 0)
    return [outcomes[index] for index in sorted(outcomes)]


class _Worker:
    """One worker process and what it has said so far."""

    def __init__(self, job: Job, parallel: int) -> None:
        self.job = job
        self.outcome: Outcome | None = None
        self.cell = self.cells = 0
        self.began = time.monotonic()
        self._end: dict[str, Any] | None = None
        work = Path(tempfile.mkdtemp(prefix="peft-lab-"))
        order = {
            "notebook": str(job.notebook),
            "id": job.spec.id,
            "parameters": job.parameters,
            "output_dir": str(job.output_dir),
            "cell_timeout": job.cell_timeout,
            "work": str(work),
        }
        (work / "job.json").write_text(to_json(order), encoding="utf-8")
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.runs.worker", str(work / "job.json")],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(parallel),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._pump, daemon=True)
        self._reader.start()

    @property
    def name(self) -> str:
        return self.job.spec.id

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def _pump(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def read(self) -> None:
        """Take in what the process has printed; sets ``outcome`` once it is gone."""
        gone = self._process.poll() is not None
        if gone:
            self._reader.join(5)
        while not self._lines.empty():
            event = _event(self._lines.get())
            if event.get("event") == "cell":
                self.cell, self.cells = event["k"], event["n"]
            elif event.get("event") == "end":
                self._end = event
        if gone:
            self.outcome = self._conclude()

    def stop(self) -> Outcome:
        """Ask the process to stop, as Ctrl-C does; kill it when it does not."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.read()
        ended = self.outcome or self._conclude()
        return Outcome(ended.notebook, INTERRUPTED, "stopped", ended.folder, ended.seconds, ended.cell, ended.cells)

    def _conclude(self) -> Outcome:
        end, name = self._end, self.name
        if end is None:
            self._log.seek(0)
            said = self._log.read().strip().splitlines()
            code = self._process.returncode
            why = f"its process ended with code {code}" + (f": {said[-1][:300]}" if said else "")
            return Outcome(name, FAILED, why, None, round(self.seconds, 1), self.cell, self.cells)
        folder = Path(end["folder"]) if end["folder"] else None
        return Outcome(name, end["status"], end["error"], folder, end["seconds"], end["cell"], end["cells"])


def _environment(parallel: int) -> dict[str, str]:
    """The worker's environment: the package importable, the cores shared out, no progress bars."""
    values = dict(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(p for p in (str(repo_root()), values.get("PYTHONPATH")) if p)
    values.setdefault("TQDM_DISABLE", "1")
    values.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    values.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    if parallel > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, cores // parallel)
        # Also where the caller asked for more: threads of two processes that wait for one core multiply the time.
        asked = values.get("OMP_NUM_THREADS", "")
        values["OMP_NUM_THREADS"] = str(min(share, int(asked)) if asked.isdigit() and int(asked) else share)
    return values


def _event(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
