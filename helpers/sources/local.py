"""Rows from local files and folders of them; every fault becomes one clear DataError.

A file is read as a stream and thinned on the way (reservoir sampling), so that a file of a million recipes
needs no more memory than the rows that are kept, and those are a fair sample rather than the first ones.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers.errors import DataError, listed
from helpers.sources.files import columnar
from helpers.sources.files.base import Bad, File, Row
from helpers.sources.files.folder import contents, others
from helpers.sources.files.kinds import SUFFIXES, refuse, rows_of
from helpers.sources.files.packed import is_packed, unpack
from helpers.sources.splits import has_splits, split_column, split_of_cell, split_of_path

UNREADABLE_SHARE = 0.01


class Sample:
    """A fair random sample of a stream (reservoir sampling); everything, in order, while it fits."""

    def __init__(self, limit: int, seed: str) -> None:
        self.limit, self.seen, self.kept = limit, 0, list[tuple[Row, str]]()
        self._rng = random.Random(seed)

    def add(self, row: tuple[Row, str]) -> None:
        self.seen += 1
        if len(self.kept) < self.limit:
            self.kept.append(row)
        elif (slot := self._rng.randrange(self.seen)) < self.limit:
            self.kept[slot] = row


@dataclass
class RawRows:
    """Rows as they stand in the source, before any cleaning.

    Attributes:
        rows: at most the ``limit`` asked for; each has all ``columns``, None where it had none of that name.
        columns: of all rows of all files, in the order in which they were met.
        read: counts every row seen, ``unreadable`` those that could not be parsed.
        files: the file of each row, its name inside the source ("train/a.csv"); "" where it is not known.
        file_columns: the columns of each file.
        splits: the official split of each row; empty where there are none, or none are kept.
        chosen: a task's column → the column that was asked for.
        names: a column of codes → what code 0, 1, … is called.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    read: int = 0
    unreadable: int = 0
    licence: str = ""
    notes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    file_columns: dict[str, list[str]] = field(default_factory=dict)
    splits: list[str] = field(default_factory=list)
    chosen: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def add(self, part: RawRows, split: str) -> None:
        """Rows of another source, which are one official split of this one."""
        self.columns = list(dict.fromkeys([*self.columns, *part.columns]))
        self.rows += part.rows
        self.files += part.files
        self.splits += [split] * len(part.rows)
        self.read, self.unreadable = self.read + part.read, self.unreadable + part.unreadable
        self.licence, self.chosen, self.names = part.licence, part.chosen, part.names
        self.file_columns |= part.file_columns
        self.notes += [note for note in part.notes if note not in self.notes]

    def keep(self, places: Sequence[int]) -> None:
        """Only the rows at these places, in this order."""
        self.rows = [self.rows[i] for i in places]
        self.files = [self.files[i] for i in places]
        self.splits = [self.splits[i] for i in places] if self.splits else []

    def add_columns(self, *names: str) -> None:
        """Columns that all rows have from now on."""
        self.columns = list(dict.fromkeys([*self.columns, *names]))
        self.file_columns = {file: list(dict.fromkeys([*own, *names])) for file, own in self.file_columns.items()}

    def replace(self, rows: list[Row], columns: list[str]) -> None:
        """Other rows in place of those read, one for each, with columns of their own."""
        self.rows, self.columns, self.file_columns = rows, columns, {}


def read_local(path: str | Path, limit: int, seed: int, official: bool = False) -> RawRows:
    """Read a file, or all files of data in a folder or archive, keeping at most ``limit`` rows chosen by ``seed``.

    Args:
        official: where files, folders or a column name official splits, keep ``limit`` rows of each, with the splits.

    Raises:
        DataError: nothing there, unknown type, empty, no table, or more than 1 % of the rows unreadable (a lower
            share is counted and left out).
    """
    samples: dict[str, Sample] = {}
    raw, columns = RawRows(name=str(path)), dict[str, None]()
    cells: dict[str, dict[str, None]] = {}  # of columns that may name splits, some of them
    with tempfile.TemporaryDirectory(prefix="peft-lab-") as scratch:
        for file, found in _opened(Path(path).expanduser(), Path(scratch), raw.notes):
            before, bad, first, last = raw.read, 0, None, None
            own: dict[str, None] = {}
            by_file, column = split_of_path(file.name) if official else "", ""
            for item in found:
                raw.read += 1
                if isinstance(item, Bad):
                    bad, first = bad + 1, first or item
                    continue
                if item.keys() != last:
                    last = item.keys()
                    own.update(dict.fromkeys(item))
                    column = split_column(last) if official else ""
                split = (split_of_cell(str(item[column])) if column else "") or by_file
                if column and len(cells.setdefault(column, {})) < 5:
                    cells[column][str(item[column])] = None
                if split not in samples:
                    samples[split] = Sample(limit, f"reservoir-{seed}{split and '-' + split}")
                samples[split].add((item, file.name))
            here = raw.read - before
            if first and bad > UNREADABLE_SHARE * here:
                what = f"has {bad:,} unreadable of {here:,} rows, the first at line {first.line:,}: {first.why}"
                raise file.error(what, "Repair or delete those lines; up to 1 % are skipped and counted")
            if first:
                file.notes.append(f"{file.name}: {bad:,} of {here:,} rows left out, the first at line {first.line:,}: "
                                  f"{first.why}")  # fmt: skip
            if not here:
                file.notes.append(f"{file.name} holds no rows")
            raw.unreadable += bad
            raw.file_columns[file.name] = list(own)
            columns |= own
            raw.notes += file.notes
    if raw.read == 0:
        raise DataError(f"{path} is empty: it holds no rows", "Give a file with at least one row of data")
    _fill(raw, samples, limit)
    if cells and not raw.splits:
        named, held = next(iter(cells.items()))
        raw.notes.append(f"column {named!r} names no official splits ({listed(list(held))}): it is not used")
    raw.columns = list(columns)
    raw.rows = [row if len(row) == len(columns) else {name: row.get(name) for name in columns} for row in raw.rows]
    _note_differences(raw)
    return raw


