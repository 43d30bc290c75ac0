"""What tasks share when they read rows from files and from the Hub: cells as text, counts of what is dropped, ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT

if TYPE_CHECKING:  # pragma: no cover
    from helpers.sources.local import RawRows
    from helpers.tasks.base import LoadReport, Row, Task


def text(value: Any) -> str:
    """A cell as text, "" for none."""
    return "" if value is None or value != value else str(value).strip()  # NaN is not itself


def folded(text: str) -> str:
    """Without case and with single spaces: equal results mean the same text."""
    return " ".join(text.casefold().split())


def begin(raw: RawRows, report: LoadReport) -> None:
    """Say in the report where the rows come from, and how many of them could not be read."""
    report.rows_read, report.licence = raw.read, report.licence or raw.licence
    report.notes += raw.notes
    if raw.unreadable:
        drop(report, "unreadable", raw.unreadable)


def read(task: Task, source: str, limit: int, seed: int, report: LoadReport) -> RawRows:
    """Rows of a source outside this repository; with a protocol asked for, only those that it takes.

    Raises:
        DataError: the source cannot be read, or the task or the source does not fit the protocol.
    """
    raw = reader.read(source, limit, seed, task.built_in)
    if Source.of(source).protocol:
        if task.protocol is None:
            raise DataError(f"task {task.name} has no published protocol", "Leave protocol out")
        task.protocol.apply(raw, report)
    return raw


def carried(row: Mapping[str, Any]) -> Row:
    """The official split of a row, to be kept with what is made of it; {} where its source has none."""
    return {SPLIT: row[SPLIT]} if SPLIT in row else {}


def drop(report: LoadReport, reason: str, count: int = 1) -> None:
    """Count rows that cannot be used."""
    report.dropped[reason] = report.dropped.get(reason, 0) + count


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
