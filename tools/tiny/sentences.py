"""Generic sentences in the words of three tasks' generators, to pretrain a tiny model on: no task is in them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from helpers.tasks.dialogsum.generator import draw_dialogue
from helpers.tasks.recipes.generator import BAKING, MENU, MINUTES, ROLE_OF, STYLES, amount_line, joined
from helpers.tasks.snli.generator import MENTIONS, article, caption, draw_kind, draw_scene, values_of
from helpers.tasks.snli.words import ACTIVITIES, COUNTS, PLACES, PLURAL, SUBJECTS

_PEOPLE = ("she", "he", "the cook", "my friend", "a child", "the family", "they", "we")
_ROOMS = ("table", "shelf", "bowl", "box", "pan", "pot", "jar", "bag", "oven", "kitchen", "garden", "market")
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


def kitchen(n: int, seed: int = 0) -> list[str]:
    """``n`` kitchen sentences in the generator's vocabulary, to pretrain a tiny model on.

    Ingredients are drawn independently of each other and no dish is named, so nothing is said about what
    belongs together; single sentences only, so the shape of a recipe is not shown either.
    """
    rng = random.Random(f"kitchen-{seed}")
    names = sorted(ROLE_OF)
    stages = [stage for course in MENU.values() for stage in course["stages"]]
    nouns = sorted(MENU)
    styles = sorted({style for style in STYLES if style} | {"hot", "cold", "small", "large", "other"})
    out: list[str] = []
    while len(out) < n:
        some = rng.sample(names, rng.randint(1, 4))
        stage = rng.choice(stages)
        wording = rng.choice(stage["wordings"] + stage["empty"])
        a, b = rng.sample(names, 2)
        text = rng.choice(_GENERIC).format(
            who=rng.choice(_PEOPLE),
            a=a,
            b=b,
            la=amount_line(a, rng),
            lb=amount_line(b, rng),
            place=rng.choice(_ROOMS),
            place2=rng.choice(_ROOMS),
            season=rng.choice(("summer", "winter", "spring")),
            day=rng.choice(("sunday", "monday", "friday")),
            style=rng.choice(styles),
            style2=f"{rng.choice(styles)} {rng.choice(nouns)}",
            instruction=wording.format(x=joined(some), m=rng.choice(MINUTES), h=rng.choice(BAKING)),
        )
        out.append(text[0].upper() + text[1:])
    return out


_REMARKS = (
    "Maybe {a}.",
    "Yes, {a}.",
    "No, it is not so that {a}.",
    "There are more than {n} {x}.",
    "There are exactly {n} {x}.",
    "There are at least {n} {x}.",
    "There are fewer than {n} {x}.",
    "The {x} are not {d}.",
    "The {y} is not {d}.",
    "The {x} are {d}.",
    "Every {y} here is {d}.",
    "No {y} here is {d}.",
    "The {y} is wearing {w}.",
)


def captions(n: int, seed: int = 0) -> list[str]:
    """``n`` captions and remarks in the same words, to pretrain a tiny model on: single statements drawn
    independently, so no two are ever related, and nothing says which word is narrower than which."""
    rng = random.Random(f"captions-{seed}")
    out: list[str] = []
    while len(out) < n:
        kind, facets = draw_kind(rng)
        subject = rng.choice((*SUBJECTS[kind], kind))
        scene = draw_scene(rng, MENTIONS, kind, subject, rng.choice(("a", "some", *COUNTS)), {}, facets)
        text = caption(scene, rng)
        if rng.random() < 0.5:
            single = replace(scene, count="a")
            said = caption(single, rng)
            text = rng.choice(_REMARKS).format(
                a=said[0].lower() + said[1:-1],
                n=rng.choice(sorted(COUNTS)),
                x=PLURAL[subject],
                y=subject,
                d=rng.choice((*ACTIVITIES[kind], *PLACES, "alone")),
                w=article(rng.choice(values_of("clothes", kind))),
            )
        out.append(text)
    return out


def spoken_lines(n: int, seed: int = 0) -> list[str]:
    """``n`` single lines of such dialogues, drawn independently: to pretrain a tiny model on, with no dialogue
    and no summary in it."""
    rng = random.Random(f"lines-{seed}")
    return [rng.choice(draw_dialogue(rng)["dialogue"].split("\n")) for _ in range(n)]


SENTENCES: dict[str, Callable[[int, int], list[str]]] = {
    "recipes": kitchen,
    "snli": captions,
    "dialogsum": spoken_lines,
}
