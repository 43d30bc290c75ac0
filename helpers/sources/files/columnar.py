"""Rows of parquet and Arrow files, and of folders that ``datasets`` has saved."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from helpers.sources.files.base import File, Row
from helpers.sources.files.encoding import refuse_other_kinds

BATCH = 2000  # rows made into Python objects at once
INDEX = re.compile(r"__index_level_\d+__")  # pandas' index, which it stores as a column
SAVED = ("dataset_info.json", "state.json")  # in a folder that save_to_disk wrote


def parquet(file: File) -> Iterator[Row]:
    """Rows of a parquet file, as a stream."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _refuse_others(file)
    try:
        table = pq.ParquetFile(file.path)
        kept = _kept(file, table.schema_arrow.names)
        for batch in table.iter_batches(batch_size=BATCH):
            yield from batch.select(kept).to_pylist()
    except (pa.ArrowException, ValueError) as error:
        raise file.error(f"is not a readable parquet file: {_said(error)}", "Download or save it again") from error


def arrow(file: File) -> Iterator[Row]:
    """Rows of an Arrow file or stream, or of a feather file, as a stream."""
    import pyarrow as pa
    from pyarrow import feather, ipc

    _refuse_others(file)
    try:
        with pa.memory_map(str(file.path)) as source:
            head = source.read(6)
            source.seek(0)
            if head == b"ARROW1":
                found = ipc.open_file(source)
                kept = _kept(file, found.schema.names)
                batches: Any = (found.get_batch(i) for i in range(found.num_record_batches))
            elif head.startswith(b"FEA1"):
                kept, batches = None, feather.read_table(file.path).to_batches()
            else:
                found = ipc.open_stream(source)
                kept, batches = _kept(file, found.schema.names), found
            for batch in batches:
                yield from (batch.select(kept) if kept else batch).to_pylist()
    except (pa.ArrowException, ValueError, OSError) as error:
        raise file.error(f"is not a readable Arrow file: {_said(error)}", "Download or save it again") from error


def saved(folder: Path, file: File) -> Iterator[tuple[str, Iterator[Row]]]:
    """(name of a split, "" where there is none; its rows) of a folder that ``save_to_disk`` wrote."""
    from datasets import DatasetDict, load_from_disk

    try:
        found = load_from_disk(str(folder))
    except Exception as error:  # of datasets, pyarrow and the disk: they share no base class
        what = f"is a folder of datasets' save_to_disk, which it cannot read: {type(error).__name__}: {_said(error)}"
        raise file.error(what, "Save it again") from error
    for split, rows in found.items() if isinstance(found, DatasetDict) else [("", found)]:
        yield str(split), _rows(encoded(rows))


def _rows(data: Any) -> Iterator[Row]:
    for start in range(0, len(data), BATCH):
        columns = data[start : start + BATCH]
        yield from (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))


def encoded(data: Any) -> Any:
    """The data set with its pictures left as bytes: decoded, those of a large one would not fit into memory."""
    from datasets import Image

    for name, feature in (data.features or {}).items():
        if isinstance(feature, Image):
            data = data.cast_column(name, Image(decode=False))
    return data


def _kept(file: File, names: Sequence[str]) -> list[str]:
    """Names of the columns without pandas' index."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise file.error(f"has the column {twice[0]!r} twice", "Rename one of them")
    return [name for name in names if not INDEX.fullmatch(name)]


def _refuse_others(file: File) -> None:
    with file.path.open("rb") as stream:
        head = stream.read(4096)
    own = head.startswith(b"PAR1") and file.suffix == ".parquet" or head.startswith(b"ARROW1")
    if not own:
        refuse_other_kinds(file, head)


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
