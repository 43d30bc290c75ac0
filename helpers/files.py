"""Whole files or nothing.

A file is written beside its place, flushed to disk and moved over the old one, so that a full disk or a
killed process leaves the previous version intact. A mounted drive that drops out is tried again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from helpers.errors import RunError

# What a mounted drive answers while its connection is down.
_NAMES = ("ENOTCONN", "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EHOSTDOWN", "ECONNRESET", "ECONNABORTED", "EREMOTEIO")
DROPPED = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
TRIES = 4  # with pauses of 0.5, 1 and 2 seconds between them
_FIRST_PAUSE = 0.5
_ROOT = Path(__file__).resolve().parent.parent

_T = TypeVar("_T")


def repo_root() -> Path:
    """The folder that holds ``notebooks/``; the current folder when helpers is installed elsewhere."""
    return _ROOT if (_ROOT / "notebooks").is_dir() else Path.cwd()


def sha256(file: Path) -> str:
    """Checksum of a file, as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(path: Path, whole: tuple[str, ...] = (), limit: int = 2**26) -> str:
    """What tells the content of a file or a folder from another, as 64 hexadecimal digits; quick for large folders.

    Of a file every byte counts. Of a folder count the relative names and sizes of all files; of those that end in one
    of ``whole`` also the bytes, where there are more than ``limit`` the first and last million.

    Raises:
        OSError: something cannot be read.
    """
    if path.is_file():
        return sha256(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path).as_posix()}\0{size}\0".encode())
        if file.name.lower().endswith(whole) and size <= limit:
            digest.update(bytes.fromhex(sha256(file)))
        elif file.name.lower().endswith(whole):
            with file.open("rb") as stream:
                digest.update(stream.read(10**6))
                stream.seek(-(10**6), os.SEEK_END)
                digest.update(stream.read())
    return digest.hexdigest()


def patiently(action: Callable[[], _T], tries: int = TRIES) -> _T:
    """What ``action`` returns; again after a pause, twice as long each time, while a mounted drive does not answer.

    Args:
        tries: how often at most.

    Raises:
        OSError: the last one; at once when it is none of ``DROPPED``.
    """
    made = 1
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno not in DROPPED or made >= tries:
                raise
        time.sleep(_FIRST_PAUSE * 2 ** (made - 1))
        made += 1


def write_atomic(path: Path, data: bytes | str) -> Path:
    """Write ``data`` to ``path`` completely or not at all.

    Raises:
        RunError: the disk is full, the folder cannot be written. The old file, if any, is untouched.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        patiently(lambda: _write(path, temporary, raw))
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise save_error(path, error) from None
    return path


def _write(path: Path, temporary: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(raw)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)


def replace_folder(target: Path, write: Callable[[Path], None]) -> Path:
    """Fill a folder through ``write(folder)`` and put it in the place of ``target``: complete or not there at all.

    Raises:
        RunError: the disk is full or not writable; an earlier folder is untouched.
    """
    fresh, old = (target.with_name(f".{target.name}.{end}") for end in ("tmp", "old"))
    try:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
        write(fresh)
        move_over(fresh, target, old)
    except OSError as error:
        raise save_error(target, error) from None
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
    return target


def move_over(fresh: Path, target: Path, old: Path) -> None:
    """Move a folder to ``target``; what is there goes to ``old``, and comes back when the move fails."""
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(fresh, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise


def save_error(path: Path, error: OSError) -> RunError:
    """The one line that says why ``path`` could not be saved."""
    what = f"{path.name} could not be saved in {path.parent} ({error.strerror or error})"
    return RunError(what, "Free some space or set output_dir to another disk; earlier files are intact")
