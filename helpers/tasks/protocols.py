"""Published protocols: which rows a project trained and measured on, so that a result can stand beside its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.sources.files.base import Row
from helpers.sources.local import RawRows
from helpers.sources.splits import OFFICIAL

if TYPE_CHECKING:  # pragma: no cover
    from helpers.tasks.base import LoadReport

Choose = Callable[[str, Sequence[Row], list[int]], list[int]]


@dataclass(frozen=True)
class Protocol:
    """How a published project chose its rows.

    Attributes:
        project: its letter.
        sizes: split → rows, as published.
        rule: the choice in words.
        choose: a split, all rows, the places of its own in the order of the source → the places that were taken.
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
        places = {name: [i for i, split in enumerate(raw.splits) if split == name] for name in OFFICIAL}
        chosen = {name: self.choose(name, raw.rows, part) for name, part in places.items()}
        raw.keep([place for part in chosen.values() for place in part])
        report.notes.append(self.told({name: len(part) for name, part in chosen.items()}))

    def told(self, sizes: Mapping[str, int]) -> str:
        """The rule with what it gave here beside what was published."""
        here = ", ".join(f"{name} {size:,} (published {self.sizes[name]:,})" for name, size in sizes.items())
        return f"protocol of Project {self.project}: {self.rule}: {here}"


def every_row(split: str, rows: Sequence[Row], places: list[int]) -> list[int]:
    """All rows of a split."""
    return places


def every_nth(sizes: Mapping[str, int]) -> Choose:
    """Rows at equal distances through each split, as many as ``sizes`` says."""

    def choose(split: str, rows: Sequence[Row], places: list[int]) -> list[int]:
        size = sizes[split]
        return places[:: max(1, len(places) // size)][:size]

    return choose
