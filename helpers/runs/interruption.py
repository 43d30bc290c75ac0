"""How a run ends when nobody calls ``finish``: an error, Ctrl-C, a process that goes away."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from helpers.errors import LabError
from helpers.runs.records import FAILED, FINISHED, INTERRUPTED, RUNNING


class Closable(Protocol):
    """What is asked of a run here."""

    folder: Path

    @property
    def status(self) -> str: ...
    def close(self, status: str, error: str | None) -> None: ...
    def reopen(self) -> None: ...


_watched = False


def watch_cells(run: Closable, active: Callable[[], Closable | None]) -> None:
    """In a notebook, a cell that raises marks the run as failed, and a later one that works as running."""
    # Where IPython runs it is loaded; importing it for nothing takes half a second.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return

    def after_cell(result: Any) -> None:
        if run is not active():
            shell.events.unregister("post_run_cell", after_cell)
            return
        error = result.error_before_exec or result.error_in_exec
        if error is not None and run.status != FINISHED:
            _close(run, error)
        elif error is None and run.status in (FAILED, INTERRUPTED):
            run.reopen()

    shell.events.register("post_run_cell", after_cell)


def watch_process(active: Callable[[], Closable | None]) -> None:
    """In a script, an error, Ctrl-C or an end without ``finish`` is written into the record of the active run."""
    global _watched
    if _watched:
        return
    _watched = True
    before, owner = sys.excepthook, os.getpid()

    def still_open() -> Closable | None:
        run = active()
        # A forked child is not the run, and a folder that was removed must not come back.
        if run is None or os.getpid() != owner or run.status != RUNNING or not (run.folder / "run.json").exists():
            return None
        return run

    def on_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if (run := still_open()) is not None:
            _close(run, error)
        if issubclass(kind, LabError):
            print(f"{kind.__name__}: {error}", file=sys.stderr)  # one line says it all
        else:
            before(kind, error, traceback)

    def on_exit() -> None:
        if (run := still_open()) is not None:
            run.close(INTERRUPTED, "the process ended before run.finish()")

    sys.excepthook = on_error
    atexit.register(on_exit)


def _close(run: Closable, error: BaseException) -> None:
    stopped = isinstance(error, KeyboardInterrupt)
    line = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
    run.close(INTERRUPTED if stopped else FAILED, " ".join(line.split())[:500].rstrip(": "))
