"""Copies of checkpoints: whole or ignored, of the same settings, through a drive that drops out."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from helpers import files, start
from helpers.errors import RunError
from helpers.runs.records import read_run
from helpers.runs.run import Run
from helpers.training import checkpoints

QLORA = "04_qlora_instruct"


def begin(place: Path, **given: Any) -> Run:
    values = {"profile": "smoke", "output_dir": str(place / "out"), "checkpoint_dir": str(place / "drive")}
    return start(QLORA, values | {"run_name": "r"} | given)


def save(folder: Path, step: int, best: str | None = None) -> Path:
    """A checkpoint as a trainer leaves it."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"w": torch.full((64,), float(step))}, str(path / "adapter_model.safetensors"))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"step": step}, path / name)
    state = {"global_step": step, "max_steps": 99, "best_model_checkpoint": best}
    (path / "trainer_state.json").write_text(json.dumps(state))
    return path


def publish(run: Run, checkpoint: Path) -> bool:
    mirror = checkpoints.mirror_of(run.checkpoints)
    assert mirror is not None
    return mirror.publish(checkpoint)


def new_machine(place: Path) -> None:
    shutil.rmtree(place / "out")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FIRST_PAUSE", 0.01)


def test_a_new_machine_continues_from_the_copies(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.note("data", {"fingerprint": "abc"})
    best = str(run.checkpoints / "checkpoint-4")
    save(run.checkpoints, 4)
    for step in (4, 8):
        assert publish(run, run.checkpoints / "checkpoint-4" if step == 4 else save(run.checkpoints, 8, best))
    new_machine(tmp_path)
    again = begin(tmp_path, resume=True)
    assert read_run(again.folder).info["resumed"] is True
    found = again.resume_from()
    assert found == again.checkpoints / "checkpoint-8"
    assert json.loads((found / "trainer_state.json").read_text())["best_model_checkpoint"] == best
    assert checkpoints.is_complete(again.checkpoints / "checkpoint-4"), "the best one came along"
    assert again.resume_from("teacher") is None
    with pytest.raises(RunError, match="fingerprint of its data was abc and is now xyz"):
        again.note("data", {"fingerprint": "xyz"})


def test_the_best_checkpoint_is_found_where_it_lies_now(tmp_path: Path) -> None:
    run = begin(tmp_path)
    save(run.checkpoints, 4)
    publish(run, run.checkpoints / "checkpoint-4")
    publish(run, save(run.checkpoints, 8, str(run.checkpoints / "checkpoint-4")))
    new_machine(tmp_path)
    moved = begin(tmp_path, resume=True, output_dir=str(tmp_path / "elsewhere"))
    found = moved.resume_from()
    assert found is not None
    best = json.loads((found / "trainer_state.json").read_text())["best_model_checkpoint"]
    assert best == str(moved.checkpoints / "checkpoint-4") and Path(best).is_dir()


@pytest.mark.parametrize("local", [True, False])
def test_checkpoints_of_other_settings_are_refused_in_one_line(tmp_path: Path, local: bool) -> None:
    run = begin(tmp_path, lora_r=8)
    publish(run, save(run.checkpoints, 4))
    if not local:
        new_machine(tmp_path)
    with pytest.raises(RunError) as caught:
        begin(tmp_path, lora_r=4, resume=True)
    assert "lora_r was 8 and is now 4" in str(caught.value) and "\n" not in str(caught.value)
    assert checkpoints.is_complete(tmp_path / "drive" / QLORA / "r" / "checkpoint-4"), "nothing was lost"


def test_copies_of_an_earlier_run_stay_until_the_new_one_has_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = begin(tmp_path, lora_r=8)
    publish(first, save(first.checkpoints, 40))
    publish(first, save(first.checkpoints / "teacher", 3))
    new_machine(tmp_path)
    capsys.readouterr()
    second = begin(tmp_path, lora_r=8)
    assert "resume=True would continue it" in capsys.readouterr().out
    place = tmp_path / "drive" / QLORA / "r"
    assert checkpoints.is_complete(place / "checkpoint-40")
    publish(second, save(second.checkpoints, 5))
    assert [str(p.relative_to(place)) for p in sorted(place.rglob("checkpoint-*"))] == ["checkpoint-5"]
    again = begin(tmp_path, lora_r=8, resume=True)
    assert again.resume_from() == again.checkpoints / "checkpoint-5"


def test_older_copies_go_when_the_newer_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path)
    place = tmp_path / "drive" / QLORA / "r"
    publish(run, save(run.checkpoints, 4))
    shutil.rmtree(run.checkpoints / "checkpoint-4")  # as the trainer's own limit does
    newer = save(run.checkpoints, 8)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _fails(errno.ENOSPC))
        assert not publish(run, newer)
    assert checkpoints.is_complete(place / "checkpoint-4") and not (place / "checkpoint-8").exists()
    assert publish(run, newer)
    assert [p.name for p in place.iterdir()] == ["checkpoint-8"]


