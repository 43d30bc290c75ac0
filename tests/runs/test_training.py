"""``python -m helpers train``: the same run folder on one process and on two, and what is left when one is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from share_cases import ROOT, trained

from helpers.errors import ParameterError
from helpers.runs import records, training
from helpers.training.checkpoints import latest_checkpoint
from helpers.training.launch import launch

SMALL = ["-p", "n_train=90", "-p", "n_eval=30", "-p", "grad_accumulation=3", "-p", "lora_dropout=0.0"]
TRAIN = ["train", "03", "--profile", "smoke", *SMALL]
NAME = "03_qlora_nli"


def arguments(place: Path, name: str, *more: str) -> list[str]:
    return [*TRAIN, "-o", str(place), "-p", f"run_name={name}", *more]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The same training on one process and on two: folders, and the lines of the latter."""
    place, lines = tmp_path_factory.mktemp("outputs"), []
    yield {
        "place": place,
        "alone": launch(arguments(place, "alone"), processes=1, say=lambda line: None),
        "shared": launch(arguments(place, "shared"), processes=2, say=lines.append),
        "lines": lines,
    }


def same_numbers(one: Path, other: Path) -> None:
    """Losses within 1e-4, adapters within 1e-5, the same answers to the same questions."""
    curves = [
        {(row["step"], kind): float(row[kind]) for row in rows for kind in ("loss", "eval_loss") if row.get(kind)}
        for rows in (history(one), history(other))
    ]
    assert curves[0].keys() == curves[1].keys() and len(curves[0]) > 6
    assert max(abs(curves[0][key] - curves[1][key]) for key in curves[0]) < 1e-4
    adapters = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, other)]
    assert adapters[0].keys() == adapters[1].keys()
    assert max(float((adapters[0][name] - adapters[1][name]).abs().max()) for name in adapters[0]) < 1e-5
    answers = [
        [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for folder in (one, other)
    ]
    kept = [[(row["id"], row["prediction"], row["score"]) for row in rows] for rows in answers]
    assert kept[0] == kept[1] and len(kept[0]) == 30
    metrics = [records.read_json(folder / "metrics.json") for folder in (one, other)]
    assert metrics[0] == metrics[1] and "qlora" in metrics[0]["systems"]


def history(folder: Path) -> list[dict[str, str]]:
    import csv

    return list(csv.DictReader((folder / "history.csv").open()))


@pytest.mark.slow
def test_one_and_two_processes_leave_the_same_folder(runs: dict[str, Any]) -> None:
    alone, shared = (records.read_run(runs[name]) for name in ("alone", "shared"))
    assert alone.status == shared.status == "finished"
    assert (alone.info["processes"], shared.info["processes"]) == (1, 2)
    same_numbers(alone.folder, shared.folder)
    names = [{str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file()} for run in (alone, shared)]
    assert names[0] == names[1]
    assert {"run.json", "history.csv", "figures/training.png", "adapter/adapter_config.json"} <= names[0]


@pytest.mark.slow
def test_only_the_first_process_prints(runs: dict[str, Any]) -> None:
    lines = runs["lines"]
    once = ("03_qlora_nli · profile smoke", "machine ", "finished in ", "2 processes: of the ")
    assert [sum(line.startswith(text) for line in lines) for text in once] == [1] * len(once)
    assert not [line for line in lines if "Gloo" in line or "Warning" in line]


def children(launcher: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """Rank → process, of those that a launcher has started."""
    found = {}
    with suppress(psutil.Error):
        for process in psutil.Process(launcher.pid).children(recursive=True):
            with suppress(psutil.Error, KeyError):
                found[int(process.environ()["RANK"])] = process
    return found


def killed(place: Path, name: str, rank: int, *more: str) -> tuple[str, float]:
    """A training on two processes one of which is killed after its first checkpoint: what is said, seconds it took."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [str(ROOT / "configs/accelerate/2xT4-ddp.yaml"), "-m", "helpers", *arguments(place, name, *more)]
    checkpoints = place / NAME / name / "checkpoints"
    before = latest_checkpoint(checkpoints)
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 400
        while latest_checkpoint(checkpoints) == before:
            assert launcher.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        began, all_of_them = time.monotonic(), children(launcher)
        assert set(all_of_them) == {0, 1}
        all_of_them[rank].send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(list(all_of_them.values()), timeout=60)
        took = time.monotonic() - began
        assert not alive
        return launcher.communicate(timeout=60)[1], took
    finally:
        launcher.kill()


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_goes_on(runs: dict[str, Any]) -> None:
    """The second of two, then the first of two that have gone on from there; one process brings it to its end."""
    place, folder, resume = runs["place"], runs["place"] / NAME / "killed", ["-p", "resume=True"]
    for rank, more in ((1, []), (0, resume)):
        said, took = killed(place, folder.name, rank, *more)
        assert took < 60
        own = [line for line in said.splitlines() if line.startswith("RunError: ")]
        assert len(own) == 1 and "another of the 2 processes has ended" in own[0] and "-p resume True" in own[0]
        assert records.read_run(folder).status == "interrupted"
        assert "qlora" not in records.read_run(folder).systems
    assert launch(arguments(place, folder.name, *resume), processes=1, say=lambda line: None) == folder
    assert records.read_run(folder).info["notes"]["resumed_from"].startswith("checkpoint-")
    same_numbers(runs["alone"], folder)


@pytest.mark.slow
def test_another_rank_is_refused(tmp_path: Path) -> None:
    cases = [
        {"world": 2, "kind": "start", "other": other, "folder": str(tmp_path / f"outputs-{other}")}
        for other in ("settings", "packages", "data", "")
    ]
    found = dict(zip(("settings", "packages", "data", ""), trained(cases, tmp_path), strict=True))
    says = {
        "settings": "process 1 of 2 has other settings than process 0: seed is 1 and not 0",
        "packages": "process 1 of 2 has other packages than process 0: peft is '0.1' and not",
        "data": "process 1 of 2 has other data than process 0: the fingerprint is 'other' and not 'same'",
    }
    for other, line in says.items():
        assert all(rank["error"].startswith(f"RunError: {line}") for rank in found[other])
    first, second = found[""]
    assert first["error"] == second["error"] == "" and first["checkpoints"] == second["checkpoints"]
    assert Path(first["folder"], "history.csv").read_text().split() == ["step,rank", "1,0"]
    assert second["folder"] != first["folder"] and Path(second["folder"]).parent != Path(first["folder"]).parent


def test_errors_are_one_line_before_anything_starts() -> None:
    with pytest.raises(ParameterError, match="rank of the update|lora_r"):
        launch([*TRAIN, "-p", "lora_r=0"], processes=2, say=lambda line: None)
    with pytest.raises(ParameterError, match=r"02_zero.*without the rest.*03, 04, 06"):
        training.train("02", {}, profile="smoke")
    with pytest.raises(ParameterError, match="is not there.*configs/accelerate"):
        launch(TRAIN, config="nowhere.yaml")


@pytest.mark.parametrize("lesson", ["03_qlora_nli", "04_qlora_instruct", "06_lora_vlm"])
def test_tagged_cells_stand_on_their_own(lesson: str) -> None:
    """Every name that they use is made in one of them."""
    cells = training.tagged(ROOT / "notebooks" / f"{lesson}.ipynb")
    source = "\n\n".join(cells.values())
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--stdin-filename", "cells.py"]
    done = subprocess.run([*command, "-"], input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for part in (
        "LoraConfig(",
        "learning_rate=cfg.learning_rate",
        "training.train(trainer",
        "run.save_adapter(",
        "run.finish(",
    ):
        assert source.count(part) == 1, part
