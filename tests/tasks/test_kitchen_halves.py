"""The halves of a question: descriptions read back, and what follows from foods that were seen, rightly or not."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from helpers.errors import DataError
from helpers.tasks.kitchen import generator
from helpers.tasks.kitchen.halves import conclude, seen
from helpers.tasks.kitchen.menus import MENUS
from helpers.tasks.kitchen.scenes import Item, describe, from_rows


@pytest.fixture(scope="module", params=[(name, seed) for name in MENUS for seed in range(3)])
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    name, seed = request.param
    return [generator.row(q, str(i), False) for i, q in enumerate(islice(generator.questions(seed, MENUS[name]), 300))]


def test_from_what_is_there_follows_the_answer(rows: list[dict[str, Any]]) -> None:
    assert {row["form"] for row in rows} >= {"recall", "relation", "comparison", "two-step"}
    for row in rows:
        assert conclude(row, from_rows(row["objects"])) == row["answer"], row


def test_a_description_is_read_as_it_was_meant(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["scene"]:
            items, strange = seen(f"{row['scene'].capitalize()}.")
            assert not strange and describe(items) == row["scene"]


def test_where_foods_are_missing_the_conclusion_is_another_or_none(rows: list[dict[str, Any]]) -> None:
    """A food that is asked for and not seen cannot be found; seen in every place, it is found there."""
    asked = [row for row in rows if row["logic"].startswith("which") and row["needs_picture"]]
    assert asked
    for row in asked:
        right = row["choices"][row["answer"]]
        others = [item for item in from_rows(row["objects"]) if item.food != right]
        assert conclude(row, others) != row["answer"]
    assert all(conclude(row, []) == row["choices"].index("0") for row in rows if row["logic"].startswith("count"))


def test_only_choices_count_and_two_of_them_are_none() -> None:
    row = {"logic": "which(colour=red)", "choices": ["apple", "steak", "milk"], "needs_picture": True}
    red = [Item(name, "red", "left plate") for name in ("apple", "cherries", "steak")]
    assert conclude(row, red) == -1
    assert conclude(row, red[:2]) == 0
    assert conclude(row, red[1:2]) == -1


def test_of_two_layouts_the_one_with_more_foods_counts() -> None:
    foods = [Item("apple", "red", "left plate"), Item("milk", "white", "top shelf"), Item("bread", "brown", "board")]
    written = "Left plate: red apple, yellow cheese; top shelf: white milk; board: 2 purple nonsense."
    items, strange = seen(written)
    assert [item.food for item in items] == ["apple", "cheese"]
    assert sorted(strange) == ["2 purple nonsense", "top shelf: milk"]
    random.Random(0).shuffle(foods)
    text = "; ".join(f"{item.place}: {item.colour} {item.food}" for item in foods)
    assert [replace(item, x=0.0) for item in seen(text)[0]] == foods[:1], "of equals the first"
    assert seen("I see nothing of the kind") == ([], ["I see nothing of the kind"]) and describe([]) == "nothing"


def test_a_row_without_a_logical_form_is_refused() -> None:
    with pytest.raises(DataError, match="no logical form"):
        conclude({"logic": "", "choices": ["yes", "no"], "needs_picture": True}, [])
