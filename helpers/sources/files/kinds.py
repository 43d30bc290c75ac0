"""Kinds of files by the end of their names: which are read, and what to do about those that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.errors import DataError
from helpers.sources.files import columnar, json_text, tables
from helpers.sources.files.base import Bad, File, Row

READERS: dict[str, Callable[[File], Iterator[Row | Bad]]] = {
    ".parquet": columnar.parquet,
    ".jsonl": json_text.rows,
    ".ndjson": json_text.rows,
    ".json": json_text.rows,
    ".csv": tables.rows,
    ".tsv": tables.rows,
    ".tab": tables.rows,
    ".txt": tables.rows,
    ".arrow": columnar.arrow,
    ".feather": columnar.arrow,
}
PACKED = (".gz", ".bz2", ".xz")  # one file each
ARCHIVES = (".zip", ".tar", ".tgz")  # any number of files
SUFFIXES = (*READERS, *PACKED, *ARCHIVES)
_SAVE = "Save it as CSV (UTF-8), JSON lines or parquet"
# Kinds that hold rows and are not read.
OTHERS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "Save the sheet as CSV (UTF-8) and give that file"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy", ".npz"),
                    "Opening it may run any program; where you trust it, save its table: df.to_parquet(path)"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".h5", ".hdf5", ".orc", ".avro", ".xml", ".yaml", ".yml", ".sav",
                     ".dta", ".rds", ".rdata", ".html", ".docx", ".pdf"), _SAVE),
    **dict.fromkeys((".zst", ".7z", ".rar", ".lz4"), "Unpack it and give what is inside"),
}  # fmt: skip


def rows_of(file: File) -> Iterator[Row | Bad]:
    """Rows of one file, unpacked.

    Raises:
        DataError: it cannot be read, says why.
    """
    reader = READERS[file.suffix]
    try:
        if file.suffix == ".txt" and _begins_with_json(file):
            reader = json_text.rows
        yield from reader(file)
    except UnicodeDecodeError as error:
        raise file.error(f"has characters that are no {error.encoding}: {error.reason}", "Save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {file.label}: {error.strerror or error}") from error


def refuse(path: Path, label: str) -> DataError:
    """The error for a file of a kind that is not read."""
    cure = OTHERS.get(path.suffix.lower(), "")
    what = f"cannot read {label}: files of type {path.suffix or '(none)'} are not known"
    return DataError(what, (cure + ". " if cure else "") + f"Use one of {', '.join(SUFFIXES)}")


def _begins_with_json(file: File) -> bool:
    with file.path.open("rb") as stream:
        return stream.read(200).removeprefix(b"\xef\xbb\xbf").lstrip()[:2] in (b'{"', b"[{")
