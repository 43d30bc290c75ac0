"""What is known of a notebook's cells before they run: a title of each, and how long an earlier run took for it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.config.settings import NOT_COMPARED
from helpers.errors import LabError
from helpers.runs import records

NEWEST = 8  # earlier runs that are looked at
ENOUGH = 5.0  # seconds of an earlier run from which this machine's speed can be told
# Settings under which a lesson takes as long as before.
_SAME_TIME = NOT_COMPARED | {"seed"}
# Comments to a program.
_PRAGMA = re.compile(r"#\s*(fmt|type|noqa|ruff|pylint|mypy|%%|!|-\*-)")

Cell = Mapping[str, Any]
Key = tuple[str, str]


def titles(cells: Iterable[Cell]) -> dict[str, str]:
    """By a cell's id: its own first comment, up to the first full stop, else the nearest heading above it."""
    found, heading = {}, ""
    for cell in cells:
        lines = _source(cell).splitlines()
        if cell.get("cell_type") == "markdown":
            heading = next(reversed(list(_headings(lines))), heading)
            found[_id(cell)] = heading
            continue
        own = lines[0] if lines and lines[0].startswith("#") and not _PRAGMA.match(lines[0]) else ""
        found[_id(cell)] = re.split(r"[.:;](?:\s|$)", own.lstrip("#! "))[0] or heading
    return found


def _headings(lines: Iterable[str]) -> Iterable[str]:
    fenced = False
    for line in lines:
        fenced ^= line.lstrip().startswith("```")
        if not fenced and (match := re.match(r"#{1,6}\s+(.+?)\s*#*$", line)):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
            yield re.sub(r"^\d+ · ", "", re.sub(r"[*`$]", "", plain).strip())  # the lesson's number is known


@dataclass(frozen=True)
class Earlier:
    """A run that finished: its settings, its device, and the seconds of each of its cells by id and source."""

    settings: Mapping[str, Any]
    device: str
    seconds: Mapping[Key, float]


def earlier_runs(output_dir: Path, lesson: str) -> list[Earlier]:
    """Runs of the lesson whose executed notebook is there, the newest first; what cannot be read is left out.

    Read before the lesson starts: a run of the same name replaces them.
    """
    found = []
    for path in (output_dir / lesson).glob("*/notebook.ipynb"):
        try:
            info = records.read_json(path.parent / "run.json")
            if info["status"] == records.FINISHED and not info["resumed"]:
                found.append((str(info["finished"]), info, path))
        except (LabError, OSError, KeyError):
            continue
    runs = []
    for _, info, path in sorted(found, key=lambda entry: entry[0], reverse=True)[:NEWEST]:
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            took = {_key(cell): float(cell["metadata"]["papermill"]["duration"]) for cell in cells if _runs(cell)}
            runs.append(Earlier(info["settings"], str(info["hardware"]["device"]), took))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return runs


class Clock:
    """Seconds that a notebook still takes, cell by cell, from an earlier run with the same settings.

    The share of cells that have run says little: most take no second, one takes most of the time. The total that
    outputs/reference records is another machine's, and there is nothing to correct it by. So there is a time left
    only where an earlier run of the same lesson, profile and settings is in the outputs folder; its seconds are scaled
    by how fast this run has been so far. It is withheld while a cell is still to come that was not the same then.

    Args:
        cells: of the notebook, in order.
        runs: from ``earlier_runs``.
        run_info: this run's run.json, {} until it has one; it says which settings came to hold.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        runs: list[Earlier],
        run_info: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = [_key(cell) for cell in cells if _runs(cell)]
        self._runs, self._run_info, self._clock = runs, run_info, clock
        self._chosen: Earlier | None = None
        self._looked = not runs
        self._place: int | None = None
        self._mark = 0.0
        self._spent: dict[Key, float] = {}

    def begin(self, cell: Cell) -> tuple[float, float] | None:
        """A cell begins: seconds that it will take, and that those after it will; None where nothing is known."""
        now, key = self._clock(), _key(cell)
        if self._place is not None:
            self._spent[self._keys[self._place]] = now - self._mark
        self._mark = now
        self._place = self._keys.index(key) if key in self._keys else None
        if self._place is None or (known := self._earlier()) is None:
            return None
        here, *later = (known.seconds.get(key) for key in self._keys[self._place :])
        rest = [seconds for seconds in later if seconds is not None]
        if here is None or len(rest) < len(later):
            return None
        speed = self._speed(known)
        return here * speed, sum(rest) * speed

    def _earlier(self) -> Earlier | None:
        if not self._looked and (info := self._run_info()):
            self._looked = True
            same = (run for run in self._runs if not info.get("resumed") and _alike(run, info))
            self._chosen = next(same, None)
        return self._chosen

    def _speed(self, known: Earlier) -> float:
        """Seconds of this run for one of the earlier run, by the cells that both have run."""
        both = [(seconds, known.seconds[key]) for key, seconds in self._spent.items() if key in known.seconds]
        now, then = sum(pair[0] for pair in both), sum(pair[1] for pair in both)
        return now / then if min(now, then) >= ENOUGH else 1.0


def _alike(run: Earlier, info: Mapping[str, Any]) -> bool:
    """Whether a run, of which run.json is known, takes about as long as an earlier one."""
    mine, other = (
        {name: value for name, value in settings.items() if name not in _SAME_TIME}
        for settings in (info.get("settings", {}), run.settings)
    )
    return mine == other and info.get("hardware", {}).get("device") == run.device


def _source(cell: Cell) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _id(cell: Cell) -> str:
    return str(cell.get("id", ""))


def _key(cell: Cell) -> Key:
    return _id(cell), _source(cell)


def _runs(cell: Cell) -> bool:
    """Whether it is code, and not the parameters that papermill puts in, which are other ones each time."""
    injected = "injected-parameters" in cell.get("metadata", {}).get("tags", ())
    return cell.get("cell_type") == "code" and not injected
