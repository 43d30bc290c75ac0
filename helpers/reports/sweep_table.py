"""What a sweep found: one table of what varied, the main metrics with intervals, time and status; kept as CSV and JSON.

A lesson has many systems; the table shows the one that its record names as the result, the JSON file has all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.config.lessons import LESSONS
from helpers.errors import LabError
from helpers.files import write_atomic
from helpers.machine import hardware
from helpers.reports import results, side_by_side
from helpers.runs import headless
from helpers.runs.display import duration, interval, short_path, text_table
from helpers.runs.headless import Outcome
from helpers.runs.records import FINISHED, RunRecord, read_run, to_csv, to_json
from helpers.runs.sweep import Member, Sweep
from helpers.runs.sweep_time import expected

METRICS = 3  # columns of the table


@dataclass(frozen=True)
class Row:
    """A run of a sweep as it stands now; ``record`` is ``None`` where it left nothing that could be read."""

    member: Member
    status: str
    error: str | None
    record: RunRecord | None
    seconds: float | None

    @property
    def systems(self) -> dict[str, Any]:
        """System → metric → entry, of what this run measured."""
        return self.record.systems if self.record is not None else {}


def run(sweep: Sweep, at_a_time: int, say: Callable[[str], None] = print) -> int:
    """Make the runs that are not there yet, tell what all of them found, and keep the table; returns an exit code."""
    say("\n".join(beginning(sweep, at_a_time)))
    jobs = [member.job for member in sweep.pending]
    outcomes = headless.run_all([*jobs, *sweep.readers], parallel=at_a_time, say=say)
    say("\n" + ending(sweep, outcomes))
    return headless.exit_code(outcomes)


def beginning(sweep: Sweep, at_a_time: int) -> list[str]:
    """What is said before the first run starts: how many, which are there already, how long, on what."""
    pending = sweep.pending
    lessons = ", ".join(dict.fromkeys(member.settings.notebook for member in sweep.members))
    lines = [f"{len(sweep.members)} runs of {lessons}, {len(pending)} of them to be made"]
    kinds = {
        "finished before and kept": [m for m in sweep.members if m.kept],
        "interrupted before and resumed": [m for m in pending if m.resumed],
        "not finished before and begun anew": [m for m in pending if m.before is not None and not m.resumed],
    }
    lines += [f"{kind}: {', '.join(m.job.label for m in members)}" for kind, members in kinds.items() if members]
    machine = hardware.probe()
    cards = hardware.cards(machine)
    at_once = min(at_a_time, len(pending), len(cards) or at_a_time)
    if pending:
        lines.append(expected([member.job for member in pending]).told(at_once, shared=not cards))
    if at_once < min(len(cards), len(pending)):
        lines.append(f"{len(cards)} GPUs are here: -j {len(cards)} makes a run on each at a time")
    elif machine.device == "cuda" and machine.gpu_count < min(at_a_time, machine.gpu_devices):
        lines.append(f"GPUs used: {machine.gpu_count} of {machine.gpu_devices}, as CUDA_VISIBLE_DEVICES says")
    return lines


def ending(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    """The tables of all lessons of a sweep, what did not finish, and where everything lies; writes the files.

    Args:
        outcomes: of the pending runs and then of the lessons that read runs, in order.
    """
    pending = iter(outcomes)
    rows = [_row(member, None if member.kept else next(pending)) for member in sweep.members]
    parts: list[str] = []
    files: list[Path] = []
    for lesson in dict.fromkeys(row.member.settings.notebook for row in rows):
        own = in_order(sweep, [row for row in rows if row.member.settings.notebook == lesson])
        files.append(_keep(sweep, own))
        parts.append("\n".join([lesson, text_table(table(own))]))
        if pooled := seeds(sweep, own):
            parts.append(f"over seeds:\n{pooled}")
    failed = [(row.member.job.label, row.status, row.error) for row in rows if row.status != FINISHED]
    failed += [(outcome.notebook, outcome.status, outcome.error) for outcome in pending if outcome.status != FINISHED]
    parts += [f"did not finish: {name}: {status}{f': {error}' if error else ''}" for name, status, error in failed]
    place = rows[0].member.job.output_dir
    page = short_path(results.write_html(place))
    parts.append("\n".join([*(f"table: {short_path(file)}, .json" for file in files), f"results page: {page}"]))
    return "\n\n".join(parts)


def _row(member: Member, outcome: Outcome | None) -> Row:
    record = member.before if outcome is None else None
    if outcome is not None and outcome.folder is not None:
        try:
            record = read_run(outcome.folder)
        except LabError:
            record = None
    status, error = (FINISHED, None) if outcome is None else (outcome.status, outcome.error)
    seconds = (record.info.get("wall_time_s") if record else None) or (outcome.seconds if outcome else None)
    return Row(member, status, error, record, seconds or None)


def in_order(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """By the swept values, in the order of the parameters: numbers by size, others as they were given."""

    def place(name: str, value: Any) -> Any:
        values = list(sweep.swept[name])
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        return value if numbers else values.index(value)

    return sorted(rows, key=lambda row: [place(name, value) for name, value in row.member.varied.items()])


def table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """One row a run: the swept values, metrics as "value [low, high]", time and status."""
    systems = _systems(rows)
    metrics = [name for name in results.MAIN if any(name in r.systems.get(s, {}) for r in rows for s in systems)]
    made = []
    for row in rows:
        for system in systems or [""]:
            found = row.systems.get(system, {})
            cells = {name: str(value) for name, value in row.member.varied.items()}
            cells |= {"system": system} if systems else {}
            cells |= {metric: interval(found.get(metric), metric) for metric in metrics[:METRICS]}
            cells["time"] = "" if row.seconds is None else duration(row.seconds)
            made.append(cells | {"status": row.status + (" before" if row.member.kept else "")})
    return made


def _systems(rows: Sequence[Row]) -> list[str]:
    """The lesson's result where a run has it, else all systems that are measured by a main metric."""
    result = LESSONS[rows[0].member.settings.notebook].result
    if any(result in row.systems for row in rows):
        return [result]
    found = [(name, metrics) for row in rows for name, metrics in row.systems.items()]
    return list(dict.fromkeys(name for name, metrics in found if not metrics.keys().isdisjoint(results.MAIN)))


