"""Registry, sizes, choice parsing, scores, report, cheap import."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks import base
from helpers.tasks.answers import parse_choice
from helpers.tasks.base import LoadReport
from helpers.tasks.choices import Question, balanced_choices, merge_small


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
    with pytest.raises(DataError, match="Did you mean 'missing'.*ingredients, missing, steps, substitute"):
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
