"""Reading files of predictions: file types, spellings of scores, and labels that never meet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.errors import DataError
from helpers.evaluation.predictions import read_answers, read_predictions

WORDS = ("entailment", "neutral", "contradiction")


def csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def coded(n: int = 12) -> list[dict[str, Any]]:
    return [{"id": i, "reference": i % 3, "prediction": WORDS[i * 2 % 3]} for i in range(n)]


def test_codes_against_words_are_refused_or_mapped(tmp_path: Path) -> None:
    path = csv(tmp_path / "p.csv", coded())
    with pytest.raises(DataError, match="references are '0', '1', '2', predictions are .*'entailment'.*labels="):
        read_predictions(path)
    for labels in ({"0": WORDS[0], "1": WORDS[1], "2": WORDS[2]}, dict(enumerate(WORDS))):
        found = read_predictions(path, labels=labels)
        assert found["right"].sum() == sum(i % 3 == i * 2 % 3 for i in range(12)) > 0
        assert set(found["reference"]) == set(WORDS)
    with pytest.raises(DataError, match="ever spelt like"):
        read_predictions(path, labels={"0": "yes"})
    assert read_predictions(path, labels={})["right"].sum() == 0


@pytest.mark.parametrize(
    ("gold", "said"), [([0, 1, 1], ["LABEL_0", "LABEL_1", "LABEL_0"]), ([1, 0, 0], ["True", "False", "true"])]
)
def test_unambiguous_spellings_are_read_and_said(
    tmp_path: Path, gold: list[Any], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = csv(tmp_path / "p.csv", [{"reference": g, "prediction": p} for g, p in zip(gold, said, strict=True)])
    assert list(read_predictions(path)["right"]) == [True, True, False]
    assert "read as the same labels" in capsys.readouterr().out


def test_a_few_wrong_answers_are_just_wrong(tmp_path: Path) -> None:
    path = csv(tmp_path / "p.csv", [{"reference": "a", "prediction": "b"}, {"reference": "c", "prediction": ""}])
    assert not read_predictions(path)["right"].any()
    silent = [{"reference": word, "prediction": ""} for word in WORDS * 4]  # it never answered
    assert not read_predictions(csv(tmp_path / "p.csv", silent))["right"].any()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(1, 0), (1.0, 0.0), ("1.0", "0.0"), (True, False), ("yes", "No"), ("correct", "wrong"), ("Right ", "incorrect")],
)
def test_spellings_of_a_score(tmp_path: Path, right: Any, wrong: Any) -> None:
    rows = [{"reference": "a", "prediction": "b", "score": s} for s in (right, wrong, right)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path in (tmp_path / "p.jsonl", csv(tmp_path / "p.csv", rows)):
        assert list(read_predictions(path)["right"]) == [True, False, True]


def test_other_scores_name_the_row(tmp_path: Path) -> None:
    rows = [{"reference": "a", "prediction": "a", "score": s} for s in ("correct", "so-so")]
    with pytest.raises(DataError, match="p.csv, column 'score', has 'so-so' in row 2, which is neither right"):
        read_predictions(csv(tmp_path / "p.csv", rows))


def test_empty_scores_are_derived_and_said_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = (("a", True), ("b", False), ("a", None), ("b", None))
    rows: list[dict[str, Any]] = [{"reference": "a", "prediction": p, "score": s} for p, s in scored]
    assert list(read_predictions(csv(tmp_path / "p.csv", rows))["right"]) == [True, False, True, False]
    assert "2 of 4 rows have no 'score'" in capsys.readouterr().out
    rows[1]["score"] = True  # by another rule than equality
    with pytest.raises(DataError, match="empty in 2 of 4 rows, the first is row 3"):
        read_predictions(csv(tmp_path / "p.csv", rows))
    with pytest.raises(DataError, match="neither 'reference' nor 'score' in 1 rows, the first is row 3"):
        read_predictions(csv(tmp_path / "p.csv", [*rows[:2], rows[2] | {"reference": ""}]))


def test_texts_stay_texts(tmp_path: Path) -> None:
    rows = [{"reference": r, "prediction": p} for r, p in (("007", "7"), ("NA", "NA"), ("None", "none"), ("1", "1.0"))]
    found = read_predictions(csv(tmp_path / "p.csv", rows))
    assert list(found["reference"]) == ["007", "NA", "None", "1"]
    assert list(found["right"]) == [False, True, True, True]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_lines_end_at_newlines_only(tmp_path: Path, sign: str) -> None:
    row = {"id": "a", "input": f"one{sign}two", "reference": "a", "prediction": f"a{sign}"}
    path = tmp_path / "p.jsonl"
    path.write_text("\ufeff" + json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8")
    assert list(read_predictions(path, labels={})["input"]) == [row["input"]]
    assert read_answers(path, ["a"]) == [row["prediction"]]


def test_json_as_rows_as_columns_and_as_pandas_writes_it(tmp_path: Path) -> None:
    table = pd.DataFrame([{"id": i, "reference": "ab"[i % 2], "prediction": "a"} for i in range(4)])
    for orient in ("records", "list", "columns"):
        path = tmp_path / f"{orient}.json"
        path.write_text(json.dumps(table.to_dict("list")) if orient == "list" else table.to_json(orient=orient))
        assert list(read_predictions(path)["right"]) == [True, False, True, False]
        assert read_answers(path, ["3", "0"]) == ["a", "a"]


def test_one_of_several_references_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"NYC": True, "new york": True, "York": False, "Boston": True}
    rows = [{"id": p, "reference": ["New York", "NYC"] if p != "Boston" else p, "prediction": p} for p in said]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    found = read_predictions(tmp_path / "p.json")
    assert list(found["right"]) == list(said.values()) and found["reference"].iloc[0] == "New York | NYC"
    assert "several references" in capsys.readouterr().out


def test_no_question_is_made_of_what_a_system_wrote(tmp_path: Path) -> None:
    row = {"id": 1, "reference": "a", "prediction": "a", "raw_output": "{'premise': 'no'}", "Premise": "p", "note": "x"}
    (only,) = read_predictions(csv(tmp_path / "p.csv", [row])).to_dict("records")
    assert only["input"] == "p" and "premise" not in only
    with pytest.raises(DataError, match="no column 'question' for the input; it has id"):
        read_predictions(tmp_path / "p.csv", input="question")


@pytest.mark.parametrize(
    ("reference", "prediction", "said"),
    [
        (WORDS[1], "1", "6 of 12 predictions are spelt like no reference ('1'), and count as wrong"),
        ("1", WORDS[1], "references are numbers and words"),
        (WORDS[1], WORDS[1], ""),
    ],
)
def test_labels_in_two_spellings_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: str, prediction: str, said: str
) -> None:
    rows = [{"id": i, "reference": WORDS[i % 3], "prediction": WORDS[i % 3]} for i in range(6)]
    rows += [{"id": i, "reference": reference, "prediction": prediction} for i in range(6, 12)]
    read_predictions(csv(tmp_path / "p.csv", rows))
    printed = capsys.readouterr().out
    assert said in printed and bool(said) == bool(printed)
