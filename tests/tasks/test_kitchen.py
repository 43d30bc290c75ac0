"""Task ``kitchen``: its prompts, answers and chat turns, with a picture, in words, and without choices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.explained import INSTRUCTION, named_choices
from helpers.tasks.kitchen.task import KitchenTask, prompt
from helpers.tasks.teacher import relabel, simulated_teacher

TASK = tasks.get("kitchen")
assert isinstance(TASK, KitchenTask)
LABELS = {"Q": "Question", "A": "Scene", "O": "Facts", "C": "Choices"}


@pytest.fixture(scope="module")
def splits() -> Any:
    return TASK.load(40, 30, "generator-small", 0)


def test_rows_have_their_columns_and_pictures(splits: Any) -> None:
    row = next(row for row in splits["test"] if row["needs_picture"])
    assert tuple(row) == TASK.columns
    assert row["image"].size == (192, 192)
    assert set(row["objects"][0]) == {"food", "colour", "shape", "place", "state", "x", "y"}
    assert all((row["image"] is not None) == row["needs_picture"] for row in splits["test"])
    assert {name: len(part) for name, part in splits.items()} == {"train": 40, "validation": 10, "test": 30}


@pytest.mark.parametrize("form", TASK.forms)
def test_a_form_shows_what_its_letters_say(splits: Any, form: str) -> None:
    examples = TASK.examples(splits["test"], form)
    assert len(examples) == 30
    for example, row in zip(examples, splits["test"], strict=True):
        first, *lines = example["prompt"].split("\n")
        labels = [line.partition(": ")[0] for line in lines]
        held = {"Q": True, "C": True, "A": bool(row["scene"]), "O": bool(row["knowledge"])}
        assert first == INSTRUCTION and labels == [LABELS[letter] for letter in form if held[letter]]
        said = json.loads(example["completion"])
        assert said == {"solution": row["solution"], "answer": row["choices"][row["answer"]]}
        choosing = TASK.form_kind(form) == "choice"
        assert example["options"] == (row["choices"] if choosing else [])
        assert example["answer"] == (row["answer"] if choosing else -1)
        assert example["references"] == [example["completion"]] and example["gold_solution"] == row["solution"]


def test_written_answers_are_read_back(splits: Any) -> None:
    examples = TASK.examples(splits["test"])
    assert named_choices(examples["completion"], list(examples["options"])) == list(examples["answer"])


def test_a_model_that_reads_text_gets_every_scene_in_words(splits: Any) -> None:
    words = TASK.load(40, 30, "generator-small", 0, pictures=False)
    assert words["test"]["id"] == splits["test"]["id"] and words["test"]["question"] == splits["test"]["question"]
    for example, row in zip(TASK.examples(words["test"]), words["test"], strict=True):
        assert row["image"] is None and (f"Scene: {row['scene']}" in example["prompt"]) == bool(row["scene"])
    (asked,) = TASK.examples(words["test"].select([0]), "QAC")["prompt"]
    assert asked.count("Scene: ") == 1


def test_chat_turns_hold_the_picture_once_or_a_blank_one_on_request(splits: Any) -> None:
    examples = list(TASK.examples(splits["test"]))
    for example in examples:
        talk, blank = TASK.to_vision_messages(example), TASK.to_vision_messages(example, blank=True)
        assert len(talk["images"]) == (example["image"] is not None) and len(blank["images"]) == 1
        kinds = [part["type"] for part in talk["prompt"][0]["content"]]
        assert kinds == ["image"] * len(talk["images"]) + ["text"]
        assert TASK.with_options(example) == TASK.to_messages(example)
    assert TASK.bare_prompt("QC")[0]["content"] == INSTRUCTION


def test_questions_about_one_picture_are_a_group(splits: Any) -> None:
    twice = splits["test"].select([0, 1, 0])
    first, second, again = TASK.groups(twice)
    assert first == again != second
    assert len(set(TASK.groups(splits["test"]))) == 30


def test_a_teachers_answers_take_the_place_of_the_proofs(splits: Any) -> None:
    done = relabel(splits["train"], simulated_teacher(splits["train"], accuracy=0.5))
    assert done.agreement == pytest.approx(0.5) and not done.dropped
    assert done.rows.features == splits["train"].features
    assert len(TASK.examples(done.rows)) == 40


def test_the_first_form_of_a_kind_is_in_words() -> None:
    first = {kind: next(f for f, k in TASK.forms.items() if k == kind) for kind in ("choice", "generation")}
    assert first == {"choice": "QAC", "generation": "QA"} and TASK.in_words and TASK.main_form == "QC"


def test_a_row_that_needs_a_picture_and_has_neither_is_not_asked(splits: Any) -> None:
    row = next(dict(row) for row in splits["test"] if row["needs_picture"])
    assert "Scene" in prompt(row | {"image": None}, "QC") and "Scene" not in prompt(row, "QC")
    bare = splits["test"].map(lambda r: {"scene": ""}).remove_columns("image")
    bare = bare.add_column("image", [None] * 30).cast(splits["test"].features)
    assert len(TASK.examples(bare)) == sum(not needs for needs in splits["test"]["needs_picture"])


def test_unknown_forms_and_sources_are_refused() -> None:
    with pytest.raises(DataError, match="no form 'QCA'.*QAC"):
        TASK.form_kind("QCA")
    with pytest.raises(DataError, match="generator-smal"):
        TASK.load(10, 10, "generator-smal")
