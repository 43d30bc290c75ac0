"""Scenes: which foods lie where, as attributes, as text and as the columns of a row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from helpers.errors import DataError
from helpers.hints import nearest_and_all
from helpers.tasks.kitchen import ontology
from helpers.tasks.kitchen.drawings import COLOURS, DRAWN

STATES = ("whole", "cut")
# Layout → its places, in reading order, each with the centres of 1, 2, 3 … foods on it, in 96ths of the picture.
_COLUMN = {1: (48,), 2: (27, 69), 3: (20, 48, 76)}
_GRID = {
    1: ((48, 48),),
    2: ((27, 48), (69, 48)),
    3: ((27, 28), (69, 28), (48, 68)),
    4: ((27, 28), (69, 28), (27, 68), (69, 68)),
    5: ((20, 28), (48, 28), (76, 28), (32, 68), (64, 68)),
    6: ((20, 28), (48, 28), (76, 28), (20, 68), (48, 68), (76, 68)),
}
Spots = Mapping[int, Sequence[tuple[float, float]]]
LAYOUTS: dict[str, dict[str, Spots]] = {
    "plates": {
        f"{side} plate": {n: tuple((x, y) for y in ys) for n, ys in _COLUMN.items()}
        for side, x in (("left", 25), ("right", 71))
    },
    "shelves": {
        f"{side} shelf": {n: tuple((x, y) for x in xs) for n, xs in _COLUMN.items()}
        for side, y in (("top", 26), ("bottom", 71))
    },
    "board": {"board": _GRID},
}
PLACES = tuple(place for places in LAYOUTS.values() for place in places)


@dataclass(frozen=True)
class Item:
    """One food in a scene. ``x``, ``y``: its centre, as shares of the picture's width and height."""

    food: str
    colour: str
    place: str
    state: str = "whole"
    x: float = 0.0
    y: float = 0.0

    @property
    def shape(self) -> str:
        return str(DRAWN[self.food]["shape"]) if self.food in DRAWN else ""

    def as_row(self) -> dict[str, Any]:
        """The structured attributes of a row's column ``objects``."""
        return {**asdict(self), "shape": self.shape}


@dataclass(frozen=True)
class Scene:
    """A layout with the foods on it, in reading order."""

    layout: str
    items: tuple[Item, ...]


def layout_of(items: Iterable[Item]) -> str:
    """The layout that has the places of these foods.

    Raises:
        DataError: no layout has all of them.
    """
    places = {item.place for item in items}
    for name, own in LAYOUTS.items():
        if places <= own.keys():
            return name
    raise DataError(f"no layout has the places {sorted(places)}", f"Places: {', '.join(PLACES)}")


def arranged(layout: str, items: Iterable[Item]) -> Scene:
    """A scene whose foods have their centres: each place shares its room between the foods on it, in order."""
    found = []
    for place, spots in LAYOUTS[layout].items():
        here = [item for item in items if item.place == place]
        for item, (x, y) in zip(here, spots[len(here)] if here else (), strict=True):
            found.append(replace(item, x=round(x / 96, 3), y=round(y / 96, 3)))
    return Scene(layout, tuple(found))


def from_rows(objects: Iterable[Mapping[str, Any]]) -> list[Item]:
    """The foods that a row's column ``objects`` holds.

    Raises:
        DataError: a food, colour, place or state that there is not; names the nearest.
    """
    return [
        _checked(Item(**{name: row.get(name) or default for name, default in _DEFAULTS.items()})) for row in objects
    ]


_DEFAULTS: dict[str, Any] = {"food": "", "colour": "", "place": "", "state": "whole", "x": 0.0, "y": 0.0}


def _checked(item: Item) -> Item:
    ontology.food(item.food)
    for what, value, known in (
        ("colour", item.colour, (*COLOURS, "")), ("place", item.place, (*PLACES, "")), ("state", item.state, STATES),
    ):  # fmt: skip
        if value not in known:
            raise DataError(f"there is no {what} {value!r}", nearest_and_all(str(value), known, what))
    return item


def describe(items: Sequence[Item]) -> str:
    """The scene in words, as a model that sees should say it: "left plate: red apple, 2 cut green pepper; right …".

    Every place is named, in reading order; equal foods of a place are counted. ``read_description`` reads it.
    """
    said = []
    for place in LAYOUTS[layout_of(items)] if items else ():
        counted = Counter(_words(item) for item in items if item.place == place)
        listed = [words if count == 1 else f"{count} {words}" for words, count in counted.items()]
        said.append(f"{place}: {', '.join(listed) or 'nothing'}")
    return "; ".join(said) or "nothing"


def _words(item: Item) -> str:
    return " ".join(part for part in ("cut" if item.state == "cut" else "", item.colour, item.food) if part)


def read_description(written: str) -> tuple[list[Item], list[str]]:
    """The foods that a text in the form of ``describe`` names, and the parts of it that cannot be read."""
    items: list[Item] = []
    strange: list[str] = []
    for part in filter(None, map(str.strip, re.split(r"[;\n]", written.strip().rstrip(".")))):
        place, colon, listed = part.partition(":")
        if not colon or place.strip().lower() not in PLACES:
            strange += [part] if part != "nothing" else []
            continue
        for words in filter(None, map(str.strip, listed.split(","))):
            found = _read_food(words.lower(), place.strip().lower())
            if found:
                items += found
            elif words != "nothing":
                strange.append(words)
    return items, strange


def _read_food(words: str, place: str) -> list[Item]:
    found = re.fullmatch(rf"(?:(\d)\s+)?(cut\s+)?(?:({'|'.join(COLOURS)})\s+)?(.+)", words)
    if found is None or found[4] not in ontology.FOODS:
        return []
    return [Item(found[4], found[3] or "", place, "cut" if found[2] else "whole")] * int(found[1] or 1)
