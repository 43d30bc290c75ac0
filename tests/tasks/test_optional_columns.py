"""Every column that is called optional can be left out, alone and together with all others."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from own_data_cases import NEEDED, OPTIONAL, write_own

from helpers import tasks
from helpers.errors import DataError

# (task, columns that the file has besides those that are needed): none, and all but one
CASES = [(task, ()) for task in OPTIONAL] + [
    (task, tuple(name for name in columns if name != absent))
    for task, columns in OPTIONAL.items()
    for absent in columns
]


@pytest.mark.parametrize(
    ("task", "columns"), CASES, ids=lambda value: value if isinstance(value, str) else str(len(value))
)
def test_rows_without_optional_columns_are_loaded_and_asked_about(
    tmp_path: Path, task: str, columns: tuple[str, ...]
) -> None:
    lesson_task = tasks.get(task)
    data = write_own(tmp_path, task, 40, random.Random(task), columns)
    splits = lesson_task.load(n_train=8, n_eval=8, source=str(data))
    assert (len(splits["train"]), len(splits["test"])) == (8, 8)
    assert set(NEEDED[task]) <= set(splits["train"].column_names)
    kinds = set(lesson_task.forms.values())
    for kind in kinds:
        forms = [form for form, of in lesson_task.forms.items() if of == kind]
        form, examples = next(lesson_task.askable(splits, forms))
        assert all(len(part) for part in examples.values()), form
        for example in examples["test"]:
            assert example["prompt"] or task == "zappos", "a caption is asked for by the picture alone"
            assert kind == "generation" or example["options"][example["answer"]] in example["completion"]


@pytest.mark.parametrize("seed", range(8))
def test_eight_recipes_with_nothing_in_common_can_be_asked_about(tmp_path: Path, seed: int) -> None:
    recipes = tasks.get("recipes")
    data = write_own(tmp_path, "recipes", 40, random.Random(seed))
    splits = recipes.load(n_train=8, n_eval=8, source=str(data))
    choices = [form for form, kind in recipes.forms.items() if kind == "choice"]
    form, examples = next(recipes.askable(splits, choices))
    assert form == "missing" or all(len(part) == len(splits[name]) for name, part in examples.items())


def test_a_form_that_rows_cannot_answer_is_left_out_and_noted(tmp_path: Path) -> None:
    dialogues = tasks.get("dialogsum")
    splits = dialogues.load(n_train=8, n_eval=8, source=str(write_own(tmp_path, "dialogsum", 40, random.Random(0))))
    found = dict(dialogues.askable(splits, ("summary", "topic", "match")))
    assert list(found) == ["summary", "match"]
    (note,) = (note for note in splits.report.notes if "topic" in note)
    assert "left out" in note and "four different topics" in note and "\n" not in note
    assert note in str(splits.report)
    with pytest.raises(DataError, match="no row can be asked in form topic"):
        next(dialogues.askable(splits, ["topic"]))


def test_which_summary_belongs_to_a_dialogue_has_one_right_answer(tmp_path: Path) -> None:
    dialogues = tasks.get("dialogsum")
    splits = dialogues.load(n_train=40, n_eval=40)
    own = dict(zip(splits["test"]["dialogue"], splits["test"]["summary"], strict=True))
    asked = dialogues.examples(splits["test"], "match")
    assert len(asked) >= 30
    for example in asked:
        right = own[example["prompt"].split("\n\n", 1)[1]]
        assert example["options"].count(right) == 1 and example["options"][example["answer"]] == right
        assert len(set(example["options"])) == 4
