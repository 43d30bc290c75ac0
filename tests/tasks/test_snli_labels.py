"""Labels of sentence pairs are judged by their whole column: read as what they are, or refused with what settles it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from helpers import tasks
from helpers.errors import DataError
from helpers.sources.source import Source
from helpers.tasks.snli.labels import read_labels

TASK = tasks.get("snli")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, -1], [0, 1, 2, -1]),
        (["entailment", "Neutral", " contradiction", "-"], [0, 1, 2, -1]),
        ([0.0, 2.0, float("nan"), None, 1], [0, 2, -1, -1, 1]),
        (["e", "N", "c", ""], [0, 1, 2, -1]),
        (["yes", "no", "maybe"], [0, 2, 1]),
        (["ENTAILMENT", "contradictory", "NEUTRAL", "entails"], [0, 2, 1, 0]),
        (["蕴含", "中立", "矛盾"], [0, 1, 2]),
        (["Widerspruch", "neutral", "Folgerung"], [2, 1, 0]),
        (["entailment", "neutral"], [0, 1]),  # words say what they mean, with one class missing too
    ],
)
def test_spellings_of_labels(values: list[Any], expected: list[int]) -> None:
    assert read_labels(values, "x")[0] == expected


def test_every_code_is_said_with_its_count() -> None:
    said = read_labels([0] * 120 + [1] * 118 + [2] * 122 + [-1] * 7, "x")[1]
    assert said == "labels: 0 -> entailment (120), 1 -> neutral (118), 2 -> contradiction (122), -1 -> left out (7)"
    assert read_labels(["Entails", "neutral"], "x")[1].endswith("; contradiction never occurs")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([0] * 20 + [1] * 40, r"labels '1' \(40\), '0' \(20\): not all three classes occur"),
        ([1] * 20 + [2] * 40, "not all three classes occur"),
        ([1, 0, -1] * 20, "not all three classes occur"),
        ([0, 1, 2, -1] * 20, r"'-1' is too frequent \(20 rows\)"),
        (["Entailment", "None", "Paraphrase"] * 20, "unknown labels such as 'paraphrase'"),
        (["entailment", "none"] * 20, "'none' is too frequent"),
        ([1, 2, 3] * 20, "counted from 1"),
        ([0, 1, 2, 3] * 20, "unknown labels such as '3'"),
        (["yes", "no"] * 20, "not all three classes occur"),
        ([True, False] * 20, "unknown labels such as"),
        (["entailment", "not_entailment"] * 20, "unknown labels such as 'not_entailment'"),
        (["entailment", "contradicton"] * 20, r"'contradicton' \(nearest is 'contradiction'\)"),
        ([1, 1, "entailment"], "mixes several ways of writing labels; found '1' .2., 'entailment' .1."),
    ],
)
def test_what_the_column_contradicts_is_refused_with_a_mapping_to_fill_in(values: list[Any], why: str) -> None:
    with pytest.raises(DataError, match=why) as refused:
        read_labels(values, "x")
    cure = refused.value.cure
    codes = {str(value).lower() for value in values} - {"none"}
    assert '-p labels "' in cure
    for pair in cure.split('"')[1].split(","):
        assert pair.split("=")[0] in codes  # written for the codes of this file


@pytest.mark.parametrize(
    ("values", "template"),
    [
        ([1, 2, 3] * 20, "1=?,2=?,3=?"),
        ([1, 0] * 20, "0=?,1=?"),
        (["entailment", "not_entailment"] * 20, "entailment=entailment,not_entailment=?"),
        ([0, 1, 2, 3] * 20, "0=entailment,1=neutral,2=contradiction,3=?"),
    ],
)
def test_the_mapping_to_fill_in_guesses_nothing(values: list[Any], template: str) -> None:
    with pytest.raises(DataError) as refused:
        read_labels(values, "x")
    assert f'"{template}"' in refused.value.cure
    with pytest.raises(DataError, match="'[?]' is no class"):  # as it stands it is of no use
        read_labels(values, "x", Source("x", labels=template).labels)


def test_a_given_mapping_is_all_that_counts() -> None:
    given = {"1": "entailment", "0": "neutral", "-1": "contradiction"}
    labels, said = read_labels([1, 0, -1, None], "x", given)
    assert labels == [0, 1, 2, -1]
    assert said.startswith("labels: 1 -> entailment (1), 0 -> neutral (1), -1 -> contradiction (1)")
    # Over words too, and two classes are enough.
    labels, said = read_labels(["yes", "no", "?"], "x", {"yes": "Entailment", "no": "neutral", "?": "none"})
    assert labels == [0, 1, -1] and "? -> left out (1); contradiction never occurs" in said
    with pytest.raises(DataError, match=r"does not name: '2' \(1\).*2=none"):
        read_labels([1, 0, 2], "x", given)
    with pytest.raises(DataError, match="'contradicton' is no class: nearest is 'contradiction'"):
        read_labels([1, 0], "x", {"1": "entailment", "0": "contradicton"})
    with pytest.raises(DataError, match="the other way round: 0=entailment"):
        read_labels([1, 0], "x", {"entailment": "0"})


def pairs(labels: list[Any]) -> dict[str, list[Any]]:
    numbers = range(len(labels))
    return {
        "premise": [f"A cat waits in yard {n}." for n in numbers],
        "hypothesis": [f"A pet waits in yard {n}." for n in numbers],
        "label": labels,
    }


def test_names_of_codes_in_the_file_come_first(tmp_path: Path) -> None:
    """SuperGLUE's cb has contradiction as code 1."""
    features = Features(
        premise=Value("string"), hypothesis=Value("string"),
        label=ClassLabel(names=["entailment", "contradiction", "neutral"]),
    )  # fmt: skip
    data = Dataset.from_dict(pairs([n % 3 for n in range(60)]), features=features)
    data.to_parquet(str(tmp_path / "cb.parquet"))
    splits = TASK.load(8, 8, str(tmp_path / "cb.parquet"))
    for row in splits["train"]:
        assert row["label"] == {0: 0, 1: 2, 2: 1}[int(row["id"]) % 3]
    assert any("0 = entailment, 1 = contradiction, 2 = neutral" in note for note in splits.report.notes)
    asked = Source(str(tmp_path / "cb.parquet"), labels="0=neutral,1=entailment,2=contradiction")
    assert all(row["label"] == {0: 1, 1: 0, 2: 2}[int(row["id"]) % 3] for row in TASK.load(8, 8, asked)["train"])


