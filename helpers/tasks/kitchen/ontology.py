"""What is known about foods: their kinds, what is in them, where they grow, what they go into, what they can replace.

The facts are data (``foods.toml``, which names the source of each); here they are read, and what has to hold between
them is written down as rules (``inconsistencies``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.hints import nearest_and_all

_LISTED: dict[str, Any] = tomllib.loads(Path(__file__).with_name("foods.toml").read_text(encoding="utf-8"))
SOURCES: dict[str, dict[str, Any]] = _LISTED["sources"]  # id → title, url, says (which facts), note
KINDS: dict[str, dict[str, str]] = _LISTED["kinds"]  # kind → of (plant, animal or either), one, many (how it is said)
DISHES: dict[str, list[str]] = _LISTED["dishes"]  # dish → foods that go into it
GROWS = ("tree", "bush", "vine", "ground")
CONTAINS = ("gluten", "nuts")


@dataclass(frozen=True)
class Food:
    """A food with its facts; see the head of ``foods.toml``."""

    name: str
    kind: str
    vegan: bool
    contains: tuple[str, ...] = ()
    grows: str = ""
    made: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()


def _food(name: str, facts: dict[str, Any]) -> Food:
    lists = {key: tuple(facts.get(key, ())) for key in ("contains", "made", "replaces")}
    return Food(name, facts["kind"], facts["vegan"], grows=facts.get("grows", ""), **lists)


FOODS: dict[str, Food] = {name: _food(name, facts) for name, facts in _LISTED["foods"].items()}

# Attribute → its values. These are the properties that an ontology is needed for; see ``scenes`` for the visible ones.
PROPERTIES: dict[str, tuple[str, ...]] = {
    "kind": tuple(KINDS),
    "vegan": ("yes",),
    "contains": CONTAINS,
    "grows": GROWS,
    "dish": tuple(DISHES),
}


def food(name: str) -> Food:
    """The food of that name.

    Raises:
        DataError: the ontology does not have it; names the nearest.
    """
    if name not in FOODS:
        raise DataError(f"the ontology has no food {name!r}", nearest_and_all(name, FOODS, "food"))
    return FOODS[name]


def has(name: str, attribute: str, value: str) -> bool:
    """Whether a food has a property, such as ``has("bread", "contains", "gluten")``.

    Raises:
        DataError: there is no such food or property.
    """
    known = food(name)
    if value not in PROPERTIES.get(attribute, ()):
        offered = [f"{a}={v}" for a, values in PROPERTIES.items() for v in values]
        raise DataError(
            f"foods have no property {attribute}={value}", nearest_and_all(f"{attribute}={value}", offered, "property")
        )
    if attribute == "dish":
        return name in DISHES[value]
    if attribute == "contains":
        return value in known.contains
    return known.vegan if attribute == "vegan" else getattr(known, attribute) == value


def can_replace(name: str, other: str) -> bool:
    """Whether a food can stand in for another in a recipe."""
    return other in food(name).replaces


def fact(name: str, attribute: str, value: str) -> str:
    """A property of a food, true or not, as one word: what generalisation to unseen pairs holds out."""
    return f"{name}|{attribute}={value}"


def inconsistencies() -> list[str]:
    """Facts that contradict each other, in words; [] where there are none.

    A vegan food is of no animal kind, and made of vegan foods only; what is made of an animal food is not vegan; what
    contains gluten is a grain product or made of one, and hands gluten on to what is made of it, as nuts do; what
    grows is a plant; nothing replaces itself; every food that a fact names is in the list, and each kind of fact has
    a source.
    """
    return list(_contradictions())


def _contradictions() -> Iterator[str]:
    for name, known in FOODS.items():
        origin = KINDS[known.kind]["of"] if known.kind in KINDS else ""
        parts = [FOODS[part] for part in known.made if part in FOODS]
        if not origin:
            yield f"{name} is of an unknown kind: {known.kind}"
        if strange := {*known.made, *known.replaces} - FOODS.keys():
            yield f"{name} names foods that are not in the list: {sorted(strange)}"
        if strange := set(known.contains) - set(CONTAINS) or {known.grows} - {"", *GROWS}:
            yield f"{name} has a property that there is not: {sorted(strange)}"
        if known.vegan and (origin == "animal" or not all(part.vegan for part in parts)):
            yield f"{name} is vegan, and of an animal kind or made of an animal food"
        if origin == "plant" and not known.vegan and all(part.vegan for part in parts):
            yield f"{name} is a plant food, made of no animal food, and yet not vegan"
        if missing := {held for part in parts for held in part.contains} - set(known.contains):
            yield f"{name} does not contain {sorted(missing)}, which it is made of"
        for held, kind in (("gluten", "grain"), ("nuts", "nut")):
            if held in known.contains and known.kind != kind and not any(held in part.contains for part in parts):
                yield f"{name} contains {held}, and is neither a {KINDS[kind]['one']} nor made of one"
        if known.kind == "nut" and "nuts" not in known.contains:
            yield f"{name} is a nut without nuts in it"
        if known.grows and origin != "plant":
            yield f"{name} grows, and is no plant"
        if name in known.replaces:
            yield f"{name} replaces itself"
        if name in known.made or any(name in part.made for part in parts):
            yield f"{name} is made of itself"
    for dish, foods in DISHES.items():
        if strange := set(foods) - FOODS.keys():
            yield f"{dish} names foods that are not in the list: {sorted(strange)}"
    stated = {"kind", "vegan", "contains", "grows", "made", "dishes", "replaces"}
    if missing := stated - {said for source in SOURCES.values() for said in source["says"]}:
        yield f"no source is given for {sorted(missing)}"
