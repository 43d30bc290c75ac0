"""Packed files and archives, unpacked beside for as long as they are read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.sources.files.kinds import ARCHIVES, PACKED, READERS

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
AGAIN = "Download it again"


def is_packed(path: Path) -> bool:
    """Whether a file has to be unpacked to be read."""
    return path.suffix.lower() in (*PACKED, *ARCHIVES)


def unpack(path: Path, place: Path, label: str) -> Path:
    """The file, or the folder of files, that a packed file holds, put into ``place``.

    Raises:
        DataError: damaged, cut off, locked by a password, or no room for it.
    """
    place.mkdir(parents=True)
    try:
        if path.suffix.lower() in ARCHIVES:
            return _unpack_archive(path, place)
        inner = place / path.with_suffix("").name
        with OPENERS[path.suffix.lower()](path, "rb") as source, inner.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except EOFError as error:
        raise DataError(f"{label} ends in the middle: incomplete download?", AGAIN) from error
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{label} cannot be unpacked: {error}", f"It is damaged or of another kind. {AGAIN}") from error
    except RuntimeError as error:  # zipfile's for a password
        raise DataError(f"{label} cannot be unpacked: {error}", "Unpack it and give what is inside") from error
    except (OSError, NotImplementedError) as error:
        what = getattr(error, "strerror", "") or error
        raise DataError(f"{label} cannot be unpacked: {what}", "Unpack it and give what is inside") from error
    return inner if inner.suffix.lower() in (*READERS, *PACKED, *ARCHIVES) else _by_content(inner)


def _unpack_archive(path: Path, place: Path) -> Path:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(place)  # keeps inside ``place``, whatever names are in it
    else:
        with tarfile.open(path) as archive:
            archive.extractall(place, filter="data")
    return place


def _by_content(inner: Path) -> Path:
    """A packed file whose inner name tells no kind (data.gz) is a table or JSON lines: the reader of .txt finds out."""
    with inner.open("rb") as stream:
        head = stream.read(6)
    suffix = ".parquet" if head.startswith(b"PAR1") else ".arrow" if head == b"ARROW1" else ".txt"
    return inner.rename(inner.with_name(inner.name + suffix))
