"""Rows from local files: parquet, JSON lines, JSON, CSV/TSV; every fault becomes one clear DataError.

A file is read as a stream and thinned on the way (reservoir sampling), so that a file of a million recipes
needs no more memory than the rows that are kept, and those are a fair sample rather than the first ones.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
    chosen: Mapping[str, str] = field(default_factory=dict)  # a task's column → the reader's choice
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)  # a column of codes → what code 0, 1, … is called


class _Bad(NamedTuple):
    """A row that could not be parsed: where, and why."""

    line: int
    why: str


def read_local(path: str | Path, limit: int, seed: int) -> RawRows:
    """Read a file, or all supported files in a folder, keeping at most ``limit`` rows chosen by ``seed``.

    Raises:
        DataError: nothing there, unknown type, empty, or more than 1 % of the rows unreadable (a lower
            share is counted and left out).
    """
    # A fair random sample of the stream (reservoir sampling); everything, in order, while it fits.
    rng, usable = random.Random(f"reservoir-{seed}"), 0
    raw = RawRows(name=str(path))
    for file in _files(Path(path).expanduser()):
        before, bad, first = raw.read, 0, None
        for item in _rows_of(file):
            raw.read += 1
            if isinstance(item, _Bad):
                bad, first = bad + 1, first or item
                continue
            if not raw.columns:
                raw.columns = list(item)
            usable += 1
            if len(raw.rows) < limit:
                raw.rows.append(item)
            elif (slot := rng.randrange(usable)) < limit:
                raw.rows[slot] = item
        here = raw.read - before
        if first and bad > UNREADABLE_SHARE * here:
            what = f"{file} has {bad} unreadable of {here} rows, the first at line {first.line}: {first.why}"
            raise DataError(what, "Repair or delete those lines; up to 1 % are skipped and counted")
        raw.unreadable += bad
    if raw.read == 0:
        raise DataError(f"{path} is empty: it holds no rows", "Give a file with at least one row of data")
    if raw.read > len(raw.rows) + raw.unreadable:
        raw.notes.append(f"a random {len(raw.rows):,} of {raw.read:,} rows were used")
    return raw


def _files(root: Path) -> list[Path]:
    if not root.exists():
        raise DataError(f"{root} does not exist", "Check the path; relative paths start at the working folder")
    known = ", ".join(SUFFIXES)
    if root.is_file():
        if root.suffix.lower() not in SUFFIXES:
            what = f"cannot read {root}: files of type {root.suffix or '(none)'} are not known"
            raise DataError(what, f"Use one of {known}")
        return [root]
    if (root / "layer1.json").is_file():  # Recipe1M+: the other layers hold pictures, not recipes
        return [root / "layer1.json"]
    files = sorted(file for file in root.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"folder {root} has no data files", f"Put files of type {known} in it")
    return files


def _rows_of(file: Path) -> Iterator[Row | _Bad]:
    readers = {".parquet": _parquet, ".json": _json, ".csv": _csv, ".tsv": _csv}
    try:
        yield from readers.get(file.suffix.lower(), _json_lines)(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start})", "Save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from error


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=2000):
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


def _csv(file: Path) -> Iterator[Row | _Bad]:
    csv.field_size_limit(10_000_000)
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, restkey="", restval=None)
        names = [name or "" for name in reader.fieldnames or []]
        if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
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
        head = next((piece for piece in iter(lambda: text.read(4096), "") if piece.strip()), "")
        if not head:
            return
        if head.lstrip().startswith("["):
            yield from _array(file, head, text)
            return
        try:
            whole = json.loads(head + text.read())
        except ValueError as error:
            cure = "If it has one object a line, call it .jsonl"
            raise DataError(f"{file} is not valid JSON: {error}", cure) from error
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
