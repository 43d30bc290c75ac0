"""What is shown while notebooks run, and how they ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.runs.display import duration, text_table
from helpers.runs.records import FINISHED, INTERRUPTED
from helpers.runs.worker import KERNEL_DIED, TIMED_OUT

if TYPE_CHECKING:
    from rich.progress import Progress


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


def bars(shown: bool) -> Progress:
    """A bar for each notebook that runs, below what is printed meanwhile; nothing unless ``shown``."""
    from rich import progress

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
    return progress.Progress(*columns, progress.TimeElapsedColumn(), transient=True, disable=not shown)


def line(outcome: Outcome) -> str:
    """What is printed when a notebook has ended."""
    return f"{outcome.notebook:<25}  {outcome.status} after {duration(outcome.seconds)}"


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
