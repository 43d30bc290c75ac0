"""Sweeps: what is refused before anything starts, which runs are made, what is found again, how long it will take."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machine_cases import fresh
from run_cases import notebook
from typer.testing import CliRunner
from warm_kernels import serving

from helpers.__main__ import app
from helpers.config.settings import resolve
from helpers.errors import ParameterError, RunError
from helpers.machine import hardware
from helpers.reports import sweep_table
from helpers.runs import headless, sweep, sweep_time
from helpers.runs.records import read_runs, this_process, to_json

RANKS = {"lora_r": [4, 16, 64], "seed": [0, 1]}


def planned(place: Path, swept: dict[str, list[Any]], names: tuple[str, ...] = ("04",), **fixed: Any) -> sweep.Sweep:
    return sweep.plan(names, fixed, swept, profile="smoke", output_dir=place)


def left(member: sweep.Member, status: str, **settings: Any) -> None:
    """What an earlier run of this name leaves."""
    member.folder.mkdir(parents=True, exist_ok=True)
    used = member.settings.as_dict() | settings
    info = {"notebook": member.settings.notebook, "run_name": member.folder.name, "status": status, "settings": used}
    (member.folder / "run.json").write_text(to_json(info | {"wall_time_s": 60.0, "process": this_process()}))
    (member.folder / "metrics.json").write_text(to_json({"systems": {}, "tests": []}))


def test_values_have_the_type_of_their_parameter() -> None:
    found = sweep.parse(["lora_r=4,16", "learning_rate=1,1e-3", "quant=nf4, int8", "run_x=a", "resume_at=True,2"])
    assert found["lora_r"] == [4, 16] and found["quant"] == ["nf4", "int8"]
    assert [(v, type(v)) for v in found["learning_rate"]] == [(1.0, float), (0.001, float)]
    assert found["run_x"] == ["a"], "an unknown name is told of where lessons are known"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["lora_r"], "'lora_r' is not a name and values"),
        (["=4"], "is not a name and values"),
        (["lora_r=4,,8"], "lacks a value"),
        (["lora_r="], "lacks a value"),
        (["lora_r=four"], "lora_r must be a whole number (int), not str 'four'"),
        (["lora_r=4.5"], "lora_r must be a whole number"),
        (["lora_r=0,4"], "out of range"),
        (["quant=nf4,nf5"], "not allowed (did you mean"),
        (["lora_r=4,8,4"], "has the value 4 twice"),
        (["learning_rate=1e-3,0.001"], "has the value 0.001 twice"),
        (["seed=0", "seed=1"], "names seed twice"),
        (["ranks=1,8"], "ranks is a list itself"),
        (["columns=text=a,label=b"], "columns is a list itself"),
        (["resume=True,False"], "resume cannot be swept"),
        (["run_name=a,b"], "run_name cannot be swept"),
    ],
)
def test_a_sweep_that_is_none_is_one_clear_line(given: list[str], says: str) -> None:
    with pytest.raises(ParameterError) as caught:
        sweep.parse(given)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "fixed", "swept", "says"),
    [
        (("04",), {"lora_r": 8}, {"lora_r": [4]}, "lora_r is swept and has a fixed value too"),
        (("04",), {}, {"profile": ["smoke"]}, "profile is swept and has a fixed value too"),
        (("04",), {"run_name": "mine"}, {"lora_r": [4]}, "names of their own"),
        (("04",), {}, {"lora_rank": [4]}, "unknown parameter 'lora_rank' (did you mean 'lora_r'?)"),
        (("01",), {}, {"lora_r": [4]}, "none of these notebooks has a parameter 'lora_r'"),
        (("01", "04"), {}, {"lora_r": [4]}, "01_eda has no parameter 'lora_r'"),
        (("09",), {}, {"seed": [0, 1]}, "09_evaluation reads the runs of other lessons"),
        (("04",), {"n_eval": 20}, {"n_generate": [10, 60]}, "n_generate = 60 is more than n_eval = 20"),
        (("04",), {"n_eval": 20}, {"n_generate": [10, 40]}, "n_generate = 40 would be 20 (lowered to n_eval)"),
        (("04",), {}, {"lora_r": [None, 16]}, "lora_r=None and lora_r=16 are the same run"),
        (("04",), {}, {"task": ["recipes", "snlii"]}, "task = 'snlii' is not one of 04_qlora_instruct"),
        (("99",), {}, {"seed": [0]}, "no notebook '99'"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    names: tuple[str, ...], fixed: dict[str, Any], swept: dict[str, list[Any]], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError) as caught:
        planned(tmp_path, swept, names, **fixed)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_every_combination_is_a_run_of_its_own(tmp_path: Path) -> None:
    found = planned(tmp_path, RANKS, ("04", "09"), n_eval=40)
    assert [member.name for member in found.members] == [f"lora_r={r} seed={s}" for r in (4, 16, 64) for s in (0, 1)]
    assert [member.folder.name for member in found.members[:3]] == [
        "smoke-recipes-seed0-n_eval=40-lora_r=4", "smoke-recipes-seed1-n_eval=40-lora_r=4",
        "smoke-recipes-seed0-n_eval=40",
    ]  # fmt: skip
    assert [member.job.label for member in found.members[:1]] == ["04 lora_r=4 seed=0"]
    for member in found.members:
        alone = resolve("04", member.job.parameters, hardware.probe())
        assert alone == member.settings and member.folder.parent == tmp_path / "04_qlora_instruct"
    (reader,) = found.readers
    assert reader.spec.id == "09_evaluation" and set(reader.parameters) == {"profile", "output_dir"}
    assert found.pending == list(found.members)


def test_what_is_there_is_kept_resumed_or_begun_anew(tmp_path: Path) -> None:
    states = ("finished", "interrupted", "failed", "kernel died", "timed out", "running")
    swept = {"seed": list(range(7))}
    for member, status in zip(planned(tmp_path, swept).members, states, strict=False):
        left(member, status)
        if status == "running":
            info = json.loads((member.folder / "run.json").read_text())
            gone = info | {"process": info["process"] | {"host": "another machine"}}
            (member.folder / "run.json").write_text(json.dumps(gone))
    members = planned(tmp_path, swept).members
    assert [m.kept for m in members] == [True] + [False] * 6
    assert [m.resumed for m in members] == [False, True, False, True, True, True, False]
    assert [bool(m.job.parameters.get("resume")) for m in members] == [m.resumed for m in members]
    asked = planned(tmp_path, swept, resume=True).members
    assert [m.resumed for m in asked] == [False, True, True, True, True, True, False]
    lines = sweep_table.beginning(replace(planned(tmp_path, swept), members=members[:3]), 1)
    assert lines[:4] == [
        "3 runs of 04_qlora_instruct, 2 of them to be made", "finished before and kept: 04 seed=0",
        "interrupted before and resumed: 04 seed=1", "not finished before and begun anew: 04 seed=2",
    ]  # fmt: skip


def test_a_lesson_that_cannot_resume_begins_anew(tmp_path: Path) -> None:
    swept = {"seed": [0]}
    left(planned(tmp_path, swept, ("02",)).members[0], "interrupted")
    (member,) = planned(tmp_path, swept, ("02",)).members
    assert not member.resumed and not member.kept and "resume" not in member.job.parameters


def test_results_of_other_settings_and_runs_in_progress_are_left_alone(tmp_path: Path) -> None:
    first, second = planned(tmp_path, {"seed": [0, 1]}).members
    left(first, "finished", n_shots=5)
    with pytest.raises(RunError, match="has results, which are not replaced: n_shots was 5 and is now 3"):
        planned(tmp_path, {"seed": [0, 1]})
    left(first, "finished")
    left(second, "running")
    with pytest.raises(RunError, match=f"still being written by process {os.getpid()}"):
        planned(tmp_path, {"seed": [0, 1]})


def test_runs_together_take_between_side_by_side_and_one_after_the_other() -> None:
    assert sweep_time.together([30.0, 10.0, 10.0, 10.0], 2, shared=False) == (30.0, 30.0)
    assert sweep_time.together([10.0, 10.0, 30.0], 2, shared=True) == (40.0, 50.0)
    assert sweep_time.together([10.0, 20.0], 1, shared=True) == (30.0, 30.0)
    told = sweep_time.Expected([600.0, None, 1200.0]).told(2, shared=True)
    assert told == "time expected: 10 to 20 min a run, together more than 20 to 30 min with 2 at a time; 1 not known"
    assert "not known, no run like these" in sweep_time.Expected([None]).told(1, shared=True)


def test_a_forecast_is_a_timed_run_in_proportion_to_what_is_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_time, "ProcessPoolExecutor", _Here)
    jobs = [member.job for member in planned(tmp_path, {"epochs": [2.0, 8.0], "seed": [0, 1]}).members]
    found = sweep_time.expected(jobs)
    recorded = json.loads((headless.repo_root() / "outputs/reference/smoke/04_qlora_instruct/run.json").read_text())
    usual, longer = sweep_time.predicted([("04", {"profile": "smoke", "epochs": e}) for e in (2.0, 8.0)])
    assert usual and longer and longer > 1.5 * usual and not found.predicted
    assert found.seconds[:2] == [recorded["wall_time_s"]] * 2, "the usual settings are on record"
    assert found.seconds[2:] == pytest.approx([recorded["wall_time_s"] * longer / usual] * 2)
    assert sweep_time.predicted([("04", {"model_id": str(tmp_path)})]) == [None], "no model there"


class _Here:
    """``ProcessPoolExecutor`` in this process, which has imported the libraries already."""

    def __init__(self, *given: Any) -> None:
        pass

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *how: Any) -> None:
        pass

    def submit(self, function: Any, *given: Any) -> Any:
        class Done:
            result = staticmethod(lambda: function(*given))

        return Done


STUB = """
import json, os, signal
from pathlib import Path
from helpers.evaluation.intervals import Estimate
run.note("continued", cfg.resume)
run.add_system("zero-shot", {"accuracy": Estimate(0.25, 0.2, 0.3, 99)})
if not Path(cfg.output_dir, "mended").exists():
    if cfg.seed == 1:
        raise ValueError("on purpose")
    if cfg.seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
