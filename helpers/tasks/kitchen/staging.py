"""Scenes for plans: foods for every spot, so that the answer that was drawn is true and nothing else tells it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import product

from helpers.tasks.kitchen import logic, ontology
from helpers.tasks.kitchen.logic import And, Is
from helpers.tasks.kitchen.menus import Menu
from helpers.tasks.kitchen.placing import Infeasible, Spot, foods_for, looks, put, room, spots
from helpers.tasks.kitchen.plans import Plan, flipped
from helpers.tasks.kitchen.scenes import LAYOUTS, Item, Scene, arranged
from helpers.tasks.kitchen.wording import positive

MOST_CHOICES = 4


def counted(drawn: Plan, menu: Menu, answer: str, rng: random.Random) -> Scene:
    """A scene for a question that counts, or asks for some or all: the scope first, then what is asked of it."""
    size = within = rng.randint(*menu.sizes)
    if drawn.scope.parts:
        narrow = any(isinstance(part, Is) and part.attribute == "place" for part in drawn.scope.parts)
        most = menu.row if narrow else min(size, 2 * menu.row - 1)
        within = menu.row if drawn.query.kind == "count" else rng.randint(2, max(2, most - 1))
    scope = [True] * within + [False] * (size - within)
    rng.shuffle(scope)
    truths = [flags for flags in product((True, False), repeat=size) if _true(drawn.query.kind, scope, flags) == answer]
    if not truths:
        raise Infeasible
    return _filled(drawn, menu, scope, rng.choice(truths), rng)


def _true(kind: str, scope: Sequence[bool], flags: Sequence[bool]) -> str:
    """The answer where ``flags`` say for which foods holds what is asked."""
    inside = [flag for flag, counted in zip(flags, scope, strict=True) if counted]
    if kind == "count":
        return str(sum(inside))
    return "yes" if (any if kind == "exists" else all)(inside) else "no"


def _filled(drawn: Plan, menu: Menu, scope: Sequence[bool], flags: Sequence[bool], rng: random.Random) -> Scene:
    """Foods for every spot, each drawn for itself."""
    items = []
    for spot, flag in zip(spots(drawn, menu, scope, flags, rng), flags, strict=True):
        fitting = foods_for(menu, spot, drawn.asked if drawn.known else None, flag)
        if drawn.known and not foods_for(menu, spot, drawn.asked, not flag):
            raise Infeasible  # the spot would tell the answer
        items.append(put(menu, rng.choice(fitting), spot, rng))
    return arranged(drawn.layout, rng.sample(items, len(items)))


def comparing(drawn: Plan, menu: Menu, answer: str, rng: random.Random) -> Scene:
    """As many foods in one place as in the other; what is asked holds for more in one, or equally often."""
    each = rng.randint(2, menu.row) if menu.row > 2 else menu.row
    halves = list(product(product((True, False), repeat=each), repeat=2))
    sign = (1, -1, 0)[drawn.choices.index(answer)]
    signs = [(sum(one) > sum(other)) - (sum(one) < sum(other)) for one, other in halves]
    flags = rng.choice([half for half, found in zip(halves, signs, strict=True) if found == sign])
    items = []
    for place, part in zip(drawn.choices, flags, strict=False):
        for flag in part:
            spot = Spot(place, () if drawn.known else (drawn.asked if flag else flipped(drawn.asked),))
            fitting = foods_for(menu, spot, drawn.asked if drawn.known else None, flag)
            items.append(put(menu, rng.choice(fitting), spot, rng))
    return arranged(drawn.layout, items)


def chosen(drawn: Plan, menu: Menu, rng: random.Random) -> tuple[Scene, str, list[str]]:
    """A scene for a question after a food: two choices are in scope and two are not, and of each two, one has it.

    What is asked and can be seen holds for one choice in scope.
    """
    inside = Spot("", drawn.scope.parts)
    if drawn.known:
        pools = [foods_for(menu, inside, drawn.asked, flag) for flag in (True, False)]
        if min(map(len, pools)) < 2:
            raise Infeasible
        names = [name for pool in pools for name in rng.sample(pool, 2)]
        flags, scope = [True, True, False, False], [True, False, True, False]
    else:
        pool = foods_for(menu, Spot("", (*drawn.scope.parts, drawn.asked)), None, True)
        if len(pool) < 2:
            raise Infeasible
        names = rng.sample(pool, min(MOST_CHOICES, len(pool)))
        flags, scope = [True, False, True, False][: len(names)], [True, True, False, False][: len(names)]
        if not drawn.scope.parts:
            flags, scope = [True, *[False] * (len(names) - 1)], [True] * len(names)
    items = []
    seen_only = drawn.known and not drawn.scope.parts  # what is in the picture at all is in scope
    placed = spots(drawn, menu, scope, flags, rng)
    for name, spot, counted in zip(names, placed, scope, strict=True):
        if (counted or not seen_only) and looks(menu, name, spot):
            items.append(put(menu, name, spot, rng))
    items += _others(drawn, menu, names, items, rng)
    return arranged(drawn.layout, rng.sample(items, len(items))), names[0], names[1:]


def _others(drawn: Plan, menu: Menu, names: Sequence[str], items: Sequence[Item], rng: random.Random) -> list[Item]:
    """Foods that are no choice and do not matter, up to a scene's size and as far as there is room."""
    seen_only = not drawn.scope.parts
    added: list[Item] = []
    rest = [name for name in menu.foods if name not in names]
    for _ in range(rng.randint(*menu.sizes) - len(items)):
        taken = [*items, *added]
        spot = spots(drawn, menu, [seen_only], [False], rng, taken)[0]
        pool = [
            n for n in foods_for(menu, spot, drawn.asked if drawn.known and seen_only else None, False) if n in rest
        ]
        if pool:
            added.append(put(menu, rng.choice(pool), spot, rng))
            rest.remove(added[-1].food)
    return added


