"""Whole files or nothing.

A file is written beside its place, flushed to disk and moved over the old one, so that a full disk or a
killed process leaves the previous version intact.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from helpers.errors import RunError


def write_atomic(path: Path, data: bytes | str) -> Path:
    """Write ``data`` to ``path`` completely or not at all.

    Raises:
        RunError: the disk is full, the folder cannot be written. The old file, if any, is untouched.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
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
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise save_error(path, error) from None
    return path


def save_error(path: Path, error: OSError) -> RunError:
    """The one line that says why ``path`` could not be saved."""
    why = error.strerror or str(error)
    what = f"{path.name} could not be saved in {path.parent} ({why})"
    return RunError(what, "Free some space or set output_dir to another disk; earlier files are intact")
