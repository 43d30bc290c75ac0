"""Published protocols: which rows a project trained and measured on, so that a result can stand beside its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.sources.local import RawRows, Row
from helpers.sources.splits import OFFICIAL

if TYPE_CHECKING:  # pragma: no cover
    from helpers.tasks.base import LoadReport

Choose = Callable[[str, list[Row]], list[Row]]


@dataclass(frozen=True)
class Protocol:
    """How a published project chose its rows.

    Attributes:
        project: its letter.
        sizes: split → rows, as published.
        rule: the choice in words.
        choose: name of a split and its rows in the order of the source → the rows that the project took.
    """

    project: str
    sizes: Mapping[str, int]
    rule: str
    choose: Choose

    def apply(self, raw: RawRows, report: LoadReport) -> None:
        """Keep the project's rows of each official split, in the order of the source; the report says how many.

        Raises:
            DataError: the source has no official splits.
        """
        if not raw.splits:
            raise DataError(
                f"{raw.name} has no official splits, which the protocol of Project {self.project} starts from",
                "Leave protocol out, or give the published data set",
            )
        parts = {name: [r for r, s in zip(raw.rows, raw.splits, strict=True) if s == name] for name in OFFICIAL}
        chosen = {name: self.choose(name, part) for name, part in parts.items()}
        raw.rows = [row for part in chosen.values() for row in part]
        raw.splits = [name for name, part in chosen.items() for _ in part]
        report.notes.append(self.told({name: len(part) for name, part in chosen.items()}))

    def told(self, sizes: Mapping[str, int]) -> str:
        """The rule with what it gave here beside what was published."""
        here = ", ".join(f"{name} {size:,} (published {self.sizes[name]:,})" for name, size in sizes.items())
        return f"protocol of Project {self.project}: {self.rule}: {here}"


def every_nth(sizes: Mapping[str, int]) -> Choose:
    """Rows at equal distances through each split, as many as ``sizes`` says."""

    def choose(split: str, rows: list[Row]) -> list[Row]:
        size = sizes[split]
        return rows[:: max(1, len(rows) // size)][:size]

    return choose