run.add_system("qlora", {"accuracy": Estimate(0.5 + cfg.seed / 10, 0.4, 0.9, 99)})
run.finish()
"""


@pytest.mark.usefixtures("empty_caches")
def test_one_that_fails_stops_no_other_and_the_same_command_makes_the_rest(tmp_path: Path) -> None:
    place = tmp_path / "out"
    notebook(tmp_path / "nb", "04", f"cfg = run.settings\n{STUB}")
    notebook(tmp_path / "nb", "09", "run.finish()")

    def command(*names: str) -> tuple[int, str]:
        said: list[str] = []
        swept, folders = sweep.parse(["seed=2,0,1"]), {"output_dir": place, "notebooks_dir": tmp_path / "nb"}
        asked = sweep.plan(names, {}, swept, profile="smoke", **folders)
        with serving():
            return sweep_table.run(asked, 2, said.append), "\n".join(said)

    code, text = command("04", "09")
    assert code != 0
    assert "3 runs of 04_qlora_instruct, 3 of them to be made" in text and "time expected: " in text
    failing = [line for line in text.splitlines() if line.startswith("did not finish: ")]
    assert [line.split(": ")[1:3] for line in failing] == [["04 seed=2", "kernel died"], ["04 seed=1", "failed"]]
    assert "ValueError: on purpose" in failing[1]
    rows = [line for line in text.splitlines() if line.startswith(("0 ", "1 ", "2 ")) and "qlora" in line]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"] and "0.50 [0.40, 0.90]" in rows[0]
    assert rows[1].endswith("failed") and rows[2].endswith("kernel died") and "[" not in rows[1]
    assert [r.status for r in read_runs(place) if r.number == "09"] == ["finished"]

    (place / "mended").touch()
    first = (place / "04_qlora_instruct" / "smoke-recipes-seed0" / "run.json").stat().st_mtime_ns
    code, text = command("04")
    assert code == 0 and "did not finish" not in text
    assert "finished before and kept: 04 seed=0" in text and "interrupted before and resumed: 04 seed=2" in text
    assert (place / "04_qlora_instruct" / "smoke-recipes-seed0" / "run.json").stat().st_mtime_ns == first
    runs = {seed: place / "04_qlora_instruct" / f"smoke-recipes-seed{seed}" / "run.json" for seed in (1, 2)}
    continued = {seed: json.loads(file.read_text())["notes"]["continued"] for seed, file in runs.items()}
    assert continued == {1: False, 2: True}
    assert "finished before" in next(line for line in text.splitlines() if line.startswith("0  "))
    assert "over seeds:" in text and "0.6" in text.split("over seeds:")[1]


WORKER = """
import json, os, sys, time
from pathlib import Path
card = os.environ.get("CUDA_VISIBLE_DEVICES")
busy = Path(json.loads(Path(sys.argv[1]).read_text())["output_dir"], f"busy-{card}")
busy.touch(exist_ok=False)  # an error where another run has this card
time.sleep(0.3)
busy.unlink()
end = {"status": "finished", "error": card, "folder": None, "seconds": 0.3, "cell": 1, "cells": 1}
print(json.dumps({"event": "end", **end}))
"""


def machine_with(monkeypatch: pytest.MonkeyPatch, visible: str | None, **changes: Any) -> None:
    """The lessons' machine is Kaggle's with two T4, as far as can be told."""
    found = hardware.describe(fresh("kaggle_t4x2", **changes))
    for module in (headless, sweep_table):
        monkeypatch.setattr(module.hardware, "probe", lambda: found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(("visible", "names"), [(None, {"0", "1"}), ("3,5", {"3", "5"})])
def test_of_several_gpus_each_run_has_one_to_itself(
    visible: str | None, names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_with(monkeypatch, visible)
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(headless, "WORKER", (sys.executable, str(tmp_path / "worker.py")))
    jobs = [member.job for member in planned(tmp_path, {"seed": [0, 1, 2, 3]}).members]
    said: list[str] = []
    outcomes = headless.run_all(jobs, parallel=3, say=said.append)
    assert [outcome.status for outcome in outcomes] == ["finished"] * 4
    assert {outcome.error for outcome in outcomes} == names
    assert said[0] == "2 GPUs, so 2 notebooks at a time rather than 3"
    assert any(line.startswith("04 seed=3 ") for line in said)


def test_one_run_at_a_time_sees_what_the_command_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, "3,5")
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(headless, "WORKER", (sys.executable, str(tmp_path / "worker.py")))
    (job,) = [member.job for member in planned(tmp_path, {"seed": [0]}).members]
    (outcome,) = headless.run_all([job], parallel=4, say=lambda line: None)
    assert outcome.error == "3,5"


@pytest.mark.parametrize(
    ("changes", "at_a_time", "says"),
    [
        ({}, 1, "2 GPUs are here: -j 2 makes a run on each at a time"),
        ({}, 2, None),
        ({"gpu_count": 1, "gpu_devices": 2}, 2, "GPUs used: 1 of 2, as CUDA_VISIBLE_DEVICES says"),
        ({"gpu_count": 1, "gpu_devices": 1}, 2, None),
    ],
)
def test_gpus_that_would_be_idle_are_told_of(
    changes: dict[str, Any], at_a_time: int, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_with(monkeypatch, None, **changes)
    monkeypatch.setattr(sweep_table, "expected", lambda jobs: sweep_time.Expected([60.0] * len(jobs)))
    lines = sweep_table.beginning(planned(tmp_path, {"seed": [0, 1]}), at_a_time)
    assert lines[2:] == ([says] if says else [])
    shared = "1 to 2 min with 2 at a time" if changes else "1 min with 2 at a time"
    assert at_a_time == 1 or lines[1].endswith(f"together {shared}")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sweep_table, "run", lambda *given: asked.append(given) or 7)
    words = ["run", "04", "--profile", "smoke", "-p", "n_eval", "40", "-j", "3", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, [*words, "--sweep", "lora_r", "4,16", "--sweep", "seed=0,1"])
    assert result.exit_code == 7
    ((found, at_a_time),) = asked  # it prints, so that a terminal has lines that change
    assert at_a_time == 3 and found.swept == {"lora_r": [4, 16], "seed": [0, 1]}
    assert found.fixed == {"n_eval": 40, "profile": "smoke"} and len(found.members) == 4
    result = CliRunner().invoke(app, [*words, "--sweep", "seed=0,1", "--time", "10m"])
    assert isinstance(result.exception, ParameterError) and "--time" in str(result.exception) and len(asked) == 1
