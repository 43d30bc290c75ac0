"""A run never replaces the results of other settings or of other data; the same run again may."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from begun_cases import begin, fill

from helpers.errors import RunError
from helpers.runs.records import read_run
from helpers.runs.run import Run


def adapter(run: Run) -> None:
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "weights").write_bytes(b"x")


def checkpoint(run: Run) -> None:
    (run.checkpoints / "start" / "checkpoint-4").mkdir(parents=True)
    (run.checkpoints / "start" / "checkpoint-4" / "trainer_state.json").write_text("{}")


@pytest.mark.parametrize("leave", [fill, adapter, checkpoint])
def test_results_of_other_settings_are_not_replaced(tmp_path: Path, leave: Callable[[Run], None]) -> None:
    leave(run := begin(tmp_path, run_name="mine", lora_r=8))
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    with pytest.raises(RunError) as caught:
        begin(tmp_path, run_name="mine", lora_r=4)
    line = str(caught.value)
    assert "'mine'" in line and "lora_r was 8 and is now 4" in line and "choose another run_name" in line
    assert "\n" not in line
    assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before


def test_a_run_that_left_nothing_may_be_replaced(tmp_path: Path) -> None:
    begin(tmp_path, run_name="mine", lora_r=8).close("failed", "RuntimeError")
    assert begin(tmp_path, run_name="mine", lora_r=4).settings.lora_r == 4


def test_the_same_run_again_says_that_it_replaces_the_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path, run_name="mine")
    fill(run)
    run.finish()
    said = "note: an earlier run of this name, with the same settings, is replaced\n"
    assert said not in capsys.readouterr().out
    again = begin(tmp_path, run_name="mine", check_memory=False)  # which cannot change a result
    assert said in capsys.readouterr().out
    assert not (again.folder / "metrics.json").exists()


def recipes(path: Path, title: str) -> dict[str, Any]:
    path.write_text(f"title,ingredients,steps\n{title},b,c\n")
    return {"run_name": "mine", "dataset": str(path)}


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_on_an_edited_file_neither_replaces_nor_continues_the_earlier_one(tmp_path: Path, resume: bool) -> None:
    fill(begin(tmp_path / "out", **recipes(tmp_path / "a.csv", "soup")))
    with pytest.raises(RunError) as caught:
        begin(tmp_path / "out", **recipes(tmp_path / "a.csv", "stew"), resume=resume)
    assert f"the content of {tmp_path / 'a.csv'} was" in str(caught.value)
    fill(begin(tmp_path / "out", **recipes(tmp_path / "a.csv", "soup"), resume=resume))


def test_without_a_name_an_edited_file_and_another_file_are_runs_of_their_own(tmp_path: Path) -> None:
    folders = set()
    for place, title in (("a", "soup"), ("a", "stew"), ("b", "soup")):
        (tmp_path / place).mkdir(exist_ok=True)
        given = recipes(tmp_path / place / "train.csv", title) | {"run_name": None}
        fill(run := begin(tmp_path / "out", **given))
        folders.add(run.folder)
    assert len(folders) == 3
    assert all(read_run(folder).systems for folder in folders)


def test_a_record_from_before_data_were_compared_can_be_continued(tmp_path: Path) -> None:
    given = recipes(tmp_path / "a.csv", "soup")
    run = begin(tmp_path / "out", **given)
    info = read_run(run.folder).info
    del info["settings"]["dataset_hash"]
    (run.folder / "run.json").write_text(json.dumps(info))
    begin(tmp_path / "out", **given, resume=True)


def test_copies_of_checkpoints_of_other_settings_are_not_replaced(tmp_path: Path) -> None:
    from test_runs import _checkpoint

    from helpers.training.checkpoints import mirror_of

    kept = tmp_path / "kept"
    kept.mkdir()
    run = begin(tmp_path / "one", run_name="mine", lora_r=8, checkpoint_dir=str(kept))
    made = _checkpoint(run.checkpoints, 4)
    mirror = mirror_of(run.checkpoints)
    assert mirror is not None and mirror.publish(made)
    with pytest.raises(RunError, match="lora_r was 8 and is now 4"):
        begin(tmp_path / "two", run_name="mine", lora_r=4, checkpoint_dir=str(kept))
