"""Rows from local files and folders of them; every fault becomes one clear DataError.

A file is read as a stream and thinned on the way (reservoir sampling), so that a file of a million recipes
needs no more memory than the rows that are kept, and those are a fair sample rather than the first ones.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from helpers.errors import DataError, listed
from helpers.sources.files import columnar
from helpers.sources.files.base import Bad, File, Row
from helpers.sources.files.folder import contents, others
from helpers.sources.files.kinds import SUFFIXES, refuse, rows_of
from helpers.sources.files.packed import is_packed, unpack

UNREADABLE_SHARE = 0.01


@dataclass
class RawRows:
    """Rows as they stand in the source, before any cleaning.

    Attributes:
        rows: at most the ``limit`` asked for; each has all ``columns``, None where it had none of that name.
        columns: of all rows of all files, in the order in which they were met.
        read: counts every row seen, ``unreadable`` those that could not be parsed.
        files: the file of each row, its name inside the source ("train/a.csv"); "" where it is not known.
        file_columns: the columns of each file.
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

    def replace(self, rows: list[Row], columns: list[str]) -> None:
        """Other rows in place of those read, one for each, with columns of their own."""
        self.rows, self.columns, self.file_columns = rows, columns, {}


def read_local(path: str | Path, limit: int, seed: int) -> RawRows:
    """Read a file, or all files of data in a folder or archive, keeping at most ``limit`` rows chosen by ``seed``.

    Raises:
        DataError: nothing there, unknown type, empty, no table, or more than 1 % of the rows unreadable (a lower
            share is counted and left out).
    """
    # A fair random sample of the stream (reservoir sampling); everything, in order, while it fits.
    rng, usable = random.Random(f"reservoir-{seed}"), 0
    raw, columns = RawRows(name=str(path)), dict[str, None]()
    with tempfile.TemporaryDirectory(prefix="peft-lab-") as scratch:
        for file, found in _opened(Path(path).expanduser(), Path(scratch), raw.notes):
            before, bad, first, last = raw.read, 0, None, None
            own: dict[str, None] = {}
            for item in found:
                raw.read += 1
                if isinstance(item, Bad):
                    bad, first = bad + 1, first or item
                    continue
                if item.keys() != last:
                    last = item.keys()
                    own.update(dict.fromkeys(item))
                usable += 1
                if len(raw.rows) < limit:
                    raw.rows.append(item)
                    raw.files.append(file.name)
                elif (slot := rng.randrange(usable)) < limit:
                    raw.rows[slot], raw.files[slot] = item, file.name
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
    raw.columns = list(columns)
    raw.rows = [row if len(row) == len(columns) else {name: row.get(name) for name in columns} for row in raw.rows]
    _note_differences(raw)
    if raw.read > len(raw.rows) + raw.unreadable:
        raw.notes.append(f"a random {len(raw.rows):,} of {raw.read:,} rows were used")
    return raw


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
