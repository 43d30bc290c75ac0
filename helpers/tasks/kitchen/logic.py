"""Logical forms: questions about the foods of a scene, evaluated over what is seen and over the ontology.

A concept describes foods, a query asks about those that it fits. They are written as in description logic, in ASCII:

    which(colour=red and kind=fruit)                    count(not kind=fruit and place=left plate)
    exists(contains=gluten)                             every(place=left plate; vegan=yes)
    more(place=left plate and kind=fruit; place=right plate and kind=fruit)
    which(replaces(kind=dairy))

``every(A; B)`` is true where all that fits A fits B, ``replaces(A)`` fits what can stand in for some food that fits A.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from helpers.errors import DataError
from helpers.tasks.kitchen import ontology

VISIBLE = ("food", "colour", "place", "state")


class Seen(Protocol):
    """What a scene says about one food: its name, and the visible attributes."""

    @property
    def food(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def state(self) -> str: ...


@dataclass(frozen=True)
class Is:
    """Foods with one property, visible or of the ontology."""

    attribute: str
    value: str

    def __str__(self) -> str:
        return f"{self.attribute}={self.value}"

    @property
    def visible(self) -> bool:
        return self.attribute in VISIBLE


@dataclass(frozen=True)
class Not:
    of: Is

    def __str__(self) -> str:
        return f"not {self.of}"


@dataclass(frozen=True)
class And:
    """Foods that fit every part; without parts: all foods."""

    parts: tuple[Is | Not, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(str, self.parts)) or "any"


@dataclass(frozen=True)
class Replaces:
    """Foods that can stand in for some food of the scene that fits ``of``."""

    of: And

    def __str__(self) -> str:
        return f"replaces({self.of})"


Concept = And | Replaces
KINDS = ("which", "count", "exists", "every", "more")


@dataclass(frozen=True)
class Query:
    """A question: its kind, and one concept, or two for ``every`` and ``more``."""

    kind: str
    concepts: tuple[Concept, ...]

    def __str__(self) -> str:
        return f"{self.kind}({'; '.join(map(str, self.concepts))})"


def fits(concept: Concept, scene: Sequence[Seen]) -> list[bool]:
    """For each food of the scene whether it fits."""
    if isinstance(concept, Replaces):
        wanted = [item.food for item, fit in zip(scene, fits(concept.of, scene), strict=True) if fit]
        return [any(ontology.can_replace(item.food, other) for other in wanted) for item in scene]
    return [all(_holds(part, item) for part in concept.parts) for item in scene]


def _holds(part: Is | Not, item: Seen) -> bool:
    if isinstance(part, Not):
        return not _holds(part.of, item)
    if part.visible:
        return bool(getattr(item, part.attribute) == part.value)
    return ontology.has(item.food, part.attribute, part.value)


def evaluate(query: Query, scene: Sequence[Seen]) -> str:
    """The answer as a text: names of foods joined by " and " (sorted, each once; "nothing"), a number, yes or no.

    For ``more`` it is "first", "second" or "equal".
    """
    found = [fits(concept, scene) for concept in query.concepts]
    if query.kind == "which":
        names = sorted({item.food for item, fit in zip(scene, found[0], strict=True) if fit})
        return " and ".join(names) or "nothing"
    if query.kind == "count":
        return str(sum(found[0]))
    if query.kind == "exists":
        return "yes" if any(found[0]) else "no"
    if query.kind == "every":
        return "yes" if all(second for first, second in zip(*found, strict=True) if first) else "no"
    one, other = map(sum, found)
    return "equal" if one == other else "first" if one > other else "second"


def atoms(query: Query) -> list[Is]:
    """The properties that a query names, each once, in order."""
    found = []
    for concept in query.concepts:
        inner = concept.of if isinstance(concept, Replaces) else concept
        found += [part.of if isinstance(part, Not) else part for part in inner.parts]
    return list(dict.fromkeys(found))


def depth(query: Query) -> int:
    """Steps of reasoning: the different properties to be looked up, and one for a relation between foods."""
    return len(atoms(query)) + sum(isinstance(concept, Replaces) for concept in query.concepts)


def needs_ontology(query: Query) -> bool:
    """Whether the names of the foods are not enough: a property that cannot be seen, or a relation."""
    related = any(isinstance(concept, Replaces) for concept in query.concepts)
    return related or not all(atom.visible for atom in atoms(query))


def parse(written: str) -> Query:
    """The query that ``str`` wrote.

    Raises:
        DataError: it is no query; says which part is not understood.
    """
    outer = re.fullmatch(r"(\w+)\((.*)\)", written.strip())
    if outer is None or outer[1] not in KINDS:
        raise DataError(f"no logical form: {written!r}", f"Begin with one of {', '.join(f'{k}(…)' for k in KINDS)}")
    concepts = tuple(map(_concept, outer[2].split(";")))
    if len(concepts) != (2 if outer[1] in ("every", "more") else 1):
        raise DataError(f"{outer[1]} has {len(concepts)} concepts: {written!r}", "Separate two by a semicolon")
    return Query(outer[1], concepts)


def _concept(written: str) -> Concept:
    inner = re.fullmatch(r"replaces\((.*)\)", written.strip())
    if inner:
        return Replaces(_and(inner[1]))
    return _and(written)


def _and(written: str) -> And:
    if written.strip() == "any":
        return And()
    return And(tuple(map(_part, re.split(r"\s+and\s+", written.strip()))))


def _part(written: str) -> Is | Not:
    found = re.fullmatch(r"(not\s+)?(\w+)=(.+)", written.strip())
    if found is None or found[2] not in (*VISIBLE, *ontology.PROPERTIES):
        raise DataError(f"no property in a logical form: {written!r}", "Write attribute=value, such as colour=red")
    atom = Is(found[2], found[3])
    if not atom.visible:
        ontology.has("apple", atom.attribute, atom.value)  # raises for a value that there is not
    return Not(atom) if found[1] else atom