def related(drawn: Plan, menu: Menu, rng: random.Random) -> tuple[Scene, str, list[str]]:
    """A scene with one food of a kind, what can replace it, what can replace another of that kind, and two others."""
    asked = positive(drawn.asked)
    targets = [name for name in menu.foods if ontology.has(name, asked.attribute, asked.value)]
    able = {one: {name for name in menu.foods if ontology.can_replace(name, one)} - set(targets) for one in targets}
    pairs = [
        (one, other) for one, other in product(targets, repeat=2) if able[one] - able[other] and able[other] - able[one]
    ]
    if not pairs:
        raise Infeasible
    one, other = rng.choice(pairs)
    right, near = rng.choice(sorted(able[one] - able[other])), rng.choice(sorted(able[other] - able[one]))
    rest = [name for name in menu.foods if name not in targets and not any(name in able[t] for t in targets)]
    names = [right, near, *rng.sample(rest, 2)]
    # With a place, the other food of that kind lies elsewhere. What does not matter is there as far as there is room.
    first = [one, other] if drawn.scope.parts else [one]
    shown = [*first, *names][: sum(room(menu, place) for place in LAYOUTS[drawn.layout])]
    scope: list[bool | None] = [True, False] if drawn.scope.parts else [None]
    placed = spots(drawn, menu, [*scope, *[None] * (len(shown) - len(scope))], [False] * len(shown), rng)
    items = [put(menu, name, spot, rng) for name, spot in zip(shown, placed, strict=True)]
    return arranged(drawn.layout, rng.sample(items, len(items))), right, names[1:]


def recalled(drawn: Plan, menu: Menu, rng: random.Random) -> list[str]:
    """The right choice, then three others, for a question that needs no picture."""
    asked, groups = positive(drawn.asked), defaultdict(list)
    for name in menu.foods:
        if logic.depth(drawn.query) == 2:
            groups[ontology.can_replace(name, asked.value)].append(name)
        else:
            groups[logic.fits(And((drawn.asked,)), [Item(name, "", "")])[0]].append(name)
    others = [name for name in groups[False] if name != asked.value]
    if not groups[True] or len(others) < MOST_CHOICES - 1:
        raise Infeasible
    return [rng.choice(groups[True]), *rng.sample(others, MOST_CHOICES - 1)]
