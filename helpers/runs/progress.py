"""What is shown while notebooks run, and how they ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from helpers.runs.display import duration
from helpers.runs.records import FINISHED, INTERRUPTED
from helpers.runs.worker import KERNEL_DIED, TIMED_OUT

_REPORT_EVERY = 30.0  # seconds between progress lines when the output is no terminal


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


class Running(Protocol):
    """What the progress line shows of a notebook that runs."""

    @property
    def name(self) -> str: ...
    @property
    def cell(self) -> int: ...
    @property
    def cells(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Progress:
    """A line that is rewritten on a terminal; a line now and then elsewhere."""

    def __init__(self, say: Callable[[str], None], width: int) -> None:
        self._say, self._width = say, width
        self._terminal = say is print and sys.stdout.isatty()
        self._last = time.monotonic()
        self._shown = ""

    def started(self, name: str) -> None:
        if not self._terminal:
            self._say(f"{name:<{self._width}}  started")

    def show(self, workers: Sequence[Running]) -> None:
        text = "   ".join(
            f"{w.name:<{self._width}}  cell {w.cell}/{w.cells or '?'}  {_clock(w.seconds)}" for w in workers
        )
        if self._terminal:
            text = text[: max(20, os.get_terminal_size().columns - 1)]
            if text != self._shown:
                print("\r\x1b[2K" + text, end="", flush=True)
                self._shown = text
        elif text and time.monotonic() - self._last >= _REPORT_EVERY:
            self._last = time.monotonic()
            self._say(text)

    def ended(self, outcome: Outcome) -> None:
        if self._terminal:
            print("\r\x1b[2K", end="", flush=True)
            self._shown = ""
        self._say(f"{outcome.notebook:<{self._width}}  {outcome.status} after {duration(outcome.seconds)}")


def summary(outcomes: Iterable[Outcome]) -> str:
    """One row a notebook: status, time, cells; the error line below those that did not finish."""
    rows = list(outcomes)
    width = max((len(row.notebook) for row in rows), default=8)
    lines = [f"{'notebook':<{width}}  {'status':<11}  {'time':>12}  cells"]
    for row in rows:
        took = duration(row.seconds)
        lines.append(f"{row.notebook:<{width}}  {row.status:<11}  {took:>12}  {row.cell}/{row.cells}")
        if row.status != FINISHED and row.error:
            lines.append(f"{'':<{width}}  {row.error}")
    return "\n".join(lines)


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 when every notebook finished; 130 interrupted, 138 kernel died, 124 timed out, else 1."""
    codes = {INTERRUPTED: 130, KERNEL_DIED: 138, TIMED_OUT: 124}
    bad = [row.status for row in outcomes if row.status != FINISHED]
    return codes.get(bad[0], 1) if bad else 0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
