"""Little recipes without end, the same for the same seed; about 300 distinct words in all.

A dish keeps its signature ingredients (now and then one is left out); pantry extras, amounts, wording and
title style vary. So "which ingredient belongs in leek soup" is answerable from other leek soups, and
from nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from helpers.tasks.base import Row
from helpers.tasks.recipes.menu import MENU, ROLE_OF, ROLES, Course, Stage

# Counted things take a plural s in text; "peas" or "spinach" do not change.
COUNTED = {name for role in ("count", "aromatic", "egg") for name in ROLES[role][1].split()} - {"garlic"}
TITLES = {"lentils": "lentil", "beans": "bean", "peas": "pea", "chickpeas": "chickpea"}
STYLES = ("", "", "", "easy", "quick", "simple", "classic", "country", "family", "summer", "winter", "sunday")
MINUTES = (2, 3, 4, 5, 8, 10, 12, 15, 20)
BAKING = (20, 25, 30, 35, 40, 45)


def recipes(seed: int) -> Iterator[Row]:
    """Recipes without end: id, title, category, ingredients, steps."""
    rng = random.Random(f"recipes-{seed}")
    number = 0
    while True:
        yield {"id": f"gen-{seed}-{number}", **_recipe(rng)}
        number += 1


def dish_specs() -> Iterator[tuple[str, str, list[list[str]]]]:
    """Every dish as (category, title, [alternatives of each signature ingredient, the main first])."""
    for category, course in MENU.items():
        for line in course.dishes:
            main, _, rest = line.partition(": ")
            title = f"{TITLES.get(main, main)} {course.noun}"
            yield category, title, [[main], *(part.split("/") for part in rest.split(", "))]


_DISHES = list(dish_specs())


def _recipe(rng: random.Random) -> Row:
    category, title, slots = rng.choice(_DISHES)
    course = MENU[category]
    main, *signature = [rng.choice(slot) for slot in slots]
    if rng.random() < 0.2:
        signature.pop(rng.randrange(len(signature)))
    names = [main, *(name for name in course.base if name != main), *signature]
    named = {name for slot in slots for name in slot}
    extras = [name for name in course.pantry if name not in named and name not in course.base]
    rng.shuffle(extras)
    names += extras[: rng.randint(1, min(3, 7 - len(names)))]
    rng.shuffle(names)
    style = rng.choice(STYLES)
    return {
        "title": f"{style} {title}".strip(),
        "category": category,
        "ingredients": [amount_line(name, rng) for name in names],
        "steps": _steps(course, names, rng),
    }


def amount_line(name: str, rng: random.Random) -> str:
    count = rng.randint(1, 4)
    text = ROLES[ROLE_OF[name]][0].format(
        n=count,
        g=rng.choice((50, 100, 150, 200, 250, 300, 400, 500)),
        c=rng.choice(("1 cup", "2 cups", "3 cups")),
        t=rng.randint(1, 3),
        x=_plural(name) if name in COUNTED and count > 1 else name,
    )
    return text


def _plural(name: str) -> str:
    if name not in COUNTED:
        return name
    return name + ("es" if name.endswith(("to", "ch", "go")) else "s")


def _steps(course: Course, names: list[str], rng: random.Random) -> list[str]:
    steps = []
    for stage in course.stages:
        mine = [name for name in names if ROLE_OF[name] in stage.roles]
        wording = _wording(stage, bool(mine), rng)
        if wording:
            steps.append(wording.format(x=joined(mine), m=rng.choice(MINUTES), h=rng.choice(BAKING)))
    return steps


def _wording(stage: Stage, used: bool, rng: random.Random) -> str:
    choices = stage.wordings if used else stage.empty
    return rng.choice(choices) if choices else ""


def joined(names: list[str]) -> str:
    parts = [f"the {_plural(name)}" for name in names]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""