def test_pairs_with_two_labels_are_said(tmp_path: Path) -> None:
    rows = pd.DataFrame(pairs([n % 3 for n in range(60)]))
    pd.concat([rows, rows[:5], rows[5:8].assign(label=[1, 1, 1])]).to_csv(tmp_path / "twice.csv", index=False)
    splits = TASK.load(8, 8, str(tmp_path / "twice.csv"))
    assert "2 pairs occur again with another label: the first one counts" in splits.report.notes
    assert splits.report.duplicates_removed == 8


def test_a_file_with_two_classes_needs_and_takes_a_mapping(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "two.csv"
    pd.DataFrame(pairs([n % 2 for n in range(60)])).to_csv(path, index=False)
    with pytest.raises(DataError, match="not all three classes"):
        TASK.load(8, 8, str(path))
    splits = TASK.load(8, 8, Source(str(path), labels="1=entailment,0=contradiction"))
    assert all(row["label"] == (0 if int(row["id"]) % 2 else 2) for row in splits["train"])
    assert "labels: 1 -> entailment (30), 0 -> contradiction (30); neutral never occurs" in splits.report.notes


@pytest.mark.parametrize("cell", [{"en": "A cat.", "fr": "Un."}, "{'en': 'A cat.', 'fr': 'Un.'}", ["A", "cat"]])
def test_texts_that_are_objects_are_refused(tmp_path: Path, cell: Any) -> None:
    import pandas as pd

    rows = pd.DataFrame({**pairs([n % 3 for n in range(60)]), "premise": [cell] * 60})
    rows.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    with pytest.raises(DataError, match="cells of column premise hold .*, not text"):
        TASK.load(8, 8, str(tmp_path / "x.jsonl"))