def seeds(sweep: Sweep, rows: Sequence[Row]) -> str:
    """Means over the seeds for each of the other settings; "" where none has two seeds."""
    records = [row.record for row in rows if row.status == FINISHED and row.record is not None]
    if "seed" not in sweep.swept or len(records) < 2:
        return ""
    frame = side_by_side.seeds_frame(records)
    frame = frame[frame["system"].isin(_systems(rows))] if len(frame) else frame
    return str(frame.to_string(index=False)) if len(frame) else ""


def _keep(sweep: Sweep, rows: Sequence[Row]) -> Path:
    """Write CSV and JSON beside the runs of one lesson; returns the former."""
    first = rows[0].member
    fixed = {name: value for name, value in sweep.fixed.items() if name != "output_dir"}
    mark = f"-{hashlib.sha256(to_json(fixed, indent=None).encode()).hexdigest()[:6]}" if fixed else ""
    file = first.job.output_dir / first.settings.notebook / f"sweep-{'-'.join(sweep.swept)}{mark}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = {"notebook": first.settings.notebook, "swept": sweep.swept, "fixed": fixed}
    write_atomic(file.with_suffix(".json"), to_json(found | {"runs": [_full(row) for row in rows]}) + "\n")
    return write_atomic(file, to_csv([line for row in rows for line in _lines(row, _systems(rows))]))


def _full(row: Row) -> dict[str, Any]:
    told = {"settings": row.member.varied, "run": row.member.settings.run_name, "status": row.status}
    return told | {"error": row.error, "seconds": row.seconds, "systems": row.systems}


def _lines(row: Row, systems: Sequence[str]) -> list[Mapping[str, Any]]:
    """Lines of the CSV file: one a shown system, each metric in columns of its own."""
    lines: list[Mapping[str, Any]] = []
    for system in systems or [""]:
        line = dict(row.member.varied) | {"run": row.member.settings.run_name, "system": system}
        for metric, entry in row.systems.get(system, {}).items():
            line |= {metric: entry["value"], f"{metric}_low": entry["low"], f"{metric}_high": entry["high"]}
        lines.append(line | {"seconds": row.seconds, "status": row.status, "error": row.error or ""})
    return lines
