"""One of several processes that train together: it is quiet unless it is the first, and it ends when another does.

Of all lines that the processes would end with, one is printed: that of the process whose error it is, or else of the
first that notices that another has gone. The run then reads as interrupted, or as failed where the error is its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from helpers.errors import LabError, RunError
from helpers.machine import ranks
from helpers.runs import interruption

CODE = 2  # of a process that ends early
WAIT = 10.0  # seconds in which the first process may say what all of them have found
# What gloo, NCCL and torch's store say where another process has gone.
_GONE = ("connection closed by peer", "connection reset", "broken pipe", "gloo", "nccl", "socket", "process group")

_ending = threading.Lock()
_stopped = threading.Event()
_line = 2  # file descriptor that the last line goes to


def work_together(work: Callable[[], None]) -> None:
    """Do ``work`` in each process; where there is only one, nothing is added.

    Does not return where it fails on several: a process that waits for one that has gone cannot be left in order.
    """
    if ranks.world() == 1:
        try:
            work()
        except BaseException as error:
            interruption.close_open(error)
            raise
        return
    global _line
    _line = os.dup(2)
    if not ranks.first():
        _quiet()
    # A thread takes the launcher's signal: the process itself may wait in a collective, where Python handles none.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_await_signal, daemon=True).start()
    try:
        work()
    except BaseException as error:
        _end(error)
    _leave()


def _quiet() -> None:
    """Nothing that this process prints is seen, whatever prints it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _await_signal() -> None:
    signal.sigwait({signal.SIGTERM})
    _stopped.set()
    _end(None)


def _end(error: BaseException | None) -> None:
    """End this process: with its error, or because another has gone (None, or an error of what connects them)."""
    gone = error is None or _is_gone(error)
    if not gone and not ranks.first():
        _stopped.wait(WAIT)  # the first may have the same to say, and ends all when it has done so
    with _ending:
        said = _gone_line() if gone or error is None else error
        with suppress(Exception):
            interruption.close_open(said, interrupted=gone)
            if not ranks.first() and (folder := interruption.open_folder()) is not None:
                shutil.rmtree(folder, ignore_errors=True)  # one that nobody else has
        if _speaks():
            if isinstance(said, LabError):
                text = f"{type(said).__name__}: {said}\n"
            else:
                text = "".join(traceback.format_exception(said))
            sys.stdout.flush()
            os.write(_line, text.encode())
        os._exit(CODE)


def _is_gone(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _GONE)


def _gone_line() -> RunError:
    return RunError(
        f"another of the {ranks.world()} processes has ended, so the training stops",
        "Go on from its last checkpoint, with any number of processes: the same command with -p resume True",
    )


def _speaks() -> bool:
    """Whether no other process has spoken yet."""
    import psutil

    launcher = psutil.Process(os.getppid())
    name = f"peft-lab-{launcher.pid}-{int(launcher.create_time())}-{os.environ.get('MASTER_PORT', '')}.said"
    try:
        os.close(os.open(Path(tempfile.gettempdir(), name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _leave() -> None:
    """All have done their work: part from the others without a warning."""
    from accelerate import PartialState

    with suppress(Exception):
        PartialState().destroy_process_group()
