"""Checkpoints on a disk that is full, refuses or drops out."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from trainer_cases import _trainer

from helpers import files
from helpers.errors import RunError
from helpers.training import trainers
from helpers.training.checkpoints import latest_checkpoint


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "_save", full)
    with pytest.raises(RunError, match="disk is full.*resume=True"):
        trainers.train(trainer)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_file_that_the_system_refuses_is_one_clear_line(tmp_path: Path, limit: int) -> None:
    """Real refusals: safetensors' file is too large for the first limit, torch's optimizer for the second."""
    import resource

    trainer = _trainer(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(RunError, match="checkpoint in .* could not be written .*resume=True") as caught:
            trainers.train(trainer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert latest_checkpoint(tmp_path) is None


def test_a_drive_that_drops_out_while_saving_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FIRST_PAUSE", 0.01)
    trainer = _trainer(tmp_path)
    real, calls = trainer._save_rng_state, 0

    def drops(folder: str) -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 2) or calls > 4:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        real(folder)

    monkeypatch.setattr(trainer, "_save_rng_state", drops)
    with pytest.raises(RunError, match="could not be written .*not connected.* mount the drive again"):
        trainers.train(trainer)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-6", "the first two were written at last"
