"""What a generated science question is: a skill, and one scene of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from helpers.tasks.scienceqa.pictures import Picture

NATURAL, SOCIAL, LANGUAGE = "natural science", "social science", "language science"


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
