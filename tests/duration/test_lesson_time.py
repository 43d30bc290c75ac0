"""Whole lessons beside their records: the columns of ``tools/lesson_time.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import lesson_time

REFERENCE = Path(__file__).resolve().parents[2] / "outputs" / "reference"


def test_a_recorded_lesson_has_a_row_and_one_that_trains_nothing_has_none() -> None:
    runs = {run["notebook"]: run for run in lesson_time.records(REFERENCE / "smoke", "smoke")}
    assert lesson_time.compared(runs["01_eda"]) is None
    run = runs["03_qlora_nli"]
    row = lesson_time.compared(run)
    assert row is not None and row["recorded"] == run["wall_time_s"]
    assert row["ratio"] == pytest.approx(row["predicted"] / row["recorded"])
    # A record whose main training took twice as long: all but the fixed part counts twice.
    slower = json.loads(json.dumps(run))
    slower["notes"]["cost"]["train_seconds"] *= 2
    twice = lesson_time.compared(slower)
    assert twice is not None and twice["ratio"] == row["ratio"]
    assert row["scaled ratio"] < twice["scaled ratio"] < 2 * row["scaled ratio"]


def test_runs_of_another_profile_or_not_finished_are_left_out(tmp_path: Path) -> None:
    for name, status, profile in (("a", "finished", "smoke"), ("b", "interrupted", "smoke"), ("c", "finished", "cpu")):
        (tmp_path / name).mkdir()
        run = {"notebook": name, "status": status, "settings": {"profile": profile}}
        (tmp_path / name / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert [run["notebook"] for run in lesson_time.records(tmp_path, "smoke")] == ["a"]
