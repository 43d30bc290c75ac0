"""What tasks share when they read rows from files and from the Hub: cells as text, counts of what is dropped, ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError, shown
from helpers.sources import reader
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT

if TYPE_CHECKING:  # pragma: no cover
    from helpers.sources.local import RawRows
    from helpers.tasks.base import LoadReport, Row, Task


def text(value: Any, column: str = "") -> str:
    """A cell as text, "" for none.

    Args:
        column: where the cell stands, for the error.

    Raises:
        DataError: the cell holds a list, a mapping, bytes or an array: Python's spelling of these is no text.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bytes | bytearray):
        raise DataError(f"{_cells(column)} hold bytes, not text: {shown(bytes(value[:60]))}", "Give them as text")
    if isinstance(value, Iterable) and getattr(value, "shape", None) != ():  # an array of no dimension is one value
        kind = "objects" if isinstance(value, Mapping) else "lists"
        cure = "Give one text a cell: keep only the part that is meant"
        raise DataError(f"{_cells(column)} hold {kind}, not text: {shown(value)}", cure)
    return "" if value is None or bool(value != value) else str(value).strip()  # NaN is not itself


def as_text(value: Any) -> str:
    """A cell as text for comparing, "" where it is none: a list, an object, bytes."""
    return text(value) if value is None or isinstance(value, str | int | float) else ""


def _cells(column: str) -> str:
    return f"cells of column {column}" if column else "cells"


def folded(text: str) -> str:
    """Without case and with single spaces: equal results mean the same text."""
    return " ".join(text.casefold().split())


def begin(raw: RawRows, report: LoadReport) -> None:
    """Say in the report where the rows come from, and how many of them could not be read."""
    report.rows_read, report.licence = raw.read, report.licence or raw.licence
    report.notes += raw.notes
    if raw.unreadable:
        drop(report, "unreadable", raw.unreadable)


def read(
    task: Task, source: str, limit: int, seed: int, report: LoadReport, by_id: Mapping[str, str] | None = None
) -> RawRows:
    """Rows of a source outside this repository; with a protocol asked for, only those that it takes.

    Args:
        by_id: id of a row → its official split, where the source says it in a file of its own.

    Raises:
        DataError: the source cannot be read, or the task or the source does not fit the protocol.
    """
    raw = reader.read(source, limit, seed, task.built_in)
    if by_id and Source.of(source).splits != "random":
        raw.splits = [by_id.get(text(row.get("id")), "") for row in raw.rows]
        raw.keep([place for place, split in enumerate(raw.splits) if split])
    if Source.of(source).protocol:
        if task.protocol is None:
            raise DataError(f"task {task.name} has no published protocol", "Leave protocol out")
        task.protocol.apply(raw, report)
    return raw


def carried(row: Mapping[str, Any]) -> Row:
    """The official split of a row, to be kept with what is made of it; {} where its source has none."""
    return {SPLIT: row[SPLIT]} if SPLIT in row else {}


def drop(report: LoadReport, reason: str, count: int = 1, row: Any = None) -> None:
    """Count rows that cannot be used; the first ``row`` of each reason is shown where too few are left."""
    report.dropped[reason] = report.dropped.get(reason, 0) + count
    if row is not None and reason not in report.examples:
        report.examples[reason] = shown(row, 200)


def example(
    row: Mapping[str, Any], form: str, prompt: str, completion: str, options: Sequence[str] = (), answer: int = -1,
    **more: Any,
) -> Row:  # fmt: skip
    """A row's question in the columns of ``Task.examples``, and what a task has besides."""
    return {
        "id": f"{row['id']}-{form}", "form": form, "prompt": prompt, "completion": completion,
        "options": list(options), "answer": answer, **more,
    }  # fmt: skip


def with_ids(rows: list[Row], sign: str = "~") -> list[Row]:
    """Rows with ids made different where they repeat: the second ``a`` is ``a~2``."""
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row["id"]] += 1
        if seen[row["id"]] > 1:
            row["id"] = f"{row['id']}{sign}{seen[row['id']]}"
    return rows
