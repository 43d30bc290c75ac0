"""A trainer's checkpoints on a disk that is full or does not answer: tried again, then one clear line."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.errors import LabError, RunError
from helpers.files import DROPPED, patiently

_CODE = re.compile(r"os error (\d+)")  # as safetensors names it
_TORCH = ("pytorchstreamwriter", "file write failed", "unexpected pos", "inline_container")
_FREE = 2**20  # bytes; with less a disk is full


def patient(save: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """``save``, a trainer's way to write a checkpoint into ``folder``, tried again while a drive does not answer.

    Raises:
        RunError: it cannot be written. Earlier checkpoints are intact.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        def once() -> Any:
            try:
                return save(*args, **kwargs)
            except (OSError, LabError):
                raise
            except Exception as error:  # safetensors and torch have errors of their own for a failed write
                code = _code_of(error, folder)
                if code is None:
                    raise
                raise OSError(code, os.strerror(code)) from error

        try:
            return patiently(once)
        except OSError as error:
            why = error.strerror or str(error)
            full = "the disk is full, " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            cure = "mount the drive again" if error.errno in DROPPED else "free space or set output_dir to another disk"
            raise RunError(
                f"{full}the checkpoint in {folder} could not be written ({why})", f"{cure}, then rerun with resume=True"
            ) from error

    return call


def _code_of(error: Exception, folder: Path) -> int | None:
    """The system's error number behind a failed write of safetensors or torch; None for another error."""
    text = str(error).lower()
    if found := _CODE.search(text):
        return int(found.group(1))
    if "no space left" in text:
        return errno.ENOSPC
    if any(sign in text for sign in _TORCH):
        try:
            return errno.ENOSPC if shutil.disk_usage(folder).free < _FREE else errno.EIO
        except OSError as gone:
            return gone.errno
    return None
