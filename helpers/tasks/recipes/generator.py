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
        "ingredients": [_line(name, rng) for name in names],
        "steps": _steps(course, names, rng),
    }


def _line(name: str, rng: random.Random) -> str:
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
            steps.append(wording.format(x=_join(mine), m=rng.choice(MINUTES), h=rng.choice(BAKING)))
    return steps


def _wording(stage: Stage, used: bool, rng: random.Random) -> str:
    choices = stage.wordings if used else stage.empty
    return rng.choice(choices) if choices else ""


def _join(names: list[str]) -> str:
    parts = [f"the {_plural(name)}" for name in names]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""


_PEOPLE = ("she", "he", "the cook", "my friend", "a child", "the family", "they", "we")
_PLACES = ("table", "shelf", "bowl", "box", "pan", "pot", "jar", "bag", "oven", "kitchen", "garden", "market")
_GENERIC = (
    "{who} put the {a} next to the {b}.",
    "There is {la} near the {place}.",
    "{who} bought {la} and {lb} at the market.",
    "The {a} is on the {place}, and the {b} is in the {place2}.",
    "{who} ate the {a} with friends in {season}.",
    "A {place} with {la} was ready on {day}.",
    "{who} could not find the {a}, so the {place} was empty.",
    "The {a} is not in the {place}, but the {b} is.",
    "The title of the book was missing a word about the {a}.",
    "{who} wrote a list with an option, an answer and a question about the {b}.",
    "This recipe is {style}, that dish is {style2}.",
    "{instruction}",
    "{instruction}",
    "{instruction}",
)  # fmt: skip


def generic_text(n: int, seed: int = 0) -> list[str]:
    """``n`` kitchen sentences in the generator's vocabulary, to pretrain a tiny model on.

    Ingredients are drawn independently of each other and no dish is named, so nothing is said about what
    belongs together; single sentences only, so the shape of a recipe is not shown either.
    """
    rng = random.Random(f"kitchen-{seed}")
    names = sorted(ROLE_OF)
    stages = [stage for course in MENU.values() for stage in course.stages]
    nouns = sorted({course.noun for course in MENU.values()})
    styles = sorted({style for style in STYLES if style} | {"hot", "cold", "small", "large", "other"})
    out: list[str] = []
    while len(out) < n:
        some = rng.sample(names, rng.randint(1, 4))
        stage = rng.choice(stages)
        wording = rng.choice(stage.wordings + stage.empty)
        a, b = rng.sample(names, 2)
        text = rng.choice(_GENERIC).format(
            who=rng.choice(_PEOPLE),
            a=a,
            b=b,
            la=_line(a, rng),
            lb=_line(b, rng),
            place=rng.choice(_PLACES),
            place2=rng.choice(_PLACES),
            season=rng.choice(("summer", "winter", "spring")),
            day=rng.choice(("sunday", "monday", "friday")),
            style=rng.choice(styles),
            style2=f"{rng.choice(styles)} {rng.choice(nouns)}",
            instruction=wording.format(x=_join(some), m=rng.choice(MINUTES), h=rng.choice(BAKING)),
        )
        out.append(text[0].upper() + text[1:])
    return out
