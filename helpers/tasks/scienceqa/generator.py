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
from typing import Any, TypeVar

from helpers.tasks.base import Row
from helpers.tasks.scienceqa.pictures import draw
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
    kinds = [_deck([_asked(skill, rng) for skill in part], rng) for part in (IMAGE_SKILLS, TEXT_SKILLS)]
    while True:
        pair = [next(next(deck), None) for deck in kinds]
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
    skill, scene, image = question.skill, question.scene, None
    if scene.picture is not None:
        buffer = io.BytesIO()
        draw(scene.picture, question.drawing).save(buffer, "PNG")
        image = {"bytes": buffer.getvalue(), "path": None}
    return {
        "id": key,
        "question": scene.question,
        "choices": list(question.choices),
        "answer": question.answer,
        "hint": scene.hint,
        "image": image,
        "task": "closed choice",
        "grade": f"grade{skill.grade}",
        "subject": skill.subject,
        "topic": skill.topic,
        "category": skill.category,
        "skill": skill.name,
        "lecture": skill.lecture,
        "solution": scene.solution,
    }


def _deck(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Every item once, in random order, then all of them again, without end."""
    while True:
        left = list(items)
        rng.shuffle(left)
        yield from reversed(left)


def _asked(skill: Skill, rng: random.Random) -> Iterator[Question]:
    """The questions of one skill, none of them twice; ends when none is found."""
    places: dict[str, Iterator[int]] = {}
    asked: set[tuple[Any, ...]] = set()
    for wanted in _deck(skill.classes, rng):
        for _ in range(TRIES):
            scene = skill.make(wanted, rng)
            drawing = rng.randrange(2**31) if scene.picture else 0
            key = (scene.question, frozenset(scene.choices), str(scene.picture), drawing)
            if key not in asked:
                break
        else:
            return
        asked.add(key)
        place = next(places.setdefault(wanted, _deck(range(len(scene.choices)), rng)))
        choices = [choice for i, choice in enumerate(scene.choices) if i != scene.right]
        rng.shuffle(choices)
        choices.insert(place, scene.choices[scene.right])
        yield Question(skill, scene, tuple(choices), place, drawing)
