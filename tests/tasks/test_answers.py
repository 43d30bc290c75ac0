"""Reading written answers: a table of outputs as models write them, and properties that hold for any text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tasks.answers import Answer, fold, parse_answer, parse_choice

FOOD = ["salt", "sour cream", "cream", "red onion"]
NLI = ["yes", "maybe", "no"]
MAGNETS = ["attract", "repel"]
NUMBERS = ["2", "4", "8"]
LETTERS = ["B", "A"]
PLANETS = ["Mercury", "Venus", "Earth", "Mars", "Jupiter"]
LONG = [
    "The magnets will attract each other.",
    "The magnets will repel each other.",
    "Neither; they are too far apart.",
]
STATES = ["a solid", "a liquid", "a gas"]

CASES: list[tuple[list[str], str, int | None]] = [
    # nothing
    (FOOD, "", None),
    (FOOD, "   \n\t ", None),
    (FOOD, "...", None),
    (FOOD, "\"\"", None),
    (FOOD, "\u200b", None),
    (FOOD, "**", None),
    # the option itself
    (FOOD, "salt", 0),
    (FOOD, "Salt", 0),
    (FOOD, "SALT.", 0),
    (FOOD, "  salt  ", 0),
    (FOOD, "'salt'", 0),
    (FOOD, "\"salt\"", 0),
    (FOOD, "“salt”", 0),
    (FOOD, "**salt**", 0),
    (FOOD, "`salt`", 0),
    (FOOD, "*Salt*.", 0),
    (FOOD, "the salt", 0),
    (FOOD, "The red  onion", 3),
    (FOOD, "sour cream", 1),
    (FOOD, "cream", 2),
    (FOOD, "Sour\ncream", 1),
    (STATES, "solid", 0),
    (STATES, "A liquid.", 1),
    (STATES, "the gas", 2),
    (LONG, "The magnets will repel each other.", 1),
    (LONG, "the magnets will repel each other", 1),
    (LONG, "Neither; they are too far apart", 2),
    (NLI, "No", 2),
    (NLI, "Yes!", 0),
    (NLI, "maybe...", 1),
    # letters
    (FOOD, "A", 0),
    (FOOD, "b", 1),
    (FOOD, "B.", 1),
    (FOOD, "(C)", 2),
    (FOOD, "(d)", 3),
    (FOOD, "[B]", 1),
    (FOOD, "B)", 1),
    (FOOD, "C:", 2),
    (FOOD, "**D**", 3),
    (FOOD, "Option B", 1),
    (FOOD, "option (b)", 1),
    (FOOD, "Choice C.", 2),
    (FOOD, "Answer D", 3),
    (FOOD, "E", None),
    (FOOD, "(e)", None),
    (MAGNETS, "C", None),
    (PLANETS, "E", 4),
    # letters with a text
    (FOOD, "A. salt", 0),
    (FOOD, "B) sour cream", 1),
    (FOOD, "(C) cream", 2),
    (FOOD, "D: red onion", 3),
    (FOOD, "D - Red onion.", 3),
    (FOOD, "[A] salt", 0),
    (FOOD, "B, sour cream", 1),
    (FOOD, "A. sour cream", None),  # label and text disagree
    (FOOD, "(C) salt", None),
    (FOOD, "B because it is sour", 1),
    (FOOD, "B. It goes well with potatoes.", 1),
    (MAGNETS, "(B) repel, because the same poles face each other", 1),
    # numbers
    (FOOD, "1", 0),
    (FOOD, "4.", 3),
    (FOOD, "(2)", 1),
    (FOOD, "#3", 2),
    (FOOD, "Option 2", 1),
    (FOOD, "3) cream", 2),
    (FOOD, "2. cream", None),
    (FOOD, "0", None),
    (FOOD, "5", None),
    (FOOD, "17", None),
    # options that are numbers or letters: the text counts, labels do not
    (NUMBERS, "4", 1),
    (NUMBERS, "8.", 2),
    (NUMBERS, "2", 0),
    (NUMBERS, "1", None),
    (NUMBERS, "B", None),
    (NUMBERS, "The answer is 8.", 2),
    (LETTERS, "A", 1),
    (LETTERS, "B", 0),
    (LETTERS, "C", None),
    # statements
    (FOOD, "The answer is B.", 1),
    (FOOD, "The answer is: B", 1),
    (FOOD, "the answer is (b).", 1),
    (FOOD, "The correct answer is sour cream.", 1),
    (FOOD, "The correct answer is **sour cream**.", 1),
    (FOOD, "Answer: salt", 0),
    (FOOD, "Answer: C", 2),
    (FOOD, "**Answer:** C", 2),
    (FOOD, "Final answer: red onion", 3),
    (FOOD, "Answer = 2", 1),
    (FOOD, "The best choice is D, red onion.", 3),
    (FOOD, "The correct option is A. salt", 0),
    (FOOD, "I choose cream.", 2),
    (FOOD, "I would pick B.", 1),
    (FOOD, "I'd say the answer would be salt", 0),
    (FOOD, "It is a dip. The answer is sour cream. Salt is too plain.", 1),
    (FOOD, "A chip dip needs something sour. Therefore the answer is B.", 1),
    (FOOD, "Salt and cream are common.\nAnswer: red onion", 3),
    (FOOD, "The answer is $\\boxed{B}$", 1),
    (FOOD, "\\boxed{sour cream}", 1),
    (FOOD, "So we get \\boxed{D}.", 3),
    (LONG, "The answer is B. The magnets will repel each other.", 1),
    (LONG, "Answer: The magnets will repel each other.", 1),
    (NLI, "The answer is no.", 2),
    (NLI, "Answer: maybe, it is not said.", 1),
    (STATES, "The answer is a gas.", 2),
    (MAGNETS, "The answer is that they repel.", 1),
    (FOOD, "The answer is B. No, the answer is C.", 2),
    (FOOD, "The answer is B. Again: the answer is B.", 1),
    (FOOD, "The answer is salt or cream.", None),
    (FOOD, "The answer is not B.", None),
    (FOOD, "The answer is not salt.", None),
    (FOOD, "The answer is pepper.", None),
    (FOOD, "The answer is", None),
    (FOOD, "The answer is F.", None),
    # lines
    (FOOD, "salt\n\nIt is needed in any dough with cream.", 0),
    (FOOD, "B\nsour cream makes it creamy", 1),
    (FOOD, "A. salt\nB. sour cream\nC. cream\nD. red onion", None),
    (FOOD, "salt\ncream", None),
    (FOOD, "B\nB\nB", 1),
    (FOOD, "- salt", 0),
    # mentions
    (FOOD, "You should add salt here.", 0),
    (FOOD, "It needs sour cream, I think.", 1),
    (FOOD, "salt, cream", None),
    (FOOD, "salt or cream", None),
    (FOOD, "Both sour cream and cream.", None),
    (FOOD, "salty", None),
    (FOOD, "creamy", None),
    (FOOD, "not salt", None),
    (FOOD, "It isn't salt.", None),
    (FOOD, "It is not salt but cream.", 2),
    (FOOD, "red onion rather than salt", 3),
    (FOOD, "anything except cream", None),
    (FOOD, "I think it is (C).", 2),
    (FOOD, "Either (A) or (B).", None),
    (FOOD, "Option B fits, option A does not.", 1),
    (FOOD, "pepper", None),
    (FOOD, "I do not know.", None),
    (FOOD, "A dish needs taste.", None),  # "A" is an article here
    (FOOD, "I am not sure", None),  # "I" is no label
    (MAGNETS, "They will repel each other.", 1),
    (MAGNETS, "They attract or repel.", None),
    (PLANETS, "It is the red planet, Mars", 3),
    (NLI, "There is no doubt: yes", 0),  # "no" is no answer here
    (NLI, "Yes, it is certain.", 0),
    (NLI, "Not certain", None),
    # JSON
    (FOOD, '{"answer": "B"}', 1),
    (FOOD, '{"answer": "sour cream", "solution": "It is a dip with cream."}', 1),
    (FOOD, '{"answer": 2}', 1),
    (FOOD, '{"answer": 2.0}', 1),
    (FOOD, '{"Answer": "C. cream"}', 2),
    (FOOD, '{"choice": "red onion"}', 3),
    (FOOD, '{"final answer": "D"}', 3),
    (FOOD, '{"solution": "Salt is common, cream is not.", "answer": "A"}', 0),
    (FOOD, '```json\n{"answer": "B", "solution": "x"}\n```', 1),
    (FOOD, '```\n{"answer": "B"}\n```', 1),
    (FOOD, 'Here is my answer:\n{"answer": "C"}', 2),
    (FOOD, '{"answer": ["B"]}', 1),
    (FOOD, '{"answer": ["A", "B"]}', None),
    (FOOD, '{"answer": {"choice": "D"}}', 3),
    (FOOD, '{"answer": ""}', None),
    (FOOD, '{"answer": null}', None),
    (FOOD, '{"answer": "pepper"}', None),
    (FOOD, '{"answer": "E"}', None),
    (FOOD, '{"result": {"answer": "x"}}', None),
    (FOOD, '["B"]', 1),
    (FOOD, '"cream"', 2),
    (FOOD, '{"answer": "B", "solution": "It is a', 1),
    (FOOD, '{"answer": "B" "solution": "x"}', 1),
    (FOOD, "{'answer': 'B'}", 1),
    (FOOD, "{answer: B}", 1),
    (FOOD, '{"answer": B}', 1),
    (FOOD, '{"answer": "sour cr', None),
    (FOOD, '{"answer":', None),
    (NLI, '{"answer": true}', None),
    (NUMBERS, '{"answer": 8}', 2),
    (NUMBERS, '{"answer": "4", "solution": "2 + 2 = 4"}', 1),
]  # fmt: skip


def test_the_table_is_large() -> None:
    assert len({(tuple(o), t) for o, t, _ in CASES}) >= 120


@pytest.mark.parametrize(("options", "text", "expected"), CASES, ids=[repr(t)[:50] for _, t, _ in CASES])
def test_outputs_as_models_write_them(options: list[str], text: str, expected: int | None) -> None:
    found = parse_answer(text, options)
    assert found.index == expected, found.reason
    assert found.reason


REASONS = [
    ("", "empty"),
    ("pepper", "names no option"),
    ("salt or cream", "names several options"),
    ("not salt", "only says which option is wrong"),
    ("A. cream", "the label and the text beside it are different options"),
    ("The answer is F.", "a label beyond the last option"),
]


@pytest.mark.parametrize(("text", "reason"), REASONS)
def test_the_reason_is_given(text: str, reason: str) -> None:
    assert parse_answer(text, FOOD) == Answer(None, reason)


def test_numbers_may_start_at_zero() -> None:
    assert parse_choice("0", FOOD, first_number=0) == 0
    assert parse_choice('{"answer": 3}', FOOD, first_number=0) == 3
    assert parse_choice("4", FOOD, first_number=0) == -1


def test_options_of_the_same_text_cannot_be_told_apart() -> None:
    assert parse_answer("SALT", ["salt", "Salt", "oil"]).index is None
    assert parse_answer("salt", ["salt", "salt", "oil"]).index is None


PIECES = st.sampled_from(
    [*FOOD, *NLI, "A", "b)", "(C)", "The answer is ", "not ", "{", "}", '"answer": ', "```json\n", "\n", " ", ". ", "2"]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=12).map("".join))
OPTIONS = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(FOOD + NLI)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, options=OPTIONS)
def test_any_text_gives_a_valid_index_or_a_reason(text: str, options: list[str]) -> None:
    found = parse_answer(text, options)
    assert found.index is None or 0 <= found.index < len(options)
    assert found.reason
    assert parse_choice(text, options) == (-1 if found.index is None else found.index)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(value=JSON, options=OPTIONS)
def test_any_json_gives_a_valid_index_or_a_reason(value: Any, options: list[str]) -> None:
    for text in (json.dumps({"answer": value}), json.dumps(value)):
        index = parse_answer(text, options).index
        assert index is None or 0 <= index < len(options)


WORDS = st.lists(st.sampled_from([*PLANETS, "red onion", "sour cream", "salt"]), min_size=2, max_size=5, unique=True)


@given(options=WORDS, data=st.data())
def test_every_usual_way_to_name_an_option_is_read(options: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(options) - 1))
    letter, text = "ABCDE"[index], options[index]
    for written in (text, letter, f"{letter}. {text}", f"The answer is {letter}.", f"The answer is {text}.",
                    json.dumps({"answer": letter}), json.dumps({"answer": text, "solution": "; ".join(options)}),
                    f"{index + 1}", f"({letter.lower()}) {text}"):  # fmt: skip
        assert parse_answer(written, options).index == index, written
    other = options[(index + 1) % len(options)]
    assert parse_answer(f"{text} and {other}", options).index is None
    assert fold(text) == text.lower()
