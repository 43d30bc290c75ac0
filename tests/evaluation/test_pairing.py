"""Which rows of two files belong together: by id, by input, or refused; never by order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.errors import DataError, ParameterError
from helpers.evaluation import cases, failures
from helpers.evaluation.predictions import read_predictions

LABELS = ("yes", "no", "maybe")
Rows = list[dict[str, Any]]


def asked(n: int = 30, **columns: Any) -> Rows:
    """Questions with ids; one in three is right."""
    return [
        {"id": i, "reference": LABELS[i % 3], "prediction": LABELS[i % 2]} | {k: f(i) for k, f in columns.items()}
        for i in range(n)
    ]


def write(path: Path, rows: Rows) -> pd.DataFrame:
    pd.DataFrame(rows).to_csv(path, index=False)
    return read_predictions(path)


def without_ids(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def shuffled(rows: Rows) -> Rows:
    return random.Random(3).sample(rows, len(rows))


@pytest.mark.parametrize("name", ["id", "pid", "qid", "question_id", "index", "pairID", "Question ID"])
def test_ids_pair_rows_in_any_order(tmp_path: Path, name: str) -> None:
    rows = [{name: row.pop("id")} | row for row in asked()]
    one, two = write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", shuffled(rows))
    found = failures.pair(one, two)
    assert failures.counts(found)["fixed"] == failures.counts(found)["broken"] == 0
    assert list(found["id"]) == [str(row[name]) for row in rows]


@pytest.mark.parametrize("spelt", [lambda i: i, str, float, lambda i: f"{i}.0"])
def test_a_number_and_its_text_are_the_same_id(tmp_path: Path, spelt: Any) -> None:
    rows = asked()
    pd.DataFrame(rows).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    other = shuffled([row | {"id": spelt(row["id"])} for row in rows])
    pd.DataFrame(other).to_json(tmp_path / "b.jsonl", orient="records", lines=True)
    found = failures.pair(*(read_predictions(tmp_path / name) for name in ("a.jsonl", "b.jsonl")))
    assert (found["before"] == found["after"]).all() and len(found) == 30


def test_leading_zeros_are_part_of_an_id(tmp_path: Path) -> None:
    one = write(tmp_path / "a.csv", [row | {"id": f"0{row['id']}"} for row in asked()])
    with pytest.raises(DataError, match="30 and 30 examples, 0 in common by 'id' .for example '00' and '0'."):
        failures.pair(one, write(tmp_path / "b.csv", asked()))


def test_without_ids_the_input_pairs(tmp_path: Path) -> None:
    rows = without_ids(asked(input=lambda i: f"question {i}"))
    found = failures.pair(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", shuffled(rows)))
    assert (found["before"] == found["after"]).all() and list(found["input"]) == [row["input"] for row in rows]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (without_ids, "'input' is empty in 30 of 30 rows"),
        (lambda rows: [row | {"raw_output": str(i)} for i, row in enumerate(without_ids(rows))], "'input' is empty"),
        (lambda rows: [row | {"input": "Which?"} for row in without_ids(rows)], "'Which\\?' stands 30 times"),
        (lambda rows: [row | {"id": row["id"] // 2} for row in rows], "the same for several rows: '0' stands 2 times"),
        (lambda rows: [row | {"id": row["id"] or None} for row in rows], "'id' is empty in 1 of 30 rows"),
    ],
)
def test_rows_that_nothing_tells_apart_are_refused(tmp_path: Path, change: Any, wanted: str) -> None:
    rows = change(asked())
    with pytest.raises(DataError, match=wanted):
        failures.pair(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", rows))


def test_ids_in_one_file_only(tmp_path: Path) -> None:
    rows = asked(input=lambda i: f"question {i}")
    bare = without_ids(rows)
    found = failures.pair(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", shuffled(bare)))
    assert (found["before"] == found["after"]).all()
    for row in (*rows, *bare):
        del row["input"]
    with pytest.raises(DataError, match="only the first system's file has ids"):
        failures.pair(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", bare))


def test_what_only_one_file_has_is_left_out_if_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write(tmp_path / "a.csv", asked(30)), write(tmp_path / "b.csv", shuffled(asked(40))[:30])
    common = len(set(one["id"]) & set(two["id"]))
    with pytest.raises(DataError, match=f"30 and 30 examples, {common} in common.*only_common=True"):
        failures.pair(one, two)
    assert len(failures.pair(one, two, only_common=True)) == common
    assert f"{common} examples in common, {30 - common} and {30 - common} left out" in capsys.readouterr().out


def test_ids_that_number_the_rows_are_no_ids(tmp_path: Path) -> None:
    """The same numbers for other questions: seen by the references, or by inputs that stand at other ids."""
    rows = asked(input=lambda i: f"question {i}")
    again = [row | {"id": i} for i, row in enumerate(shuffled(rows))]
    with pytest.raises(DataError, match="the same 'id' have different references"):
        failures.pair(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", again))
    for row in (*rows, *again):
        row["reference"] = "yes"
    one, two = write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", again)
    with pytest.raises(DataError, match="the same 'id' have different inputs"):
        failures.pair(one, two)
    assert (failures.pair(one, two, by="input")["before"] == failures.pair(one, two, by="input")["after"]).all()
    with pytest.raises(ParameterError, match="no column 'name' in both"):
        failures.pair(one, two, by="name")


def test_two_prompts_for_one_question_still_pair(tmp_path: Path) -> None:
    one = write(tmp_path / "a.csv", asked(input=lambda i: f"Question: {i}"))
    two = write(tmp_path / "b.csv", shuffled(asked(input=lambda i: f"Think. Question: {i}")))
    assert len(failures.pair(one, two)) == 30


def test_forms_of_one_question_share_its_id(tmp_path: Path) -> None:
    rows = [row | {"form": form} for form in ("steps", "missing") for row in asked(5)]
    found = failures.pair(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", shuffled(rows)))
    assert list(found["form"]) == [row["form"] for row in rows]


def test_notes_belong_to_the_id_where_there_is_no_text(tmp_path: Path) -> None:
    found = failures.pair(write(tmp_path / "a.csv", asked()), write(tmp_path / "b.csv", asked()))
    path = tmp_path / "cases.csv"
    saved = cases.save_cases(found, path)
    assert saved["key"].is_unique
    saved.loc[4, "explanation"] = "misread"
    saved.to_csv(path, index=False)
    again = cases.save_cases(found.sample(frac=1, random_state=0), path)
    assert list(again.loc[again["explanation"] == "misread", "key"]) == [saved["key"][4]]
