"""How a run ends when nobody calls ``finish``: an error, Ctrl-C, a process that goes away."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from helpers.errors import LabError
from helpers.runs.records import FAILED, FINISHED, INTERRUPTED, RUNNING


class OpenRun(Protocol):
    """What is asked of a run here."""

    folder: Path

    @property
    def status(self) -> str: ...
    def close(self, status: str, error: str | None) -> None: ...
    def reopen(self) -> None: ...


_active: OpenRun | None = None
_watching = False


def watch(run: OpenRun) -> None:
    """From now on the record of ``run`` says how it ended; an earlier run that is still open is closed.

    In a notebook, a cell that raises marks the run as failed, and a later one that works as running. In a script, an
    error, Ctrl-C or an end without ``finish`` is written down.
    """
    global _active, _watching
    if _active is not None and _active.status == RUNNING and _active.folder != run.folder:
        _active.close(INTERRUPTED, "another run was started in the same kernel")
    _active = run
    if _watching:
        return
    _watching = True
    # Where IPython runs it is loaded; importing it for nothing takes half a second.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.events.register("post_run_cell", _after_cell)
    before, owner = sys.excepthook, os.getpid()

    def still_open() -> OpenRun | None:
        # A forked child is not the run, and a folder that was removed must not come back.
        if _active is None or os.getpid() != owner or _active.status != RUNNING:
            return None
        return _active if (_active.folder / "run.json").exists() else None

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


def close_open(error: BaseException, interrupted: bool = False) -> None:
    """Write into the record of the run that is open, if there is one, that ``error`` ended it.

    Args:
        interrupted: nothing is wrong with the run itself, it was stopped.
    """
    if _active is not None and _active.status == RUNNING:
        _close(_active, error, interrupted)


def open_folder() -> Path | None:
    """The folder of the latest run of this process."""
    return _active.folder if _active is not None else None


def _after_cell(result: Any) -> None:
    assert _active is not None
    error = result.error_before_exec or result.error_in_exec
    if error is not None and _active.status != FINISHED:
        _close(_active, error)
    elif error is None and _active.status in (FAILED, INTERRUPTED):
        _active.reopen()


def _close(run: OpenRun, error: BaseException, interrupted: bool = False) -> None:
    stopped = interrupted or isinstance(error, KeyboardInterrupt)
    line = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
    run.close(INTERRUPTED if stopped else FAILED, " ".join(line.split())[:500].rstrip(": "))
