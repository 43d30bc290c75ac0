"""Choices and answers of science questions: judged by the file as a whole, read as what they are, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.sources.source import Source
from helpers.tasks.given_answers import read_answers
from helpers.tasks.given_choices import Choices, read_choices

TASK = tasks.get("scienceqa")
TEXTS = ["a cat", "a dog", "a hen"]


def read(values: list[Any], choices: list[list[str]] | list[str], said: dict[str, str] | None = None) -> list[int]:
    each = choices if isinstance(choices[0], list) else [choices] * len(values)
    return read_answers(values, [Choices(list(texts), []) for texts in each], "x", said)[0]


@pytest.mark.parametrize(
    ("value", "index"),
    [(1, 1), (1.0, 1), ("1", 1), ("1.0", 1), ("b", 1), ("B", 1), ("(B)", 1), ("B.", 1), ("b)", 1), ("Option B", 1),
     ("a dog", 1), ("A  Dog.", 1), ('"a dog"', 1), ("(B) a dog", 1), ("B. A dog", 1), (["B"], 1), (2, 2), (3, -1),
     (-1, -1), ("D", -1), (True, -1), (None, -1), ("", -1), (0.5, -1), (float("nan"), -1), ("(B) a hen", -1)],
)  # fmt: skip
def test_what_names_the_right_choice(value: Any, index: int) -> None:
    assert read([value, 0], TEXTS)[0] == index


def test_numbers_count_from_one_where_the_file_says_so() -> None:
    answers, said = read_answers([1, 2, 3, 1], [Choices(TEXTS, [])] * 4, "x")
    assert answers == [0, 1, 2, 0] and "count from 1 (4), since none is 0" in said
    assert read([0, 1, 2, 1], TEXTS) == [0, 1, 2, 1]
    answers, said = read_answers([1, 1, 2], [Choices(TEXTS, [])] * 3, "x")
    assert answers == [1, 1, 2] and 'say -p labels "first=1"' in said  # left open: said
    assert read([1, 1, 2], TEXTS, {"first": "1"}) == [0, 0, 1]
    # WinoGrande: "1" and "2" of two options.
    assert read(["1", "2", "2"], ["he", "she"]) == [0, 1, 1]


def asked(tmp_path: Path, offset: int, other: Any) -> Any:
    """Questions whose answer is an index plus ``offset``, beside the text of choice ``other(i, right)``."""
    rows = []
    for i in range(60):
        choices, right = [f"thing {i}-{k}" for k in range(4)], i % 3
        rows.append({"question": f"What is number {i}?", "choices": choices, "answer": right + offset})
        rows[-1]["answer_text"] = choices[other(i, right)]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return TASK.load(n_train=20, n_eval=20, source=str(file))


def test_an_answer_and_its_text_beside_it(tmp_path: Path) -> None:
    for offset in (0, 1):  # the text says how the numbers count, which they leave open
        parts = asked(tmp_path, offset, lambda _, right: right)
        assert all(row["choices"][row["answer"]].endswith(f"-{int(row['id']) % 3}") for row in parts["test"])
        assert ("as column 'answer_text' says" in " ".join(parts.report.notes)) == bool(offset)
    report = asked(tmp_path, 0, lambda i, right: 3 if i in (5, 8) else right).report
    assert report.usable == 58 and "2 rows where column 'answer_text' names another choice" in " ".join(report.notes)
    with pytest.raises(DataError, match="in 60 of 60 rows the answer and column 'answer_text' name different"):
        asked(tmp_path, 0, lambda _, right: (right + 1) % 4 if right else 3)


def test_numbers_that_are_choices_too() -> None:
    numbers = [["3", "1", "0"], ["2", "0", "1"], ["1", "2", "3"]]
    answers, said = read_answers(["1", "2", "3"], [Choices(texts, []) for texts in numbers], "x")
    assert answers == [1, 0, 2] and 'if answers are indices, say -p labels "first=0"' in said
    assert read(["1", "2", "2"], numbers, {"first": "0"}) == [1, 2, 2]
    assert read(["1", "2", "0"], [["3", "1", "0"]] * 3, {"answers": "text"}) == [1, -1, 2]
    # Indices everywhere, and one question with numbers to choose from, as in the published data.
    assert read([0, 1, 2] * 20 + [2], [TEXTS] * 60 + [["2", "3", "4"]])[-1] == 2
    # Half of them one, half the other: nobody can know.
    with pytest.raises(DataError, match="number of one choice and the text of another.*first=0"):
        read([0, 1, 2, 1, 2, 1], [TEXTS] * 3 + [["2", "1", "0"], ["0", "1", "2"], ["1", "0", "2"]])


def test_letters_that_are_choices_too() -> None:
    assert read(["C", "A"], [["C", "B", "A"], ["B", "A", "C"]]) == [0, 1]  # each is a choice's text
    with pytest.raises(DataError, match="a letter and a choice's text"):
        read(["A", "B", "B"], [["x", "y"], ["x", "y"], ["B", "A"]])
    assert read(["A", "B", "B"], [["x", "y"], ["x", "y"], ["B", "A"]], {"answers": "letters"}) == [0, 1, 1]


def test_what_the_reader_says_is_checked() -> None:
    assert read([1, 2, 3], TEXTS, {"1": "C", "2": "A", "3": "B"}) == [2, 0, 1]
    for said in ({"first": "2"}, {"answers": "words"}, {"answers": "text", "first": "1"}):
        with pytest.raises(DataError, match="is not allowed.*answers=text"):
            read([1], TEXTS, said)
    with pytest.raises(DataError, match=r"does not name: '3' \(1\)"):
        read([1, 3], TEXTS, {"1": "A"})
    with pytest.raises(DataError, match="'first' is no letter"):
        read([1], TEXTS, {"1": "first"})


SHAPES: dict[str, Any] = {
    "list": TEXTS, "JSON": json.dumps(TEXTS), "Python": str(TEXTS), "numpy": str(np.array(TEXTS)),
    "R": 'c("a cat", "a dog", "a hen")', "bars": "a cat|a dog | a hen", "semicolons": "a cat; a dog; a hen",
    "lines": "a cat\na dog\na hen", "letters": "(A) a cat (B) a dog (C) a hen",
    "letters, dots": "A. a cat B. a dog C. a hen",
    "array": np.array(TEXTS),
}  # fmt: skip
LABELLED: dict[str, Any] = {
    "ARC": {"text": TEXTS, "label": ["A", "B", "C"]},
    "ARC in text": str({"text": TEXTS, "label": ["A", "B", "C"]}),
    "by letter": dict(zip("ABC", TEXTS, strict=True)),
    "objects": [{"label": label, "text": text} for label, text in zip("ABC", TEXTS, strict=True)],
}


@pytest.mark.parametrize("shape", [*SHAPES, *LABELLED])
def test_each_shape_gives_the_same_choices(shape: str) -> None:
    found = read_choices({**SHAPES, **LABELLED}[shape])
    assert found.texts == TEXTS
    if shape in LABELLED:
        assert found.labels == ["A", "B", "C"]


@pytest.mark.parametrize("cell", [{"x": {"y": 1}}, [["a"], ["b"]], [{"foo": "a"}, {"foo": "b"}], {"first": "a"}])
def test_unknown_choices_are_shown(cell: Any) -> None:
    with pytest.raises(DataError, match="a cell of column choices is .* of unknown shape: "):
        read_choices(cell)


def test_labels_of_choices_decide() -> None:
    given = Choices(TEXTS, ["1", "2", "3"])  # some of ARC's questions have such labels
    assert read_answers(["1", "3", "2"], [given] * 3, "x")[0] == [0, 2, 1]


def load(path: Path, made: list[dict[str, Any]], **how: str) -> Any:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return TASK.load(8, 8, Source(str(path), **how))


def columns_of(kind: str, i: int) -> dict[str, Any]:
    right, texts = i % 3, [f"{text} {i}" for text in TEXTS]
    return {
        "A": dict(zip("ABC", texts, strict=True)) | {"answer": "ABC"[right]},
        "option1": {f"option{n}": text for n, text in enumerate(texts, 1)} | {"answer": right + 1},
        "choice_a": {f"choice_{mark}": text for mark, text in zip("abc", texts, strict=True)}
        | {"answer": f"choice_{'abc'[right]}"},
        "ending0": {f"ending{n}": text for n, text in enumerate(texts)} | {"label": right},
        "opa": {f"op{m}": text for m, text in zip("abc", texts, strict=True)} | {"cop": right},
        "distractor1": {"correct_answer": texts[right]}
        | {f"distractor{n}": text for n, text in enumerate((t for t in texts if t != texts[right]), 1)},
        "incorrect_answers": {"correct_answer": texts[right]}
        | {"incorrect_answers": [text for text in texts if text != texts[right]]},
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["A", "option1", "choice_a", "ending0", "opa", "distractor1", "incorrect_answers"])
def test_choices_in_several_columns(tmp_path: Path, kind: str) -> None:
    splits = load(tmp_path / "x.jsonl", [{"question": f"Which is {i}?", **columns_of(kind, i)} for i in range(60)])
    rows = [row for part in splits.values() for row in part]
    for row in rows:
        i = int(row["question"].split()[-1][:-1])
        assert row["choices"][row["answer"]] == f"{TEXTS[i % 3]} {i}" and len(row["choices"]) == 3
    assert len({row["answer"] for row in rows}) == 3  # the right one is not always the first
    assert any(f"choices are read from the columns {kind}" in note for note in splits.report.notes)


def test_solutions_in_the_prompt_are_noted(tmp_path: Path) -> None:
    made = [
        {"question": f"Which is {i}?", "choices": TEXTS, "answer": i % 3, "hint": f"Look: Number {i} is said to be it."}
        | {"solution": f"number {i} is  said to be it."}
        for i in range(60)
    ]
    notes = load(tmp_path / "x.jsonl", made).report.notes
    assert "the solution stands word for word in question, hint or lecture of 60 rows" in notes
    assert "answers: numbers that count from 0 (60)" in notes
