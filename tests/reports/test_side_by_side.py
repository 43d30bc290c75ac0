"""Tables of lesson 09, made from run records on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_cases import write_run

from helpers.reports import compare_runs, side_by_side
from helpers.runs.records import RunRecord

CHOICES = [
    ("q1", "yes", "no", 0.0, "yes", 1.0),
    ("q2", "yes", "yes", 1.0, "no", 0.0),
    ("q3", "no", "no", 1.0, "no", 1.0),
]


def _rows() -> list[dict[str, Any]]:
    names = ("input", "reference", "baseline", "baseline_score", "prediction", "score")
    rows = [{"form": "missing"} | dict(zip(names, row, strict=True)) for row in CHOICES]
    return [*rows, {"form": "steps", "input": "q", "reference": "r", "baseline": None, "prediction": "p", "score": 0.2}]


def _records(root: Path, **settings: Any) -> list[RunRecord]:
    folder = write_run(root, "one", notebook="04_qlora_instruct", task="recipes", accuracy=2 / 3, **settings)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    return compare_runs.find(root, "smoke")[0]


def test_choices_and_texts_are_found_by_run_and_form(tmp_path: Path) -> None:
    records = _records(tmp_path)
    chosen = side_by_side.choices(records)
    assert list(chosen) == [("04", "missing")]
    assert list(chosen["04", "missing"]["outcome"]) == ["fixed", "broken", "right both times"]
    written = side_by_side.texts(records)
    assert written == {("04", "steps"): [{"input": "q", "reference": "r", "baseline": "", "prediction": "p"}]}


def test_changes_are_counted_and_tested(tmp_path: Path) -> None:
    table = side_by_side.changes_frame(side_by_side.choices(_records(tmp_path)))
    counted = {"fixed": 1, "broken": 1, "wrong both times": 0, "right both times": 1, "n": 3, "p": "1"}
    counted |= {"test": "exact McNemar"}
    assert table.to_dict("index") == {"04 missing": counted}
    assert side_by_side.changes_frame({}).to_dict("index") == {}


def test_a_value_is_recognised_in_its_own_run_and_metric_only(tmp_path: Path) -> None:
    (record,) = _records(tmp_path)
    assert side_by_side.agrees_with_record(record, "accuracy", 2 / 3)
    assert not side_by_side.agrees_with_record(record, "accuracy", 0.5)
    assert side_by_side.agrees_with_record(record, "rougeL", 2 / 3)  # nothing was recorded that it could contradict


def test_seeds_are_pooled_into_one_row_a_system(tmp_path: Path) -> None:
    for seed, accuracy in ((0, 0.8), (1, 0.9)):
        write_run(tmp_path, f"s{seed}", seed=seed, accuracy=accuracy)
    table = side_by_side.seeds_frame(compare_runs.find(tmp_path, "smoke")[0])
    assert set(table["metric"]) == {"accuracy"}  # the one that every seed has
    tuned = table[table["system"] == "qlora"].iloc[0]
    assert (tuned["seeds"], tuned["mean"], tuned["metric"]) == (2, 0.85, "accuracy")
    assert tuned["spread (sd)"] == pytest.approx(0.071)
    assert side_by_side.seeds_frame([]).empty


def test_forgetting_is_read_from_tests_on_another_task() -> None:
    test = {"run": "04", "a": "qlora, other task", "b": "zero-shot, other task", "metric": "perplexity"}
    test |= {"difference": 1.5, "low": -0.25, "high": 2.0}
    table = side_by_side.forgetting_frame([test, test | {"a": "qlora"}, test | {"metric": "accuracy"}])
    assert list(table["change"]) == ["+1.50 [-0.25, +2.00]"]


def test_costs_are_texts_and_empty_where_nothing_trained(tmp_path: Path) -> None:
    cost = {"train_seconds": 1234.5, "tokens_per_s": 900.0, "trainable": 20, "total": 1000}
    write_run(tmp_path, "one", notes={"cost": cost})
    write_run(tmp_path, "none", notebook="02_zero_shot_baselines")
    table = side_by_side.costs_frame(compare_runs.find(tmp_path, "smoke")[0])
    assert (table.loc["03", "trainable share"], table.loc["03", "total"], len(table)) == ("2.00%", "1,000", 1)
    assert side_by_side.costs_frame([]).empty


def test_projects_without_a_published_row_are_named(tmp_path: Path) -> None:
    row = {"project": "A/D", "what": "w", "published": "p", "reproduced": "r", "repaired": "x"}
    write_run(tmp_path, "one", notes={"published": [row]})
    table = side_by_side.published_frame(compare_runs.find(tmp_path, "smoke")[0])
    assert list(table.columns) == ["project", "run", "what", "published", "reproduced", "repaired"]
    assert list(side_by_side.projects_without_a_row(table)) == ["B", "C", "E"]
    assert list(side_by_side.projects_without_a_row(side_by_side.published_frame([]))) == ["A", "B", "C", "D", "E"]


def test_slices_are_rounded_for_reading() -> None:
    rows = {"premise": ["a cat sits"] * 4, "hypothesis": ["a cat sits", "no cat sits"] * 2, "reference": ["yes"] * 4}
    paired = pd.DataFrame(rows).assign(before_right=[False] * 4, after_right=[True] * 4)
    table = side_by_side.slices_frame(paired)
    assert set(table["value"]) >= {"negated", "not negated"} and table["after"].str.startswith("1.00 [").all()
