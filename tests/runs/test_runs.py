"""A run is one folder: written whole or not at all, honest about how it ended, resumable."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from begun_cases import QLORA, begin, fill

from helpers.errors import ParameterError, RunError
from helpers.evaluation.intervals import Estimate
from helpers.evaluation.metrics import score_choices, score_texts
from helpers.runs.display import computed_in
from helpers.runs.records import read_run

ROOT = Path(__file__).resolve().parents[2]


def test_a_finished_run_has_the_agreed_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(tmp_path, lora_r=8)
    shown = capsys.readouterr().out
    for part in ("04_qlora_instruct", "smoke", "tiny/llama", "lora_r 8*", "seed 0", "folder"):
        assert part in shown
    assert len(shown.splitlines()) <= 24
    assert run.folder == tmp_path / QLORA / "smoke-recipes-seed0-lora_r=8"
    assert read_run(run.folder).status == "running"
    fill(run)
    run.note("data", {"fingerprint": "abc", "counts": {"train": np.int64(4)}})
    run.fallback("the hashing embedder", "minilm is not fetched")
    run.finish()

    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["systems"]["zero-shot"]["rougeL"] == {"value": 0.3, "low": 0.25, "high": 0.35, "n": 40}
    assert metrics["systems"]["qlora"]["perplexity"] == {"value": 7.12346, "low": 6.5, "high": None, "n": 120}
    keys = ["a", "b", "metric", "difference", "low", "high", "p_value", "test"]
    assert [list(test) for test in metrics["tests"]] == [keys]
    assert list(metrics) == ["systems", "tests"]

    info = json.loads((run.folder / "run.json").read_text())
    assert info["status"] == "finished" and info["settings"]["lora_r"] == 8
    assert info["notes"]["data"] == {"fingerprint": "abc", "counts": {"train": 4}}
    assert info["fallbacks"] == [{"what": "the hashing embedder", "why": "minilm is not fetched"}]
    assert info["wall_time_s"] >= 0 and 0.01 < info["peak_rss_gb"] < 64
    assert info["versions"]["torch"] and info["hardware"]["device"] == run.device
    assert info["hardware"]["torch_threads"] == torch.get_num_threads() >= 1
    assert {"dtype", "cpu_isa"} <= set(info["hardware"])
    assert f"computes in {computed_in(info['hardware'])}" in " ".join(shown.split())
    assert info["process"]["pid"] == os.getpid()
    assert {p.name for p in run.folder.iterdir()} == {"metrics.json", "run.json"}


def test_equal_results_give_equal_bytes_whatever_the_time_and_place(tmp_path: Path) -> None:
    texts = []
    for place in ("a", "b"):
        run = begin(tmp_path / place)
        fill(run)
        run.finish()
        texts.append((run.folder / "metrics.json").read_bytes())
    assert texts[0] == texts[1]


def test_start_seeds_everything(tmp_path: Path) -> None:
    import random

    import torch

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    begin(tmp_path, seed=5)
    first = draw()
    begin(tmp_path, seed=5)
    assert draw() == first
    begin(tmp_path, seed=6)
    assert draw() != first


def test_unknown_metric_is_refused(tmp_path: Path) -> None:
    run = begin(tmp_path)
    with pytest.raises(ParameterError, match="rougeL"):
        run.add_system("x", {"rouge_L": Estimate(0.1, 0.0, 0.2, 3)})


def test_how_texts_were_scored_is_kept(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.add_system("x", score_texts(["gr e"], ["größe"], ["rougeL"]))
    run.add_system("y", score_texts(["a"], ["a"], ["rougeL"]))
    run.finish()
    assert read_run(run.folder).notes["how"] == {"x": {"rougeL": "Unicode words"}}


def test_an_interval_of_groups_says_of_how_many(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.add_system("x", score_choices([0, 1, 1, 0], [0, 1, 0, 0]).grouped("aabb"), ["accuracy"])
    run.add_system("y", score_choices([0, 1], [0, 1]), ["accuracy"])
    run.finish()
    record = read_run(run.folder)
    assert (record.systems["x"]["accuracy"]["groups"], record.systems["x"]["accuracy"]["n"]) == (2, 4)
    assert "groups" not in record.systems["y"]["accuracy"]
    assert record.notes["how"]["x"]["accuracy"] == "examples in 2 groups"


def test_predictions_history_and_figures(tmp_path: Path) -> None:
    from matplotlib import pyplot as plt

    run = begin(tmp_path)
    rows = [{"input": "é\n", "reference": "b", "prediction": "", "score": float("nan")}]
    run.save_predictions(rows)
    line = (run.folder / "predictions.jsonl").read_text(encoding="utf-8")
    assert json.loads(line) == {"input": "é\n", "reference": "b", "prediction": "", "score": None}
    assert line.count("\n") == 1
    run.save_history([{"step": 1, "loss": 2.5}, {"step": 2, "eval_loss": 1.0}])
    assert (run.folder / "history.csv").read_text() == "step,loss,eval_loss\n1,2.5,\n2,,1.0\n"
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    assert run.save_figure(figure, "curve") is figure
    assert (run.folder / "figures" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert figure.number not in plt.get_fignums()


def test_tables(tmp_path: Path) -> None:
    run = begin(tmp_path)
    fill(run)
    assert run.table().loc["qlora", "rougeL"] == "0.600 [0.500, 0.700]"
    assert run.table().loc["zero-shot", "perplexity"] == ""
    assert run.tests_table().iloc[0]["p"] == "< 0.001"


# -- where it goes wrong ------------------------------------------------------------------------------


def test_output_folder_below_a_file_is_refused_before_anything_heavy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code = f"""
        import sys
        from helpers import start
        from helpers.errors import RunError
        try:
            start({QLORA!r}, {{"profile": "smoke", "output_dir": {str(tmp_path / "file" / "out")!r}}})
        except RunError as error:
            print(error)
        assert not {{"torch", "transformers", "datasets"}} & set(sys.modules), "something heavy was loaded"
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
    assert "cannot be written" in done.stdout and "output_dir" in done.stdout


