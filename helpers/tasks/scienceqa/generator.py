"""Generated science questions with the columns of ScienceQA: eighteen skills, every second question with a drawing.

Skills take turns. Within a skill the answers that can be right take turns, and for each of them the place of the
right choice: whatever part of the stream is cut out, no answer and no place in it is much more frequent than
another. A question is not asked twice in the same words unless its drawing differs.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from helpers.tasks.base import Row
from helpers.tasks.scienceqa.pictures import Picture, draw
from helpers.tasks.scienceqa.skills import IMAGE_SKILLS, TEXT_SKILLS, Scene, Skill

T = TypeVar("T")
TRIES = 200  # scenes drawn in search of one that has not been asked; then the skill counts as used up


@dataclass(frozen=True)
class Question:
    """A scene with its choices in their order, and the seed of its drawing."""

    skill: Skill
    scene: Scene
    choices: tuple[str, ...]
    answer: int
    drawing: int


def questions(seed: int) -> Iterator[Question]:
    """Different questions, one with a picture and one in words at a time, until a skill in words is used up (after
    about 5,800 questions; drawings never run out)."""
    rng = random.Random(f"scienceqa-{seed}")
    kinds = [_Deck([_Source(skill, rng) for skill in part], rng) for part in (IMAGE_SKILLS, TEXT_SKILLS)]
    while True:
        pair = [deck.draw().next() for deck in kinds]
        found = [question for question in pair if question]
        if len(found) < len(pair):
            return
        rng.shuffle(found)
        yield from found


def rows(seed: int) -> Iterator[Row]:
    """The questions as rows, drawn one by one."""
    return (row(question, f"gen-{seed}-{number}") for number, question in enumerate(questions(seed)))


def row(question: Question, key: str) -> Row:
    """A question in the columns of the task; its drawing is PNG bytes."""
    skill, scene = question.skill, question.scene
    return {
        "id": key,
        "question": scene.question,
        "choices": list(question.choices),
        "answer": question.answer,
        "hint": scene.hint,
        "image": None if scene.picture is None else _encoded(scene.picture, question.drawing),
        "task": "closed choice",
        "grade": f"grade{skill.grade}",
        "subject": skill.subject,
        "topic": skill.topic,
        "category": skill.category,
        "skill": skill.name,
        "lecture": skill.lecture,
        "solution": scene.solution,
    }


class _Deck(Generic[T]):
    """Draws every item once, in random order, then all of them again."""

    def __init__(self, items: Sequence[T], rng: random.Random) -> None:
        self._items, self._rng, self._left = list(items), rng, list[T]()

    def draw(self) -> T:
        if not self._left:
            self._left = list(self._items)
            self._rng.shuffle(self._left)
        return self._left.pop()


class _Source:
    """The questions of one skill."""

    def __init__(self, skill: Skill, rng: random.Random) -> None:
        self._skill, self._rng = skill, rng
        self._classes = _Deck(skill.classes, rng)
        self._places: dict[tuple[str, int], _Deck[int]] = {}
        self._asked: set[tuple[Any, ...]] = set()

    def next(self) -> Question | None:
        """A question that has not been asked; None when none is found."""
        wanted = self._classes.draw()
        for _ in range(TRIES):
            scene = self._skill.make(wanted, self._rng)
            drawing = self._rng.randrange(2**31) if scene.picture else 0
            key = (scene.question, frozenset(scene.choices), str(scene.picture), drawing)
            if key not in self._asked:
                self._asked.add(key)
                return self._ordered(scene, wanted, drawing)
        return None

    def _ordered(self, scene: Scene, wanted: str, drawing: int) -> Question:
        count = len(scene.choices)
        places = self._places.setdefault((wanted, count), _Deck(range(count), self._rng))
        place = places.draw()
        choices = [choice for i, choice in enumerate(scene.choices) if i != scene.right]
        self._rng.shuffle(choices)
        choices.insert(place, scene.choices[scene.right])
        return Question(self._skill, scene, tuple(choices), place, drawing)


def _encoded(picture: Picture, drawing: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    draw(picture, drawing).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}
