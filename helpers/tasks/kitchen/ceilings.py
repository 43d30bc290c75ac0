"""How far a reader of only a part of a question can come: the best accuracy that the generator leaves to it.

Whoever sees a part of a generated question can do no better than to give the answer that is most probable given this
part, so the mean of that probability is the highest accuracy that can be expected (the Bayes rate). The generator draws
the answer before the scene and foods for each spot by themselves, so the probabilities are sums over few cases:

* ``of_question``: the question alone.
* ``of_text``: question and choices, with all that is known about the foods.
* ``of_picture``: question, choices and picture, seen by somebody who does not know what foods have: colours, places,
  states, and which food is which choice. Probability of each answer; where a question names visible properties only,
  this settles it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations, product
from math import prod
from typing import Any

from helpers.tasks.kitchen import logic, ontology
from helpers.tasks.kitchen.logic import And, Query, Replaces
from helpers.tasks.kitchen.menus import Menu
from helpers.tasks.kitchen.placing import Spot, foods_for, looks
from helpers.tasks.kitchen.scenes import Item, from_rows
from helpers.tasks.kitchen.wording import Part, positive

Row = Mapping[str, Any]


def of_question(row: Row, menu: Menu) -> float:
    """Probability of the most probable answer, given the question."""
    query = logic.parse(row["logic"])
    if query.kind != "which":
        return 1 / len(row["choices"])
    if isinstance(concept := query.concepts[0], Replaces):
        return max(_replacers(concept, menu).values())
    scope, asked = _parts(query)
    if positive(asked).visible:
        return 1 / len(foods_for(menu, Spot("", (*scope.parts, asked)), None, True))
    return 1 / len(foods_for(menu, Spot("", scope.parts), asked, True))


def of_text(row: Row) -> float:
    """Probability of the most probable answer, given question, choices and the ontology."""
    query = logic.parse(row["logic"])
    if not row["needs_picture"]:
        return 1.0
    # Of the choices two have what is asked, and either may be in the picture where it counts.
    return 1 / 2 if query.kind == "which" and row["needs_ontology"] else 1 / len(row["choices"])


def of_picture(row: Row, menu: Menu) -> dict[str, float]:
    """Answer → its probability, given question, choices and picture, and nothing of the ontology."""
    query, choices, items = logic.parse(row["logic"]), list(row["choices"]), from_rows(row["objects"])
    if not row["needs_ontology"]:
        return {choice: float(choice == choices[row["answer"]]) for choice in choices}
    if not row["needs_picture"]:
        return dict.fromkeys(choices, 1 / len(choices))
    if isinstance(concept := query.concepts[0], Replaces):
        return _normal(_replacing(concept, choices, items, menu))
    scope, asked = _parts(query)
    if query.kind == "which":
        return _normal(_which(scope, asked, choices, items, menu))
    return _normal(_flags(query, scope, asked, choices, items, menu))


def _parts(query: Query) -> tuple[And, Part]:
    """The scope and what is asked: the last part."""
    first, last = query.concepts[0], query.concepts[-1]
    assert isinstance(first, And) and isinstance(last, And)
    scope = {"every": first, "more": And()}.get(query.kind, And(first.parts[:-1]))
    return scope, last.parts[-1]


def _normal(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {answer: weight / total for answer, weight in weights.items()}


def _look(menu: Menu, pool: Sequence[str], spot: Spot, item: Item) -> float:
    """Probability that a food drawn from a pool looks like this one."""
    found = [looks(menu, name, spot) for name in pool]
    return sum((item.colour, item.state) in own and 1 / len(own) for own in found) / len(pool)


def _which(scope: And, asked: Part, choices: Sequence[str], items: Sequence[Item], menu: Menu) -> dict[str, float]:
    """Of the two choices in scope, one has what is asked: the more so, the more its look fits foods that have it."""
    inside = [item for item, fit in zip(items, logic.fits(scope, items), strict=True) if fit and item.food in choices]
    spot = Spot("", scope.parts)
    have, lack = (foods_for(menu, spot, asked, flag) for flag in (True, False))
    weights = dict.fromkeys(choices, 0.0)
    for item in inside:
        others = [other for other in inside if other is not item]
        weights[item.food] += _look(menu, have, spot, item) * prod(_look(menu, lack, spot, o) for o in others)
    return weights


def _flags(
    query: Query, scope: And, asked: Part, choices: Sequence[str], items: Sequence[Item], menu: Menu
) -> dict[str, float]:  # fmt: skip
    """Every way in which foods in scope may have what is asked, by answer: all of one answer are equally likely."""
    fits = logic.fits(scope, items)
    spots = {True: Spot("", scope.parts), False: Spot("", ())}
    inside = [item for item, fit in zip(items, fits, strict=True) if fit]
    chances = [
        {flag: _look(menu, foods_for(menu, spots[True], asked, flag), spots[True], item) for flag in (True, False)}
        for item in inside
    ]
    ways: dict[str, list[float]] = defaultdict(list)
    for flags in product((True, False), repeat=len(inside)):
        weight = prod(chance[flag] for chance, flag in zip(chances, flags, strict=True))
        ways[_answer(query, choices, inside, flags)].append(weight)
    return {answer: sum(ways[answer]) / len(ways[answer]) if ways[answer] else 0.0 for answer in choices}


def _answer(query: Query, choices: Sequence[str], inside: Sequence[Item], flags: Iterable[bool]) -> str:
    if query.kind == "more":
        first, second = (
            sum(flag for item, flag in zip(inside, flags, strict=True) if item.place == place) for place in choices[:2]
        )
        return choices[2] if first == second else choices[first < second]
    held = list(flags)
    if query.kind == "count":
        return str(sum(held))
    return "yes" if (any if query.kind == "exists" else all)(held) else "no"


def _pairs(concept: Replaces, menu: Menu) -> dict[tuple[str, str], tuple[list[str], list[str]]]:
    """Two foods of the kind that is to be replaced → what can replace only the first, and only the second."""
    asked = positive(concept.of.parts[-1])
    targets = [name for name in menu.foods if ontology.has(name, asked.attribute, asked.value)]
    able = {one: {n for n in menu.foods if ontology.can_replace(n, one)} - set(targets) for one in targets}
    found = {(a, b): (sorted(able[a] - able[b]), sorted(able[b] - able[a])) for a, b in permutations(targets, 2)}
    return {pair: both for pair, both in found.items() if all(both)}


def _replacers(concept: Replaces, menu: Menu) -> dict[str, float]:
    """Food → probability that it is the answer, given the question."""
    asked, weights = positive(concept.of.parts[-1]), defaultdict[str, float](float)
    if asked.attribute == "food":
        able = [name for name in menu.foods if ontology.can_replace(name, asked.value)]
        return dict.fromkeys(able, 1 / len(able))
    pairs = _pairs(concept, menu)
    for right, _ in pairs.values():
        for name in right:
            weights[name] += 1 / len(right) / len(pairs)
    return weights


def _replacing(concept: Replaces, choices: Sequence[str], items: Sequence[Item], menu: Menu) -> dict[str, float]:
    """Which foods are of that kind and what replaces them is not known: only how such foods look."""
    spot, pairs = Spot("", ()), _pairs(concept, menu)
    shown = {item.food: item for item in items if item.food in choices}
    rest = [item for item in items if item.food not in choices]
    place = next((positive(part).value for part in concept.of.parts if positive(part).attribute == "place"), "")
    rest.sort(key=lambda item: bool(place) and item.place != place)  # the one that is meant comes first
    targets = {name for pair in pairs for name in pair}
    asked = positive(concept.of.parts[-1])
    kind = [name for name in menu.foods if ontology.has(name, asked.attribute, asked.value)]
    able = {name for name in menu.foods for one in kind if ontology.can_replace(name, one)}
    other = [name for name in menu.foods if name not in kind and name not in able]
    assert targets
    weights = dict.fromkeys(choices, 0.0)
    for right, near in permutations(shown, 2):
        left = [item for name, item in shown.items() if name not in (right, near)]
        plain = _distinct(menu, other, spot, left)
        for pair, (only_first, only_second) in pairs.items():
            seen = prod(_look(menu, [name], spot, item) for name, item in zip(pair, rest, strict=False))
            fit = _look(menu, only_first, spot, shown[right]) * _look(menu, only_second, spot, shown[near])
            weights[right] += seen * fit * plain
    return weights


def _distinct(menu: Menu, pool: Sequence[str], spot: Spot, items: Sequence[Item]) -> float:
    """Probability that different foods drawn from a pool look like these."""
    if len(items) < 2:
        return prod(_look(menu, pool, spot, item) for item in items)
    first, second = ([_look(menu, [name], spot, item) for name in pool] for item in items)
    same = sum(a * b for a, b in zip(first, second, strict=True))
    return (sum(first) * sum(second) - same) / (len(pool) * (len(pool) - 1))
