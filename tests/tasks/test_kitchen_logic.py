"""Logical forms: the evaluator against a naive reference, the text form read back, depth counted by hand."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from helpers.errors import DataError
from helpers.tasks.kitchen.drawings import DRAWN
from helpers.tasks.kitchen.logic import And, Is, Not, Query, Replaces, depth, evaluate, needs_ontology, parse
from helpers.tasks.kitchen.ontology import FOODS
from helpers.tasks.kitchen.scenes import Item

SCENE = [
    Item("apple", "red", "left plate"),
    Item("apple", "green", "right plate"),
    Item("milk", "white", "left plate"),
    Item("pepper", "red", "right plate", "cut"),
    Item("soya milk", "white", "right plate"),
    Item("bread", "brown", "left plate"),
]


@pytest.mark.parametrize(
    ("written", "answer", "steps", "knowing"),
    [
        ("which(colour=red and kind=fruit)", "apple", 2, True),
        ("which(colour=red)", "apple and pepper", 1, False),
        ("which(colour=purple)", "nothing", 1, False),
        ("which(place=left plate and not kind=fruit and not kind=dairy)", "bread", 3, True),
        ("which(replaces(place=left plate and kind=dairy))", "soya milk", 3, True),
        ("which(replaces(food=milk))", "soya milk", 2, True),
        ("count(food=apple)", "2", 1, False),
        ("count(any)", "6", 0, False),
        ("count(not colour=red and place=right plate)", "2", 2, False),
        ("exists(contains=gluten)", "yes", 1, True),
        ("exists(contains=gluten and place=right plate)", "no", 2, True),
        ("every(place=left plate; vegan=yes)", "no", 2, True),
        ("every(place=right plate; vegan=yes)", "yes", 2, True),
        ("every(colour=purple; vegan=yes)", "yes", 2, True),
        ("every(state=cut; colour=red)", "yes", 2, False),
        ("more(place=left plate and colour=red; place=right plate and colour=red)", "equal", 3, False),
        ("more(place=left plate and kind=grain; place=right plate and kind=grain)", "first", 3, True),
    ],
)
def test_a_form_is_read_evaluated_and_measured(written: str, answer: str, steps: int, knowing: bool) -> None:
    query = parse(written)
    assert str(query) == written
    assert evaluate(query, SCENE) == answer
    assert depth(query) == steps and needs_ontology(query) is knowing


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("find(colour=red)", "no logical form"),
        ("which colour=red", "no logical form"),
        ("every(colour=red)", "every has 1 concepts"),
        ("which(colour=red; kind=fruit)", "which has 2 concepts"),
        ("which(red)", "no property in a logical form: 'red'"),
        ("which(size=large)", "no property in a logical form"),
        ("which(kind=fruits)", "no property kind=fruits"),
    ],
)
def test_what_is_no_form_is_refused(written: str, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        parse(written)


def holds(part: Is | Not, item: Item) -> bool:
    """A property by if and else, straight from the facts."""
    if isinstance(part, Not):
        return not holds(part.of, item)
    food = FOODS[item.food]
    if part.attribute == "kind":
        return food.kind == part.value
    if part.attribute == "vegan":
        return food.vegan
    if part.attribute == "contains":
        return part.value in food.contains
    return {"colour": item.colour, "place": item.place, "state": item.state, "food": item.food}[
        part.attribute
    ] == part.value


def reference(query: Query, scene: list[Item]) -> str:
    """The answer by sets of places in the scene."""

    def fitting(concept: Any) -> set[int]:
        if isinstance(concept, Replaces):
            meant = {scene[i].food for i in fitting(concept.of)}
            return {i for i, item in enumerate(scene) if meant & set(FOODS[item.food].replaces)}
        found = set(range(len(scene)))
        for part in concept.parts:
            found &= {i for i, item in enumerate(scene) if holds(part, item)}
        return found

    sets = [fitting(concept) for concept in query.concepts]
    if query.kind == "which":
        return " and ".join(sorted({scene[i].food for i in sets[0]})) or "nothing"
    if query.kind == "count":
        return str(len(sets[0]))
    if query.kind == "exists":
        return "yes" if sets[0] else "no"
    if query.kind == "every":
        return "yes" if sets[0] <= sets[1] else "no"
    return "equal" if len(sets[0]) == len(sets[1]) else "first" if len(sets[0]) > len(sets[1]) else "second"


def test_the_evaluator_agrees_with_a_naive_one_on_random_forms_and_scenes() -> None:
    rng = random.Random(0)
    atoms = [Is("colour", c) for c in ("red", "green", "white", "yellow")] + [Is("state", "cut"), Is("vegan", "yes")]
    atoms += [Is("kind", k) for k in ("fruit", "vegetable", "dairy")] + [Is("contains", "gluten"), Is("food", "apple")]
    atoms += [Is("place", p) for p in ("left plate", "right plate")]
    given = set()
    for _ in range(2000):
        foods = rng.choices(list(DRAWN), k=rng.randint(0, 6))
        scene = [
            Item(
                f,
                rng.choice(DRAWN[f]["colours"]),
                rng.choice(("left plate", "right plate")),
                rng.choice(("cut", "whole")),
            )
            for f in foods
        ]

        def concept() -> And:
            return And(tuple(a if rng.random() < 0.6 else Not(a) for a in rng.sample(atoms, rng.randint(0, 3))))

        kind = rng.choice(("which", "count", "exists", "every", "more"))
        concepts: tuple[Any, ...] = (concept(), concept()) if kind in ("every", "more") else (concept(),)
        if kind == "which" and rng.random() < 0.3:
            concepts = (Replaces(concept()),)
        query = Query(kind, concepts)
        assert evaluate(query, scene) == reference(query, scene), query
        assert parse(str(query)) == query
        given.add((kind, evaluate(query, scene)))
    assert len(given) > 40, "all kinds of answers came up"
