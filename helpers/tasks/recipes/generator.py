"""Little recipes without end, the same for the same seed; about 300 distinct words in all.

A dish keeps its signature ingredients (now and then one is left out); pantry extras, amounts, wording and
title style vary. So "which ingredient belongs in leek soup" is answerable from other leek soups, and
from nothing else. Ingredients and dishes stand in ``menu.toml``, which says how they are written.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from helpers.tasks.base import Row

_DATA = tomllib.loads(Path(__file__).with_name("menu.toml").read_text(encoding="utf-8"))
ROLES, MENU = _DATA["roles"], _DATA["menu"]
ROLE_OF = {name: role for role, (_, names) in ROLES.items() for name in names.split()}
# Counted things take a plural s in text; "peas" or "spinach" do not change.
COUNTED = {name for name, role in ROLE_OF.items() if role in ("count", "aromatic", "egg")} - {"garlic"}
TITLES = {"lentils": "lentil", "beans": "bean", "peas": "pea", "chickpeas": "chickpea"}
STYLES = ("", "", "", "easy", "quick", "simple", "classic", "country", "family", "summer", "winter", "sunday")
MINUTES = (2, 3, 4, 5, 8, 10, 12, 15, 20)
BAKING = (20, 25, 30, 35, 40, 45)
# Every dish as (category, title, [alternatives of each signature ingredient, the main first]).
DISHES: list[tuple[str, str, list[list[str]]]] = [
    (category, f"{TITLES.get(main, main)} {category}", [[main], *(part.split("/") for part in rest.split(", "))])
    for category, course in MENU.items()
    for main, rest in course["dishes"].items()
]


def recipes(seed: int) -> Iterator[Row]:
    """Recipes without end: id, title, category, ingredients, steps."""
    rng = random.Random(f"recipes-{seed}")
    for number in count():
        yield {"id": f"gen-{seed}-{number}", **_recipe(rng)}


def _recipe(rng: random.Random) -> Row:
    category, title, slots = rng.choice(DISHES)
    course = MENU[category]
    main, *signature = [rng.choice(slot) for slot in slots]
    if rng.random() < 0.2:
        signature.pop(rng.randrange(len(signature)))
    names = [main, *(name for name in course["base"] if name != main), *signature]
    named = {name for slot in slots for name in slot}.union(course["base"])
    extras = [name for name in course["pantry"] if name not in named]
    rng.shuffle(extras)
    names += extras[: rng.randint(1, min(3, 7 - len(names)))]
    rng.shuffle(names)
    style = rng.choice(STYLES)
    return {
        "title": f"{style} {title}".strip(),
        "category": category,
        "ingredients": [amount_line(name, rng) for name in names],
        "steps": _steps(category, names, rng),
    }


def amount_line(name: str, rng: random.Random) -> str:
    number = rng.randint(1, 4)
    return ROLES[ROLE_OF[name]][0].format(
        n=number,
        g=rng.choice((50, 100, 150, 200, 250, 300, 400, 500)),
        c=rng.choice(("1 cup", "2 cups", "3 cups")),
        t=rng.randint(1, 3),
        x=_plural(name) if number > 1 else name,
    )


def _plural(name: str) -> str:
    if name not in COUNTED:
        return name
    return name + ("es" if name.endswith(("to", "ch", "go")) else "s")


def _steps(category: str, names: list[str], rng: random.Random) -> list[str]:
    steps = []
    for stage in MENU[category]["stages"]:
        mine = [name for name in names if ROLE_OF[name] in stage["roles"]]
        wordings = stage["wordings"] if mine else stage["empty"]
        if wordings:
            wording = rng.choice(wordings)
            steps.append(wording.format(x=joined(mine), m=rng.choice(MINUTES), h=rng.choice(BAKING)))
    return steps


def joined(names: list[str]) -> str:
    """ "the leeks, the salt and the butter"; "" for none."""
    parts = [f"the {_plural(name)}" for name in names]
    if len(parts) > 1:
        parts = [", ".join(parts[:-1]), parts[-1]]
    return " and ".join(parts)