@pytest.mark.parametrize("file", ["optimizer.pt", "adapter_model.safetensors", "trainer_state.json", "complete.json"])
@pytest.mark.parametrize("how", ["missing", "cut", "changed"])
def test_a_damaged_copy_is_ignored(tmp_path: Path, file: str, how: str) -> None:
    run = begin(tmp_path)
    publish(run, save(run.checkpoints, 4))
    publish(run, save(run.checkpoints, 8))
    victim = tmp_path / "drive" / QLORA / "r" / "checkpoint-8" / file
    data = victim.read_bytes()
    if how == "missing":
        victim.unlink()
    else:
        victim.write_bytes(data[: len(data) // 2] if how == "cut" else b"\0" + data[1:])
    new_machine(tmp_path)
    again = begin(tmp_path, resume=True)
    assert again.resume_from() == again.checkpoints / "checkpoint-4"


def _fails(*codes: int) -> Any:
    """A stand-in for os.fsync that answers with these errors, one a call, and then works."""
    real, left = os.fsync, list(codes)

    def fsync(handle: int) -> None:
        if left:
            code = left.pop(0)
            raise OSError(code, os.strerror(code))
        real(handle)

    return fsync


@pytest.mark.parametrize("code", [errno.ENOTCONN, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN])
def test_a_drive_that_comes_back_is_used(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path)
    checkpoint = save(run.checkpoints, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _fails(code, code))
        assert publish(run, checkpoint)
    assert checkpoints.is_complete(tmp_path / "drive" / QLORA / "r" / "checkpoint-4")
    assert read_run(run.folder).info["fallbacks"] == []


def test_a_drive_that_stays_away_is_told_once_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path)
    (tmp_path / "drive").rename(tmp_path / "unmounted")
    capsys.readouterr()
    for step in (4, 8):
        assert not publish(run, save(run.checkpoints, step))
    assert not (tmp_path / "drive").exists(), "nothing is written to the machine's own disk in its place"
    (told,) = read_run(run.folder).info["fallbacks"]
    assert str(run.checkpoints) in told["what"] and str(tmp_path / "drive") in told["why"]
    assert capsys.readouterr().out.count("note: checkpoints stay in") == 1
    (tmp_path / "unmounted").rename(tmp_path / "drive")
    assert publish(run, save(run.checkpoints, 12))
    assert "again" in capsys.readouterr().out


def test_a_drive_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path)
    publish(run, save(run.checkpoints, 4))
    new_machine(tmp_path)
    again = begin(tmp_path, resume=True)

    def dead(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(shutil, "copytree", dead)
    with pytest.raises(RunError, match="cannot be read .*not connected.*Mount the drive again"):
        again.resume_from()


def test_a_drive_that_is_not_mounted_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoints, "_DRIVE", str(tmp_path / "drive"))
    with pytest.raises(RunError, match="Google Drive is not mounted.*drive.mount"):
        begin(tmp_path, checkpoint_dir=str(tmp_path / "drive" / "MyDrive" / "lab"))
    assert not (tmp_path / "drive").exists()


def test_the_output_folder_is_no_place_for_copies(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="are one folder, .*Leave checkpoint_dir out"):
        begin(tmp_path, checkpoint_dir=str(tmp_path / "out"))


def test_writing_a_file_is_tried_again_while_a_drive_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _fails(errno.EIO, errno.ENOTCONN))
    files.write_atomic(tmp_path / "run.json", "{}")
    assert (tmp_path / "run.json").read_text() == "{}"
    monkeypatch.setattr(os, "fsync", _fails(*[errno.EIO] * files.TRIES))
    with pytest.raises(RunError, match="run.json could not be saved"):
        files.write_atomic(tmp_path / "run.json", "[]")
    assert (tmp_path / "run.json").read_text() == "{}" and len(list(tmp_path.iterdir())) == 1
