"""What is known of a notebook's cells before they run: a title of each, and how long an earlier run took for it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.config.settings import NOT_COMPARED
from helpers.errors import LabError
from helpers.files import repo_root
from helpers.runs import records

RECORDED = "outputs/reference"  # where the course keeps its records, in the repository
NEWEST = 8  # earlier runs that are looked at
ENOUGH = 5.0  # seconds of cells from which a run's speed can be told
# Settings under which a lesson takes as long as before.
NO_OTHER_TIME = NOT_COMPARED | {"seed"}
# Comments to a program.
_PRAGMA = re.compile(r"#\s*(fmt|type|noqa|ruff|pylint|mypy|%%|!|-\*-)")

Cell = Mapping[str, Any]


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
    """A run that finished: its run.json, the seconds of each of its cells, and whether it was made elsewhere."""

    info: Mapping[str, Any]
    seconds: Mapping[str, float]
    elsewhere: bool = False


def seconds_of_cells(notebook: Path) -> dict[str, float]:
    """Seconds of each cell of code of an executed notebook; {} where it cannot be read.

    Keys hold a cell's id and a digest of its source: a cell that was changed is another one.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return {_key(cell): float(cell["metadata"]["papermill"]["duration"]) for cell in cells if _runs(cell)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def earlier_runs(output_dir: Path, lesson: str, recorded: Path | None = None) -> list[Earlier]:
    """Runs of the lesson that finished, the newest first, then the recorded ones; of some only the sum.

    Read before the lesson starts: a run of the same name replaces them. What cannot be read is left out.

    Args:
        recorded: folder of the course's records; default: the repository's.
    """
    found = []
    for path in (output_dir / lesson).glob("*/notebook.ipynb"):
        with suppress(LabError, OSError):
            info = records.read_json(path.parent / "run.json")
            if info.get("status") == records.FINISHED and info.get("resumed") is False:
                found.append((str(info.get("finished")), info, path))
    newest = sorted(found, key=lambda entry: entry[0], reverse=True)[:NEWEST]
    runs = [Earlier(info, seconds_of_cells(path)) for _, info, path in newest]
    for path in sorted((recorded or repo_root() / RECORDED).glob(f"*/{lesson}/run.json")):
        with suppress(LabError, OSError):
            info = records.read_json(path)
            runs.append(Earlier(info, info.get("cell_seconds", {}), elsewhere=True))
    return [run for run in runs if run.seconds or run.info.get("wall_time_s")]


class Clock:
    """Seconds that a notebook still takes, cell by cell, from an earlier run with the same settings.

    The share of cells that have run says little: most take no second, one takes most of the time. So there is a time
    left only where a run of the same lesson, profile and settings on the same kind of device is in the outputs folder,
    or among the course's records, and it is scaled by how fast this run has been so far; with a record, which another
    machine made, nothing is said before that is known. It is withheld while a cell is still to come that was not the
    same then.

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
        self._spent: dict[str, float] = {}

    def begin(self, cell: Cell) -> tuple[float, float] | None:
        """A cell begins: seconds that it will take, and that those after it will; None where nothing is known."""
        now, key = self._clock(), _key(cell)
        if self._place is not None:
            self._spent[self._keys[self._place]] = now - self._mark
        self._mark = now
        self._place = self._keys.index(key) if key in self._keys else None
        if self._place is None or (known := self._earlier()) is None or (speed := self._speed(known)) is None:
            return None
        here, *later = (known.seconds.get(key) for key in self._keys[self._place :])
        rest = [seconds for seconds in later if seconds is not None]
        if here is None or len(rest) < len(later):
            return None
        return here * speed, sum(rest) * speed

    def _earlier(self) -> Earlier | None:
        if not self._looked and (info := self._run_info()):
            self._looked = True
            timed = (run for run in self._runs if run.seconds and not info.get("resumed"))
            same = (run for run in timed if _alike(run.info, info))
            self._chosen = next(same, None)
        return self._chosen

    def _speed(self, known: Earlier) -> float | None:
        """Seconds of this run for one of the earlier run, by the cells that both have run."""
        both = [(seconds, known.seconds[key]) for key, seconds in self._spent.items() if key in known.seconds]
        now, then = sum(pair[0] for pair in both), sum(pair[1] for pair in both)
        return now / then if min(now, then) >= ENOUGH else None if known.elsewhere else 1.0


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs, of which run.json is known, do the same work on the same kind of device."""

    def work(info: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        settings, hardware = info.get("settings", {}), info.get("hardware", {})
        same = {name: value for name, value in settings.items() if name not in NO_OTHER_TIME}
        return same, [hardware.get("device"), hardware.get("dtype")]

    return work(one) == work(other)


def _source(cell: Cell) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _id(cell: Cell) -> str:
    return str(cell.get("id", ""))


def _key(cell: Cell) -> str:
    return f"{_id(cell)}-{hashlib.sha256(_source(cell).encode()).hexdigest()[:8]}"


def _runs(cell: Cell) -> bool:
    """Whether it is code, and not the parameters that papermill puts in, which are other ones each time."""
    injected = "injected-parameters" in cell.get("metadata", {}).get("tags", ())
    return cell.get("cell_type") == "code" and not injected
