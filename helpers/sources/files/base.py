"""A file to read, a row of it, and a row that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from helpers.errors import DataError

Row = dict[str, Any]


@dataclass
class File:
    """One file of a source.

    Attributes:
        path: where its bytes are, unpacked if need be.
        name: its name inside the source ("train/a.csv").
        label: its name for a reader ("my.zip: train/a.csv").
        notes: what was guessed about it.
    """

    path: Path
    name: str
    label: str
    notes: list[str] = field(default_factory=list)

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower()

    def error(self, what: str, cure: str = "") -> DataError:
        """The error that names this file."""
        return DataError(f"{self.label} {what}", cure)


class Bad(NamedTuple):
    """A row that could not be parsed: where, and why."""

    line: int
    why: str
