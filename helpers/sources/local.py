"""Rows from local files: parquet, JSON lines, JSON, CSV/TSV; every fault becomes one clear DataError.

A file is read as a stream and thinned on the way (reservoir sampling), so that a file of a million recipes
needs no more memory than the rows that are kept, and those are a fair sample rather than the first ones.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.errors import DataError

Row = dict[str, Any]
SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
UNREADABLE_SHARE = 0.01


@dataclass
class RawRows:
    """Rows as they stand in the source, before any cleaning.

    ``read`` counts every row seen, ``unreadable`` those that could not be parsed, ``rows`` holds at most the
    ``limit`` asked for.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    read: int = 0
    unreadable: int = 0
    licence: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Bad:
    """A row that could not be parsed: where, and why."""

    line: int
    why: str


def read_local(path: str | Path, limit: int, seed: int) -> RawRows:
    """Read a file, or all supported files in a folder, keeping at most ``limit`` rows chosen by ``seed``.

    Raises:
        DataError: nothing there, unknown type, empty, or more than 1 % of the rows unreadable (a lower
            share is counted and left out).
    """
    root = Path(path).expanduser()
    files = _files(root)
    sample = _Reservoir(limit, seed)
    raw = RawRows(name=str(path), rows=sample.rows)
    for file in files:
        before, bad_here, first = raw.read, 0, None
        for item in _rows_of(file):
            raw.read += 1
            if isinstance(item, _Bad):
                bad_here, first = bad_here + 1, first or item
                continue
            if not raw.columns:
                raw.columns = list(item)
            sample.add(item)
        here = raw.read - before
        if first and bad_here > UNREADABLE_SHARE * here:
            raise DataError(
                f"{file} has {bad_here} unreadable of {here} rows, the first at line {first.line}: {first.why}",
                "Repair or delete those lines; up to 1 % are skipped and counted",
            )
        raw.unreadable += bad_here
    if raw.read == 0:
        raise DataError(f"{path} is empty: it holds no rows", "Give a file with at least one row of data")
    if raw.read > len(sample.rows) + raw.unreadable:
        raw.notes.append(f"a random {len(sample.rows):,} of {raw.read:,} rows were used")
    return raw


def _files(root: Path) -> list[Path]:
    if not root.exists():
        raise DataError(f"{root} does not exist", "Check the path; relative paths start at the working folder")
    if root.is_file():
        if root.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"cannot read {root}: files of type {root.suffix or '(none)'} are not known",
                f"Use one of {', '.join(SUFFIXES)}",
            )
        return [root]
    files = sorted(file for file in root.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
    if (root / "layer1.json").is_file():  # Recipe1M+: the other layers hold pictures, not recipes
        files = [root / "layer1.json"]
    if not files:
        raise DataError(f"folder {root} has no data files", f"Put files of type {', '.join(SUFFIXES)} in it")
    return files


class _Reservoir:
    """A fair random sample of a stream; everything, in order, while it fits."""

    def __init__(self, limit: int, seed: int) -> None:
        self.rows: list[Row] = []
        self._limit, self._seen, self._rng = limit, 0, random.Random(f"reservoir-{seed}")

    def add(self, row: Row) -> None:
        self._seen += 1
        if len(self.rows) < self._limit:
            self.rows.append(row)
        else:
            slot = self._rng.randrange(self._seen)
            if slot < self._limit:
                self.rows[slot] = row


def _rows_of(file: Path) -> Iterator[Row | _Bad]:
    suffix = file.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet(file)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _json_lines(file)
        elif suffix == ".json":
            yield from _json(file)
        else:
            yield from _csv(file, "\t" if suffix == ".tsv" else ",")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start})", "Save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from error


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        for batch in table.iter_batches(batch_size=2000):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{file} is not a readable parquet file: {str(error).splitlines()[0]}") from error


def _json_lines(file: Path) -> Iterator[Row | _Bad]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield _Bad(number, str(error))
                continue
            yield row if isinstance(row, dict) else _Bad(number, "not a JSON object")


def _csv(file: Path, delimiter: str) -> Iterator[Row | _Bad]:
    csv.field_size_limit(10_000_000)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, restkey="", restval=None)
        names = [name or "" for name in reader.fieldnames or []]
        twice = [name for name, count in Counter(names).items() if count > 1 and name]
        if twice:
            raise DataError(f"{file} has the column {twice[0]!r} twice", "Rename one of them")
        try:
            for row in reader:
                if None in row.values():
                    yield _Bad(reader.line_num, f"fewer than {len(names)} fields")
                elif isinstance(row.get(""), list):
                    yield _Bad(reader.line_num, f"more than {len(names)} fields")
                else:
                    yield dict(row)
        except csv.Error as error:
            yield _Bad(reader.line_num, str(error))


def _json(file: Path) -> Iterator[Row | _Bad]:
    """A list of objects (streamed), an object of objects by id, or an object with one list inside."""
    with file.open(encoding="utf-8-sig") as text:
        head = ""
        while not head.strip():
            piece = text.read(4096)
            if not piece:
                return
            head += piece
        if head.lstrip().startswith("["):
            yield from _array(file, head, text)
            return
        try:
            whole = json.loads(head + text.read())
        except ValueError as error:
            raise DataError(
                f"{file} is not valid JSON: {error}", "If it has one object a line, call it .jsonl"
            ) from error
    if not isinstance(whole, dict):
        raise DataError(f"{file} holds a single {type(whole).__name__}, not a list of rows")
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        yield from lists[0]
    elif whole and all(isinstance(value, dict) for value in whole.values()):
        for key, value in whole.items():
            yield {"id": key, **value}
    elif whole:
        raise DataError(f"{file} holds no list of rows", "Give a JSON list of objects, or objects by id")


def _array(file: Path, buffer: str, text: Any) -> Iterator[Row | _Bad]:
    """Objects of a top-level JSON array, one at a time; the file may be larger than memory."""
    decoder = json.JSONDecoder()
    buffer, number = buffer.lstrip()[1:], 0
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer.startswith("]"):
            return
        try:
            row, end = decoder.raw_decode(buffer)
        except ValueError as error:
            piece = text.read(max(1 << 16, len(buffer)))
            if not piece:
                raise DataError(f"{file} is not valid JSON after row {number}: {error}") from error
            buffer += piece
            continue
        number += 1
        yield row if isinstance(row, dict) else _Bad(number, "not a JSON object")
        buffer = buffer[end:]
