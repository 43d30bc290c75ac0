"""Captions read back, slots scored, and compositional splits against brute force."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import DataError
from helpers.tasks.zappos import caption, compositional, slots_right
from helpers.tasks.zappos.pairs import in_turn
from helpers.tasks.zappos.words import COLOURS, DRAWN, MATERIALS, SLOTS, material_of, read_caption, type_of


# ---------- words
@pytest.mark.parametrize(
    ("category", "subcategory", "phrase"),
    [
        ("Boots", "Ankle", "ankle boots"),
        ("Boots", "Over the Knee", "over the knee boots"),
        ("Boots", "Prewalker Boots", "prewalker boots"),
        ("Shoes", "Oxfords", "oxfords"),
        ("Shoes", "Sneakers and Athletic Shoes", "sneakers"),
        ("Shoes", "Clogs and Mules", "clogs"),
        ("Sandals", "Heel", "heel sandals"),
        ("Slippers", "Slipper Flats", "slipper flats"),
        ("Slippers", "Boot", "boot slippers"),
        ("Boots", "", "boots"),
        ("", "Mary_Janes", "mary janes"),
    ],
)
def test_types_of_the_release(category: str, subcategory: str, phrase: str) -> None:
    assert type_of(category, subcategory) == phrase


def test_drawn_types_are_those_their_folders_would_give() -> None:
    assert all(type_of(*folders) == kind for kind, folders in DRAWN.items())


@pytest.mark.parametrize(
    ("listed", "word"),
    [
        ("Leather", "leather"), ("Suede;Nubuck", "leather"), ("Full grain leather", "leather"), ("Canvas", "fabric"),
        ("Faux Leather", "synthetic"), ("Man-Made", "synthetic"), ("rubber", "rubber"), ("Leather;Rubber", ""),
        ("Leather;Cork", ""), ("Nylon", ""), ("", ""), (" ; ", ""), ("Wool;Cotton;Felt", "fabric"),
    ],
)  # fmt: skip
def test_materials_map_where_they_are_unambiguous(listed: str, word: str) -> None:
    assert material_of(listed) == word


def test_every_caption_is_read_back() -> None:
    for words in itertools.product(("", *DRAWN, "over the knee boots"), ("", *COLOURS), ("", *MATERIALS)):
        expected = {name: word or None for name, word in zip(SLOTS, words, strict=True)}
        assert read_caption(caption(*words)) == expected
        assert read_caption(caption(*words).upper() + ".") == expected
    assert caption("oxfords", "", "leather") == "A photo of oxfords with an unspecified color and leather material"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (None, None, None)),
        (None, (None, None, None)),
        ("sneakers with red colour and rubber material", ("sneakers", "red", "rubber")),
        ("A photo of a photo of  heels\nwith red color", ("heels", "red", None)),
        ("A photo of heels and rubber material", ("heels", None, "rubber")),
        ("A photo of the heels, with dark red color and rubber material.", ("heels", "dark red", "rubber")),
        ("a photo of heels with color and material", ("heels", None, None)),
        ("Sure! A photo of heels with red color and leather material and more", ("heels", "red", "leather")),
        ("a photo of with red color", (None, "red", None)),
        ("red", ("red", None, None)),
    ],
)
def test_captions_in_other_shapes(text: str | None, found: tuple[str | None, ...]) -> None:
    assert tuple(read_caption(text).values()) == found


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    assert set(read_caption(text)) == set(SLOTS)
    assert set(read_caption(f"A photo of {text} with {text} color and {text} material")) == set(SLOTS)


def test_unknown_attributes_have_no_caption() -> None:
    with pytest.raises(DataError, match="unknown colour 'green'"):
        caption("oxfords", "green", "leather")
    with pytest.raises(DataError, match="unknown material 'wood'"):
        caption("oxfords", "red", "wood")


# ---------- which words a caption has right
def test_slots_are_those_counted_by_hand() -> None:
    rng = random.Random(0)
    for words in itertools.product(DRAWN, COLOURS, MATERIALS):
        row = dict(zip(SLOTS, words, strict=True))
        other = {"type": list(DRAWN), "colour": COLOURS, "material": MATERIALS}
        kept = {name: rng.random() < share for name, share in zip(SLOTS, (0.9, 0.6, 0.3), strict=True)}
        said = caption(**{n: row[n] if kept[n] else rng.choice([w for w in other[n] if w != row[n]]) for n in SLOTS})
        assert slots_right(said, row) == slots_right(said, caption(**row)) == kept


def test_an_empty_caption_is_wrong_and_slots_without_truth_do_not_count() -> None:
    row = {"type": "heels", "colour": "red", "material": ""}
    assert slots_right("", row) == slots_right(None, row) == {"type": False, "colour": False}
    assert slots_right(caption("heels", "", "leather"), row) == {"type": True, "colour": False}
    assert slots_right("x", dict.fromkeys(SLOTS, "")) == {}


# ---------- compositional splits
def table(pairs: list[tuple[str, str]]) -> Dataset:
    return Dataset.from_dict(
        {"id": [str(i) for i in range(len(pairs))], "material": [s for s, _ in pairs], "type": [o for _, o in pairs]}
    )


def pairs_of(rows: Dataset) -> list[tuple[str, str]]:
    return list(zip(rows["material"], rows["type"], strict=True))


def check(rows: Dataset, split: Any) -> None:
    """Everything that has to hold, counted anew."""
    every = {pair for pair in pairs_of(rows) if all(pair)}
    seen, unseen = set(split.seen_pairs), set(split.unseen_pairs)
    assert seen | unseen == every and not seen & unseen and unseen
    for state, thing in unseen:
        assert any(state == s for s, _ in seen) and any(thing == o for _, o in seen)
    assert set(pairs_of(split.train)) == seen
    for part in (split.validation, split.test):
        found = set(pairs_of(part))
        assert found & seen and found & unseen and found <= every
    shown = [set(pairs_of(part)) & unseen for part in (split.validation, split.test)]
    assert not shown[0] & shown[1] and shown[0] | shown[1] == unseen and shown[1] == set(split.tested_pairs)
    ids = [row for part in (split.train, split.validation, split.test) for row in part["id"]]
    assert len(ids) == len(set(ids)) == len(rows) - split.left_out
    assert split.left_out == sum(not all(pair) for pair in pairs_of(rows))
    assert split.states == tuple(sorted({s for s, _ in every})) and split.objects == tuple(
        sorted({o for _, o in every})
    )


@given(st.integers(0, 10**6), st.floats(0.05, 0.5))
@settings(max_examples=40, deadline=None)
def test_splits_hold_what_they_promise_or_say_why_not(seed: int, share: float) -> None:
    rng = random.Random(seed)
    states, things = [f"s{i}" for i in range(rng.randint(1, 5))], [f"o{i}" for i in range(rng.randint(1, 6))]
    possible = list(itertools.product(states, things))
    possible = rng.sample(possible, rng.randint(1, len(possible)))
    rows = table([*(rng.choice(possible) for _ in range(rng.randint(1, 250))), *[("", "o0")] * rng.randint(0, 3)])
    every = {pair for pair in pairs_of(rows) if all(pair)}
    want = max(1, round(share * len(every)))
    try:
        split = compositional(rows, share, seed)
    except DataError as error:
        if "cannot be unseen" in str(error) and len(every) <= 12:
            # One pair can be held out exactly where its state and its object each have another.
            free = [p for p in every if all(sum(p[k] == q[k] for q in every) > 1 for k in (0, 1))]
            assert want > 1 or not free
        return
    assert len(split.unseen_pairs) == want
    check(rows, split)


def test_shoes_in_equal_numbers_are_split_evenly() -> None:
    rows = table([(m, t) for m, t in itertools.product(MATERIALS, DRAWN)] * 20)
    for seed in range(4):
        split = compositional(rows, 0.25, seed)
        check(rows, split)
        assert len(split.unseen_pairs) == 10 and set(Counter(t for _, t in split.unseen_pairs).values()) == {1}
        assert set(Counter(m for m, _ in split.unseen_pairs).values()) <= {2, 3}
        assert (len(split.train), len(split.validation), len(split.test)) == (480, 160, 160)
        per_pair = Counter(pairs_of(split.test))
        assert len(split.tested_pairs) == 5 and {per_pair[p] for p in split.tested_pairs} == {20}
        assert {per_pair[p] for p in split.seen_pairs} <= {1, 2, 3}
    assert len({compositional(rows, 0.25, seed).unseen_pairs for seed in range(4)}) == 4
    assert compositional(rows, 0.25, 3).test["id"] == compositional(rows, 0.25, 3).test["id"]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_out_of_range(share: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        compositional(table([("a", "x")] * 9), share)


def test_too_few_pairs_or_rows() -> None:
    with pytest.raises(DataError, match="cannot be unseen.*Lower unseen_share"):
        compositional(table([("a", "x"), ("b", "y")] * 20))
    with pytest.raises(DataError, match="too few"):
        compositional(table(list(itertools.product("ab", "xy"))))
    with pytest.raises(DataError, match="cannot be unseen|too few"):
        compositional(table([("", "")] * 9))


def test_a_stratified_order_is_fair_in_every_stretch() -> None:
    items = ["a"] * 600 + ["b"] * 300 + ["c"] * 100
    order = in_turn(items, lambda item: item, random.Random(0))
    assert Counter(order) == Counter(items)
    for start in range(0, 900, 50):
        found = Counter(order[start : start + 100])
        assert abs(found["a"] - 60) <= 2 and abs(found["b"] - 30) <= 2 and abs(found["c"] - 10) <= 2
    assert order != in_turn(items, lambda item: item, random.Random(1))
