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


def _magnets(wanted: str, rng: random.Random) -> Scene:
    picture = _sampled("magnets", wanted, magnets_answer, rng)
    one, other = (POLES[pole] for pole in (picture.facts["left"][1], picture.facts["right"][0]))
    facing = f"both {one}" if one == other else f"{one} and {other}"
    return Scene(
        "Will these magnets attract or repel each other?",
        MAGNETS,
        MAGNETS.index(wanted),
        f"The facing poles are {facing}, so the magnets {wanted}.",
        "Red ends are north poles, blue ends are south poles.",
        picture,
    )


def magnets_answer(facts: Facts) -> str:
    return "repel" if facts["left"][1] == facts["right"][0] else "attract"


def _compared(
    kind: str, fact: str, choices: tuple[str, str, str], question: str, hint: str, more: str, equal: str, sign: int
) -> Callable[[str, random.Random], Scene]:
    """A skill that compares two amounts: the first choice is right where ``sign * (first - second)`` is positive."""

    def answer(facts: Facts) -> str:
        difference = sign * (facts[fact][0] - facts[fact][1])
        return choices[2] if difference == 0 else choices[difference < 0]

    def make(wanted: str, rng: random.Random) -> Scene:
        picture = _sampled(kind, wanted, answer, rng)
        seen = equal if wanted == EQUAL else more.format(wanted)
        return Scene(
            question, choices, choices.index(wanted), f"{seen}, so the answer is {wanted}.", hint, picture
        )  # fmt: skip

    return make


def _chain(wanted: str, rng: random.Random) -> Scene:
    return Scene(
        "Which animal is eaten by no other?",
        ANIMALS,
        ANIMALS.index(wanted),
        f"The arrows end at {wanted}, so no other animal eats {wanted}.",
        "Each arrow leads from the food to the eater.",
        _sampled("chain", wanted, lambda facts: str(facts["colours"][-1]), rng),
    )


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


def _map(wanted: str, rng: random.Random) -> Scene:
    return Scene(
        "In which direction is the house from the lake?",
        tuple(DIRECTIONS),
        list(DIRECTIONS).index(wanted),
        f"The house is {WHERE[wanted]} the lake, so it lies to the {wanted}.",
        "The arrow points north.",
        _sampled("map", wanted, lambda facts: facts["direction"], rng),
    )


def _matter(wanted: str, rng: random.Random) -> Scene:
    return Scene(
        "Is there a solid, a liquid or a gas in the jar?",
        STATES,
        STATES.index(wanted),
        f"The particles {LOOKS[wanted]}, so this is a {wanted}.",
        "The dots are particles.",
        _sampled("matter", wanted, lambda facts: facts["state"], rng),
    )


MAGNETS = ("attract", "repel")
PAIRS = ("the upper pair", "the lower pair", EQUAL)
FLASKS = ("the left flask", "the right flask", EQUAL)
VOTES = tuple(f"{extreme} {colour}" for extreme in EXTREMES for colour in BARS)
JARS = ("the left jar", "the right jar", EQUAL)

IMAGE_SKILLS = (
    Skill(
        "Predict whether magnets attract or repel", NATURAL, "physics", "Magnets", 3,
        "Unlike poles attract each other. Like poles repel each other.", MAGNETS, _magnets,
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
        "In a food chain an arrow leads from the food to the animal that eats it.", ANIMALS, _chain,
    ),
    Skill(
        "Read a bar chart", SOCIAL, "civics", "Charts", 2,
        "In a bar chart a taller bar stands for more.", VOTES, _bars,
    ),
    Skill(
        "Read a map with a compass", SOCIAL, "geography", "Maps", 3,
        "Where north is up, east is right, south is down and west is left.", tuple(DIRECTIONS), _map,
    ),
    Skill(
        "Recognise states of matter", NATURAL, "chemistry", "Matter", 6,
        "Particles stand in rows in a solid, lie together in a liquid and spread in a gas.", STATES, _matter,
    ),
)  # fmt: skip
