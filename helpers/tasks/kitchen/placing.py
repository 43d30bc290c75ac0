"""Where foods lie and how they look: spots of a scene, and the foods that can fill them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from helpers.tasks.kitchen import logic
from helpers.tasks.kitchen.drawings import DRAWN
from helpers.tasks.kitchen.logic import And, Not
from helpers.tasks.kitchen.menus import Menu
from helpers.tasks.kitchen.plans import Plan, flipped
from helpers.tasks.kitchen.scenes import LAYOUTS, Item
from helpers.tasks.kitchen.wording import Part, positive

TRIES = 60
BOARD = 6  # foods on a board at most


class Infeasible(Exception):
    """No scene can be found for a plan."""


class Spot(NamedTuple):
    """A place ("" for any) and what the food there must look like."""

    place: str
    wanted: tuple[Part, ...]


@lru_cache(maxsize=20_000)
def looks(menu: Menu, name: str, spot: Spot) -> tuple[tuple[str, str], ...]:
    """The colours and states in which a food fits a spot; parts about places are left to ``spots``."""
    parts = And(tuple(part for part in spot.wanted if positive(part).attribute != "place"))
    states = ("whole", "cut") if menu.cut and DRAWN[name].get("cut") else ("whole",)
    every = [(colour, state) for colour in menu.foods[name] for state in states]
    return tuple(look for look in every if logic.fits(parts, [Item(name, look[0], "", look[1])])[0])


@lru_cache(maxsize=20_000)
def foods_for(menu: Menu, spot: Spot, asked: Part | None, flag: bool) -> tuple[str, ...]:
    """The foods that fit a spot and for which ``asked`` holds, or not, as ``flag`` says; with None: all that fit."""
    found = [name for name in menu.foods if looks(menu, name, spot)]
    if asked is not None:
        found = [name for name in found if logic.fits(And((asked,)), [Item(name, "", "")])[0] == flag]
    if not found:
        raise Infeasible
    return tuple(found)


def put(menu: Menu, name: str, spot: Spot, rng: random.Random) -> Item:
    """The food at its spot, looking like any of the ways that fit."""
    colour, state = rng.choice(looks(menu, name, spot))
    return Item(name, colour, spot.place, state)


def spots(
    plan: Plan, menu: Menu, scope: Sequence[bool | None], flags: Sequence[bool], rng: random.Random,
    taken: Iterable[Item] = (),
) -> list[Spot]:  # fmt: skip
    """A spot for each food: what it must look like to be in scope or not (None: either), and where it then lies.

    A food out of scope misses it by one property, any of them. What is asked and can be seen is part of the look.

    Raises:
        Infeasible: there is no room.
    """
    before = list(taken)
    for _ in range(TRIES):
        found: list[Spot] = []
        for counted, flag in zip(scope, flags, strict=True):
            wanted = _wanted(plan.scope.parts, counted, rng)
            if not plan.known and plan.form != "relation":
                wanted = (*wanted, plan.asked if flag else flipped(plan.asked))
            used = Counter([*(item.place for item in before), *(spot.place for spot in found)])
            free = [place for place in LAYOUTS[plan.layout] if used[place] < room(menu, place)]
            places = [place for place in free if _allows(wanted, place)]
            if not places:
                break
            found.append(Spot(rng.choice(places), wanted))
        if len(found) == len(scope):
            return found
    raise Infeasible


def _wanted(parts: Sequence[Part], counted: bool | None, rng: random.Random) -> tuple[Part, ...]:
    if counted is None or not parts:
        return ()
    if counted:
        return tuple(parts)
    missed = rng.randrange(len(parts))
    return (*parts[:missed], flipped(parts[missed]))


def _allows(wanted: Iterable[Part], place: str) -> bool:
    about = [part for part in wanted if positive(part).attribute == "place"]
    return all((positive(part).value == place) != isinstance(part, Not) for part in about)


def room(menu: Menu, place: str) -> int:
    """How many foods a place holds."""
    return BOARD if place == "board" else menu.row