def _fill(raw: RawRows, samples: dict[str, Sample], limit: int) -> None:
    """Put the rows kept into ``raw``, with their splits where these are official ones."""
    raw.splits = []
    if has_splits(samples):
        if lost := samples.pop("", None):
            where = listed(sorted({file for _, file in lost.kept}))
            raw.notes.append(f"{lost.seen:,} rows stand in no split ({where}): left out")
        raw.splits = [split for split, sample in samples.items() for _ in sample.kept]
    kept = [pair for sample in samples.values() for pair in sample.kept]
    seen = sum(sample.seen for sample in samples.values())
    if not raw.splits and len(kept) > limit:  # a part of each that is as large as its share
        kept = [pair for s in samples.values() for pair in s.kept[: max(1, limit * s.seen // seen)]]
    raw.rows, raw.files = [row for row, _ in kept], [file for _, file in kept]
    if seen > len(kept):
        raw.notes.append(f"a random {len(kept):,} of {seen:,} rows were used")


def _opened(root: Path, scratch: Path, notes: list[str]) -> Iterator[tuple[File, Iterator[Row | Bad]]]:
    """The files of a source with their rows, unpacked where need be."""
    if not root.exists():
        raise DataError(f"{root} does not exist", "Check the path; relative paths start at the working folder")
    if root.is_file() and root.suffix.lower() not in SUFFIXES:
        raise refuse(root, str(root))
    waiting = [(root, root.name, str(root))]  # (place, name inside the source, name for a reader)
    if root.is_dir():
        waiting = [(path, path.relative_to(root).as_posix(), str(path)) for path in _data(root, str(root), notes)]
    while waiting:
        path, name, label = waiting.pop(0)
        if path.is_dir():
            for split, rows in columnar.saved(path, File(path, name, label)):
                inside = "/".join(part for part in ("" if name == "." else name, split, "data") if part)
                yield File(path, inside, f"{label} ({split})" if split else label), rows
        elif is_packed(path):
            inner = unpack(path, scratch / str(len(list(scratch.iterdir()))), label)
            if inner.is_file():
                shown = name.removesuffix(path.suffix) if is_packed(inner) or inner.suffix in name else name
                waiting.insert(0, (inner, shown, label))
                continue
            prefix = f"{name}/" if root.is_dir() else ""
            found = _data(inner, label, notes)
            tail = [(at, at.relative_to(inner).as_posix()) for at in found]
            waiting[:0] = [(at, prefix + there, f"{label}: {there}") for at, there in tail]
        else:
            file = File(path, name, label)
            yield file, rows_of(file)


def _data(folder: Path, label: str, notes: list[str]) -> list[Path]:
    """The data in a folder, or a DataError that says what is there instead."""
    found = contents(folder, notes)
    if found:
        return found
    if there := others(folder):
        raise refuse(there[0], f"{label}: {there[0].relative_to(folder).as_posix()}")
    known = ", ".join(SUFFIXES)
    names = sorted(path.name for path in folder.iterdir())
    what = f"folder {label} has no data files (found: {listed(names, 6) or 'nothing'})"
    raise DataError(what, f"Put files of type {known} in it")


def _note_differences(raw: RawRows) -> None:
    """Say which files have other columns than the first."""
    first = next(iter(raw.file_columns), "")
    for name, columns in raw.file_columns.items():
        if columns and set(columns) != set(raw.file_columns[first]):
            raw.notes.append(f"{name} has other columns than {first}: {listed(columns)}")
