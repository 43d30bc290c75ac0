"""The kinds of generated science questions, which ``skills.toml`` lists: eight about drawings, ten in words.

An entry has a question, a hint and a solution with places for words, and ``answers``: class → its own words. ``draw``
names the words that are drawn, in this order, from a list of the answer or else of ``[words]``; ``draw_two`` draws
two, which ``sort`` puts into order. A skill always offers the same choices: its classes, or their ``answer``.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.tasks.scienceqa.pictures import Facts, Picture, sample

POLES = {"N": "north", "S": "south"}


@dataclass(frozen=True)
class Scene:
    """One question before its choices get their order.

    Attributes:
        choices: all of them; which one is right is said by ``right``, an index.
        solution: a sentence with what is to be seen or read and what follows from it, ending in the right choice.
        picture: what the drawing shows; None for a question in words.
    """

    question: str
    choices: tuple[str, ...]
    right: int
    solution: str
    hint: str = ""
    picture: Picture | None = None


@dataclass(frozen=True)
class Skill:
    """A kind of question.

    Attributes:
        classes: what has to come equally often: the answers where they are always the same, else variants.
        make: a random scene of one class.
    """

    name: str
    subject: str
    topic: str
    category: str
    grade: int
    lecture: str
    classes: tuple[str, ...]
    make: Callable[[str, random.Random], Scene]


def _more(amounts: Sequence[int], one: str, other: str) -> list[str]:
    first, second = amounts
    return ["neither" if first == second else one if first > second else other]


def _votes(facts: Facts) -> list[str]:
    colours = [colour for colour, _ in sorted(facts["bars"], key=lambda bar: bar[1])]
    return [f"most {colours[-1]}", f"least {colours[0]}"]


# Kind of drawing → the classes that its facts belong to.
FOLLOWS: dict[str, Callable[[Facts], list[str]]] = {
    "magnets": lambda f: ["attract" if f["left"] == f["right"] else "repel"],  # equal bars face with unlike poles
    "magnet_pairs": lambda f: _more(f["gaps"], "the lower pair", "the upper pair"),
    "solutions": lambda f: _more(f["counts"], "the left flask", "the right flask"),
    "particles": lambda f: _more(f["speeds"], "the left jar", "the right jar"),
    "chain": lambda f: [f["colours"][-1]],
    "bars": _votes,
    "map": lambda f: [f["direction"]],
    "matter": lambda f: [f["state"]],
}


def _skill(entry: dict[str, Any], lists: dict[str, list[Any]]) -> Skill:
    answers: dict[str, dict[str, Any]] = entry["answers"]
    choices = tuple(dict.fromkeys(own.get("answer", name) for name, own in answers.items()))

    def make(wanted: str, rng: random.Random) -> Scene:
        own, picture = answers[wanted], None
        words: dict[str, Any] = {"answer": wanted}
        if kind := entry.get("picture"):
            picture = sample(kind, rng)
            while wanted not in FOLLOWS[kind](picture.facts):  # each scene of a class is as likely as any other of it
                picture = sample(kind, rng)
            if kind == "magnets":
                one, other = POLES[picture.facts["left"][1]], POLES[picture.facts["right"][0]]
                words["facing"] = f"both {one}" if one == other else f"{one} and {other}"
        words |= {name: rng.choice(own.get(name) or lists[name]) for name in entry.get("draw", ())}
        words |= {name: rng.sample(lists[name], 2) for name in entry.get("draw_two", ())}
        if "sort" in entry:
            words[entry["sort"]].sort(reverse=own["falling"])
        words |= {name: said.format(**words) for name, said in own.items() if isinstance(said, str)}
        question, hint, solution = (entry.get(name, "").format(**words) for name in ("question", "hint", "solution"))
        right = choices.index(words["answer"])
        return Scene(question, choices, right, solution[0].upper() + solution[1:], hint, picture)

    about = {name: entry[name] for name in ("name", "subject", "topic", "category", "grade", "lecture")}
    return Skill(**about, classes=tuple(answers), make=make)


_LISTED = tomllib.loads(Path(__file__).with_name("skills.toml").read_text(encoding="utf-8"))
NAMES: list[str] = _LISTED["words"]["name"]
IMAGE_SKILLS, TEXT_SKILLS = ([_skill(entry, _LISTED["words"]) for entry in _LISTED[part]] for part in ("image", "text"))