def test_read_only_output_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "locked"
    place.mkdir()
    place.chmod(0o555)
    if os.access(place, os.W_OK):  # permission bits do not bind root; what the system answers is put in its place
        answer = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != place and answer(p, mode))
    with pytest.raises(RunError, match="cannot be written .Permission denied"):
        begin(place)
    assert list(place.iterdir()) == []


def test_full_disk_leaves_the_earlier_files_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path)
    fill(run)
    run.save_predictions([{"prediction": "first"}])
    run.finish()
    before = {p.name: p.read_bytes() for p in run.folder.iterdir()}
    write = os.write

    def short_of_space(handle: int, data: Any) -> int:
        if len(data) > 8:
            return write(handle, data[:8])  # part of it still fits, then no more
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def cannot_flush(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name, stand_in in (("write", short_of_space), ("fsync", cannot_flush)):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, stand_in)
            for save in (
                lambda: run.save_predictions([{"prediction": "second" * 99}]),
                lambda: run.save_history([{"step": 1}]),
                run.finish,
            ):
                with pytest.raises(RunError, match="No space left on device") as caught:
                    save()
                assert "\n" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in run.folder.iterdir()} == before


def test_full_disk_leaves_the_earlier_adapter_intact(tmp_path: Path) -> None:
    class Model:
        def __init__(self, text: str, full: bool = False) -> None:
            self.text, self.full = text, full

        def parameters(self) -> tuple[()]:
            return ()

        def save_pretrained(self, folder: Path) -> None:
            Path(folder).mkdir(parents=True)
            (Path(folder) / "weights").write_text(self.text)
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = begin(tmp_path)
    run.save_adapter(Model("first"))
    with pytest.raises(RunError, match="No space left"):
        run.save_adapter(Model("second", full=True))
    assert (run.folder / "adapter" / "weights").read_text() == "first"
    run.save_adapter(Model("third"))
    assert (run.folder / "adapter" / "weights").read_text() == "third"
    assert not [p for p in run.folder.iterdir() if p.name.startswith(".")]


def test_a_new_run_of_the_same_name_replaces_what_runs_write_and_nothing_else(tmp_path: Path) -> None:
    run = begin(tmp_path)
    fill(run)
    run.save_predictions([])
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "old.png").write_bytes(b"x")
    (run.folder / "my-notes.txt").write_text("keep me")
    run.finish()
    again = begin(tmp_path)
    assert {p.name for p in again.folder.iterdir()} == {"run.json", "my-notes.txt"}


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / QLORA / "mine"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match="not a run's folder"):
        begin(tmp_path, run_name="mine")
    assert (folder / "thesis.txt").read_text() == "x"


def test_resume_keeps_the_folder_and_refuses_other_settings(tmp_path: Path) -> None:
    run = begin(tmp_path, run_name="mine", lora_r=8)
    run.save_history([{"step": 1}])
    again = begin(tmp_path, run_name="mine", lora_r=8, resume=True)
    assert (again.folder / "history.csv").exists()
    with pytest.raises(RunError) as caught:
        begin(tmp_path, run_name="mine", lora_r=4, resume=True)
    line = str(caught.value)
    assert "lora_r was 8 and is now 4" in line and "\n" not in line


def test_resume_without_an_earlier_run_starts_from_the_beginning(tmp_path: Path) -> None:
    run = begin(tmp_path, resume=True)
    assert run.resume_from() is None


def _checkpoint(folder: Path, step: int) -> Path:
    import torch
    from safetensors.torch import save_file

    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"w": torch.zeros(64)}, str(path / "adapter_model.safetensors"))
    torch.save({"state": {}}, path / "optimizer.pt")
    torch.save({"last_epoch": step}, path / "scheduler.pt")
    torch.save({"cpu": torch.get_rng_state()}, path / "rng_state.pth")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


@pytest.mark.parametrize("broken", ["trainer_state.json", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth"])
@pytest.mark.parametrize("how", ["missing", "cut", "empty"])
def test_half_written_checkpoints_do_not_count(tmp_path: Path, broken: str, how: str) -> None:
    run = begin(tmp_path, run_name="r", resume=False)
    _checkpoint(run.checkpoints, 9)
    good = _checkpoint(run.checkpoints, 10)
    victim = _checkpoint(run.checkpoints, 20) / broken
    (run.checkpoints / "checkpoint-30").mkdir()
    data = victim.read_bytes()
    if how == "missing":
        victim.unlink()
    else:
        victim.write_bytes(data[: len(data) * 2 // 3] if how == "cut" else b"")
    assert run.resume_from() is None  # not asked for
    assert begin(tmp_path, run_name="r", resume=True).resume_from() == good


# -- reports ------------------------------------------------------------------------------------------
