"""What was measured is on disk at once; what a lesson claims is checked on its own data and reported on any other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from begun_cases import QLORA, begin, fill

from helpers import start
from helpers.evaluation.intervals import Estimate
from helpers.evaluation.statistics import TestResult
from helpers.runs.records import read_run
from helpers.runs.run import Run


def metrics(run: Run) -> dict[str, Any]:
    return dict(json.loads((run.folder / "metrics.json").read_text()))


def test_each_system_and_test_is_on_disk_as_soon_as_it_is_known(tmp_path: Path) -> None:
    run = begin(tmp_path)
    assert not (run.folder / "metrics.json").exists()
    run.add_system("zero-shot", {"accuracy": Estimate(0.5, 0.4, 0.6, 40)})
    assert list(metrics(run)["systems"]) == ["zero-shot"] and metrics(run)["tests"] == []
    run.add_tests([TestResult("a", "b", "accuracy", 0.1, 0.0, 0.2, 0.04, "exact McNemar")])
    assert [test["p_value"] for test in metrics(run)["tests"]] == [0.04]
    before = (run.folder / "metrics.json").read_bytes()
    run.finish()
    assert (run.folder / "metrics.json").read_bytes() == before, "finish adds nothing and loses nothing"


def test_what_an_interrupted_run_has_measured_stays_until_it_is_measured_again(tmp_path: Path) -> None:
    whole = begin(tmp_path / "whole", run_name="r")
    fill(whole)
    whole.finish()
    fill(begin(tmp_path, run_name="r"))
    again = begin(tmp_path, run_name="r", resume=True)
    again.add_system("zero-shot", {"rougeL": Estimate(0.7, 0.65, 0.75, 40)})
    assert list(metrics(again)["systems"]) == ["zero-shot", "qlora"] and len(metrics(again)["tests"]) == 1
    assert metrics(again)["systems"]["zero-shot"]["rougeL"]["value"] == 0.7
    fill(again)
    again.finish()
    assert (again.folder / "metrics.json").read_bytes() == (whole.folder / "metrics.json").read_bytes()


@pytest.mark.parametrize("given", [{}, {"seed": 3}, {"task": "dialogsum"}, {"run_name": "mine", "check_memory": False}])
def test_on_the_course_s_own_data_every_claim_has_to_hold(
    tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path, **given)
    fill(run)
    run.claim("the sky is blue", True)
    run.claim("two is more than three", False, "2 and 3")
    run.claim("the end is near", False)
    said = capsys.readouterr().out
    assert "holds: the sky is blue\n" in said and "does NOT hold: two is more than three: 2 and 3\n" in said
    with pytest.raises(AssertionError) as caught:
        run.finish()
    assert str(caught.value) == "two is more than three (2 and 3); the end is near"
    record = read_run(run.folder)
    assert record.status == "failed" and record.info["error"] == f"AssertionError: {caught.value}"
    assert set(record.systems) == {"zero-shot", "qlora"} and len(record.tests) == 1
    assert record.info["wall_time_s"] >= 0
    assert [claim["holds"] for claim in record.notes["claims"]] == [True, False, False]


@pytest.mark.parametrize("given", [{"lora_r": 8}, {"n_train": 64}, {"epochs": 1}, {"quant": "none"}])
def test_with_other_settings_a_claim_is_a_finding(
    tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path, **given)
    run.claim("two is more than three", False, "2 and 3")
    run.claim("the sky is blue", True, "475 nm")
    run.claim("the moon is round", None, "it is day")
    told = capsys.readouterr().out.splitlines()[-3:]
    assert told == [
        "not found here: two is more than three: 2 and 3",
        "holds here too: the sky is blue: 475 nm",
        "could not be measured here: the moon is round: it is day",
    ]
    run.finish()
    record = read_run(run.folder)
    assert record.status == "finished" and record.info["error"] is None
    last = {"sentence": "the moon is round", "holds": None, "found": "it is day", "checked": False}
    assert record.notes["claims"][-1] == last


def test_own_data_is_not_the_course_s(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("title,ingredients,steps\n")
    run = start(QLORA, {"profile": "smoke", "output_dir": str(tmp_path / "out"), "dataset": str(file)})
    run.claim("two is more than three", False)
    run.finish()
    assert read_run(run.folder).status == "finished"


def test_a_format_that_is_forced_is_not_the_course_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LAB_DTYPE", "bfloat16")
    run = begin(tmp_path)
    run.claim("two is more than three", False)
    run.finish()


def test_a_claim_that_cannot_be_measured_does_not_hold_on_the_course_s_data(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.claim("the moon is round", None, "it is day")
    with pytest.raises(AssertionError, match="the moon is round .it is day."):
        run.finish()


def test_a_claim_that_is_not_tested_neither_holds_nor_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(tmp_path)
    run.not_tested("the moon is round", "it is day")
    assert "could not be measured here: the moon is round: it is day\n" in capsys.readouterr().out
    run.finish()
    (claim,) = read_run(run.folder).notes["claims"]
    assert claim["holds"] is None and not claim["checked"]


def test_a_claim_that_is_made_again_replaces_the_earlier_one(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.claim("it works", False)
    run.claim("it works", True)  # the cell was repaired and run again
    run.finish()
    assert len(read_run(run.folder).notes["claims"]) == 1


@pytest.mark.parametrize(
    ("difference", "p", "falls", "holds", "told"),
    [
        (0.2, 0.0004, False, True, "rougeL +0.200 [+0.100, +0.300], p < 0.001"),
        (0.2, 0.0004, True, False, "rougeL +0.200 [+0.100, +0.300], p < 0.001"),
        (-0.2, 0.0004, True, True, "rougeL -0.200 [-0.300, -0.100], p < 0.001"),
        (0.2, 0.02, False, False, "rougeL +0.200 [+0.100, +0.300], p = 0.020"),
        (0.0, 1.0, False, False, "rougeL +0.000 [-0.100, +0.100], p = 1.000"),
        (0.2, math.nan, False, None, "rougeL +0.200 [+0.100, +0.300], no p value"),
    ],
)
def test_a_claimed_difference_has_a_direction_and_a_p(
    tmp_path: Path, difference: float, p: float, falls: bool, holds: bool | None, told: str
) -> None:
    run = begin(tmp_path, lora_r=8)
    found = TestResult("a", "b", "rougeL", difference, difference - 0.1, difference + 0.1, p, "paired bootstrap")
    run.claim_difference("it differs", found, falls=falls)
    (claim,) = read_run(run.folder).notes["claims"]
    assert (claim["holds"], claim["found"]) == (holds, told)


def test_a_comparison_that_was_not_made_is_no_finding(tmp_path: Path) -> None:
    run = begin(tmp_path, lora_r=8)
    run.claim_difference("it differs", None)
    (claim,) = read_run(run.folder).notes["claims"]
    assert claim["holds"] is None and claim["found"] == "there is nothing to compare"
