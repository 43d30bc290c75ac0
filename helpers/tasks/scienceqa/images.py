"""Questions about drawings: the eight skills of generated science questions that need eyes.

The words of a question say nothing about its answer: they are the same for all scenes of a skill, or (most votes,
least votes) come with every answer equally often.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from helpers.tasks.scienceqa.pictures import ANIMALS, BARS, DIRECTIONS, STATES, Picture, sample
from helpers.tasks.scienceqa.skills import NATURAL, SOCIAL, Scene, Skill

Facts = dict[str, Any]
POLES = {"N": "north", "S": "south"}
WHERE = {"north": "above", "east": "right of", "south": "below", "west": "left of"}
LOOKS = {"solid": "stand in rows", "liquid": "lie in a heap", "gas": "spread everywhere"}
EQUAL = "neither"
EXTREMES: dict[str, tuple[str, Callable[..., str]]] = {"most": ("tallest", max), "least": ("shortest", min)}


def _sampled(kind: str, wanted: str, answer: Callable[[Facts], str], rng: random.Random) -> Picture:
    """Facts of one answer, each as likely as any other of that answer."""
    while True:
        picture = sample(kind, rng)
        if answer(picture.facts) == wanted:
            return picture


def _seen(
    kind: str, answer: Callable[[Facts], str], choices: tuple[str, ...], question: str, hint: str,
    because: Callable[[Facts, str], str],
) -> Callable[[str, random.Random], Scene]:  # fmt: skip
    """A skill that reads its answer off one kind of drawing; ``because``: facts and answer → the solution."""

    def make(wanted: str, rng: random.Random) -> Scene:
        picture = _sampled(kind, wanted, answer, rng)
        return Scene(question, choices, choices.index(wanted), because(picture.facts, wanted), hint, picture)

    return make


def _facing(facts: Facts) -> tuple[str, str]:
    """The poles between two magnets."""
    return POLES[facts["left"][1]], POLES[facts["right"][0]]


def _magnets(facts: Facts, wanted: str) -> str:
    one, other = _facing(facts)
    facing = f"both {one}" if one == other else f"{one} and {other}"
    return f"The facing poles are {facing}, so the magnets {wanted}."


def _compared(
    kind: str, fact: str, choices: tuple[str, str, str], question: str, hint: str, more: str, equal: str, sign: int
) -> Callable[[str, random.Random], Scene]:
    """A skill that compares two amounts: the first choice is right where ``sign * (first - second)`` is positive."""

    def answer(facts: Facts) -> str:
        difference = sign * (facts[fact][0] - facts[fact][1])
        return choices[2] if difference == 0 else choices[difference < 0]

    def because(facts: Facts, wanted: str) -> str:
        return f"{equal if wanted == EQUAL else more.format(wanted)}, so the answer is {wanted}."

    return _seen(kind, answer, choices, question, hint, because)


def _bars(wanted: str, rng: random.Random) -> Scene:
    extreme, right = wanted.split()
    looks, which = EXTREMES[extreme]

    def answer(facts: Facts) -> str:
        heights: dict[str, int] = dict(facts["bars"])
        return f"{extreme} {which(heights, key=lambda colour: heights[colour])}"

    return Scene(
        f"Which colour got the {extreme} votes?",
        BARS,
        BARS.index(right),
        f"The {right} bar is the {looks}, so the answer is {right}.",
        "Each bar shows the votes for a colour.",
        _sampled("bars", wanted, answer, rng),
    )


MAGNETS = ("attract", "repel")
PAIRS = ("the upper pair", "the lower pair", EQUAL)
FLASKS = ("the left flask", "the right flask", EQUAL)
VOTES = tuple(f"{extreme} {colour}" for extreme in EXTREMES for colour in BARS)
JARS = ("the left jar", "the right jar", EQUAL)

IMAGE_SKILLS = (
    Skill(
        "Predict whether magnets attract or repel", NATURAL, "physics", "Magnets", 3,
        "Unlike poles attract each other. Like poles repel each other.", MAGNETS,
        _seen(
            "magnets", lambda facts: "repel" if len(set(_facing(facts))) == 1 else "attract", MAGNETS,
            "Will these magnets attract or repel each other?", "Red ends are north poles, blue ends are south poles.",
            _magnets,
        ),
    ),
    Skill(
        "Compare magnetic forces", NATURAL, "physics", "Forces", 5,
        "The force between magnets is stronger where the gap is smaller.", PAIRS,
        _compared(
            "magnet_pairs", "gaps", PAIRS, "In which pair is the force stronger?",
            "All magnets are alike.", "The gap of {} is smaller", "The gaps are equally wide", -1,
        ),
    ),
    Skill(
        "Compare concentrations of solutions", NATURAL, "chemistry", "Solutions", 6,
        "A solution with more particles in the same volume is more concentrated.", FLASKS,
        _compared(
            "solutions", "counts", FLASKS, "Which solution is more concentrated?",
            "Both flasks hold the same volume.", "There are more particles in {}",
            "The flasks hold equally many particles", 1,
        ),
    ),
    Skill(
        "Compare temperatures of particles", NATURAL, "physics", "Heat", 7,
        "Particles move faster in a warmer gas.", JARS,
        _compared(
            "particles", "speeds", JARS, "Which gas is warmer?",
            "Long trails show fast particles.", "The trails in {} are longer", "The trails are equally long", 1,
        ),
    ),
    Skill(
        "Read a food chain", NATURAL, "biology", "Ecosystems", 4,
        "In a food chain an arrow leads from the food to the animal that eats it.", ANIMALS,
        _seen(
            "chain", lambda facts: str(facts["colours"][-1]), ANIMALS, "Which animal is eaten by no other?",
            "Each arrow leads from the food to the eater.",
            lambda _, wanted: f"The arrows end at {wanted}, so no other animal eats {wanted}.",
        ),
    ),
    Skill(
        "Read a bar chart", SOCIAL, "civics", "Charts", 2,
        "In a bar chart a taller bar stands for more.", VOTES, _bars,
    ),
    Skill(
        "Read a map with a compass", SOCIAL, "geography", "Maps", 3,
        "Where north is up, east is right, south is down and west is left.", tuple(DIRECTIONS),
        _seen(
            "map", lambda facts: facts["direction"], tuple(DIRECTIONS),
            "In which direction is the house from the lake?", "The arrow points north.",
            lambda _, wanted: f"The house is {WHERE[wanted]} the lake, so it lies to the {wanted}.",
        ),
    ),
    Skill(
        "Recognise states of matter", NATURAL, "chemistry", "Matter", 6,
        "Particles stand in rows in a solid, lie together in a liquid and spread in a gas.", STATES,
        _seen(
            "matter", lambda facts: facts["state"], STATES, "Is there a solid, a liquid or a gas in the jar?",
            "The dots are particles.", lambda _, wanted: f"The particles {LOOKS[wanted]}, so this is a {wanted}.",
        ),
    ),
)  # fmt: skip
