"""Registry, sizes, choice parsing, scores, report, cheap import."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks import base, reading
from helpers.tasks.answers import parse_choice
from helpers.tasks.base import LoadReport
from helpers.tasks.choices import Question, balanced_choices, merge_small
from helpers.tasks.reading import drop


def test_import_brings_in_nothing_heavy() -> None:
    code = (
        "import sys, helpers.tasks; "
        "print([m for m in ('datasets','pandas','sklearn','torch','numpy','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_task_and_form_name_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'recipes'"):
        tasks.get("recipe")
    with pytest.raises(DataError, match="Did you mean 'missing'.*ingredients, match, missing, steps, substitute"):
        tasks.get("recipes").form_kind("mising")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cream", 0),
        ("  Sour Cream. ", 1),
        ("The answer is sour cream", 1),  # contains "cream", which is no second mention
        ("Answer: leek\nbecause it is a leek soup with cream", 2),
        ("leek or cream", -1),
        ("leeks", -1),
        ("", -1),
        ("\n\n", -1),
        ("salt", -1),
        ("I think:\nleek", 2),
    ],
)
def test_parse_choice(text: str, expected: int) -> None:
    assert parse_choice(text, ["cream", "sour cream", "leek"]) == expected


def test_cut_says_what_exists() -> None:
    rows = [{"id": str(number)} for number in range(100)]
    parts = base.cut(rows, 60, 30, "rows in x")
    assert {name: len(part) for name, part in parts.items()} == {"train": 60, "validation": 10, "test": 30}
    assert len(base.cut(rows, None, 30, "rows in x")["train"]) == 60
    with pytest.raises(DataError, match=r"100 usable rows in x.*needs 101.*Lower n_train to 60 or less"):
        base.cut(rows, 61, 30, "rows in x")
    with pytest.raises(DataError, match="Lower n_eval too"):
        base.cut(rows, 1, 95, "rows in x")
    for bad in (0, -3, 1.5, True):
        with pytest.raises(DataError, match="n_train must be a whole number"):
            base.check_sizes(bad, 10)  # type: ignore[arg-type]


def test_report_reads_well_and_serialises() -> None:
    report = LoadReport("recipes", "x.csv", 10, {"no title": 2}, 1, 3, 4, {"train": 2, "test": 2}, "CC0", "ab")
    text = str(report)
    for piece in ("10 rows", "2 no title", "exact duplicates 1", "near-duplicates 3", "train 2", "CC0", "ab"):
        assert piece in text
    assert json.loads(json.dumps(report.as_dict()))["dropped"] == {"no title": 2}


def test_balanced_choices_use_every_answer_three_times_as_wrong_option() -> None:
    rng = random.Random(3)
    questions = [Question(row, "soup" if row % 2 else "cake", f"w{row % 16}") for row in range(160)]
    choices = balanced_choices(questions, lambda row, text: True, rng)
    right = Counter(choice.options[choice.answer] for choice in choices)
    wrong = Counter(text for choice in choices for i, text in enumerate(choice.options) if i != choice.answer)
    assert wrong == {text: 3 * count for text, count in right.items()}
    assert Counter(choice.answer for choice in choices) == dict.fromkeys(range(4), 40)
    assert all(len(set(choice.options)) == 4 for choice in choices)
    # odd rows carry odd words, so options of the other group would show
    assert all(len({int(text[1:]) % 2 for text in choice.options}) == 1 for choice in choices)


def test_balanced_choices_leave_out_what_cannot_be_asked() -> None:
    questions = [Question(row, "g", f"w{row}") for row in range(8)]
    choices = balanced_choices(questions, lambda row, text: row != 5, random.Random(0))
    assert [choice.row for choice in choices] == [0, 1, 2, 3, 4, 6, 7]


def test_small_groups_are_merged() -> None:
    groups = ["a"] * 30 + ["b"] * 13 + ["c"] * 2
    assert Counter(merge_small(groups)) == {"a": 30, "other": 15}
    assert set(merge_small(["a", "b", "c"])) == {"other"}


def test_too_few_rows_name_the_reasons_and_a_row() -> None:
    report = LoadReport("recipes", "x.csv", 93, duplicates_removed=1)
    for number in range(90):
        drop(report, "no steps", row={"title": f"dish {number}", "steps": "x" * 999})
    drop(report, "no title", 2)
    with pytest.raises(
        DataError, match="none of the 93 recipes in x can be used: 90 no steps; 2 no title; 1 exact"
    ) as e:
        base.refuse_unusable([], report, "recipes in x", "title and steps")
    assert "such as {'steps': 'xxx" in str(e.value) and "Needed are title and steps" in str(e.value)
    assert len(str(e.value)) < 400
    with pytest.raises(
        DataError, match="2 usable rows.*of 93 rows these are not used: 90 no steps.*Repair those rows, or"
    ):
        base.cut([1, 2], 2, 2, "rows in x", report)
    base.refuse_unusable([], LoadReport("recipes", "x"), "recipes in x", "")  # nothing dropped: no reason to name
    assert "examples" not in report.as_dict()


@pytest.mark.parametrize("cell", [["a"], ("a",), {"en": "a"}, {"a"}, b"a", np.array(["a"]), np.array([["a"]])])
def test_cells_that_are_no_text_are_refused_with_the_cell(cell: object) -> None:
    with pytest.raises(DataError, match=r"cells of column premise hold (lists|objects|bytes), not text: .*a"):
        reading.text(cell, "premise")


def test_cells_as_text() -> None:
    given = [None, float("nan"), " a ", 7, 0.5, True, np.float64(2.5), np.str_("b "), np.array(3)]
    assert [reading.text(cell) for cell in given] == ["", "", "a", "7", "0.5", "True", "2.5", "b", "3"]
