"""Generated questions about scenes of food: a plan and an answer first, then a scene in which the answer is true.

So the answer is as likely as any other of its question before the scene is seen: given question and choices, all that
reading (and knowing the foods) can tell is which choices have what is asked. Which foods are in scope is drawn without
regard to the answer, so that the picture alone, without knowing what the foods are, does not tell it either.
``ceilings`` computes what is left to such readers.
"""

from __future__ import annotations

import io
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from helpers.tasks.base import Row
from helpers.tasks.kitchen import logic, ontology, proofs, staging
from helpers.tasks.kitchen.drawings import draw
from helpers.tasks.kitchen.menus import Menu
from helpers.tasks.kitchen.placing import Infeasible
from helpers.tasks.kitchen.plans import Plan, plan
from helpers.tasks.kitchen.scenes import Item, Scene, describe
from helpers.tasks.kitchen.wording import positive

T = TypeVar("T")
TRIES = 400  # plans and scenes drawn in search of a new question of one form and depth; then it counts as used up


@dataclass(frozen=True)
class Question:
    """A plan with its scene (None for a question in words), its choices in order, and the seed of its drawing."""

    menu: Menu
    plan: Plan
    scene: Scene | None
    choices: tuple[str, ...]
    answer: int
    drawing: int = 0

    @property
    def facts(self) -> set[str]:
        """The properties of foods on which the answer rests, as in ``ontology.fact``; none that can be seen."""
        asked = positive(self.plan.asked)
        if asked.visible or self.scene is None:
            names = self.choices if self.plan.form == "recall" and not asked.visible else ()
        else:
            counts = logic.fits(self.plan.scope, self.scene.items)
            names = tuple(item.food for item, counted in zip(self.scene.items, counts, strict=True) if counted)
        return {ontology.fact(name, asked.attribute, asked.value) for name in names}


def questions(
    seed: int | str,
    menu: Menu,
    depths: Collection[int] = (1, 2, 3),
    forms: Collection[str] | None = None,
    seen: set[Any] | None = None,
) -> Iterator[Question]:
    """Different questions about different scenes; forms take turns, and depths within a form, and answers.

    A form of a depth that has no new question left is left out; ends when none has, after many thousand.

    Args:
        depths, forms: those that are asked; None: all of the menu.
        seen: scenes that are not drawn again; those that are drawn are added.
    """
    rng = random.Random(f"kitchen-{menu.name}-{seed}")
    seen = set() if seen is None else seen
    left = {form: [d for d in own if d in depths] for form, own in menu.forms.items() if forms is None or form in forms}
    turns = _Turns(rng)
    for form in _deck(sorted(left), rng):
        if not any(left.values()):
            return
        if left[form]:
            depth = turns.take(("depth", form, len(left[form])), left[form])
            turns.close(True)
            if found := _new(form, depth, menu, turns, seen, rng):
                yield found
            else:
                left[form] = [other for other in left[form] if other != depth]


def _new(form: str, depth: int, menu: Menu, turns: _Turns, seen: set[Any], rng: random.Random) -> Question | None:
    """A question of a form and depth whose scene has not been seen; None where none is found."""
    for _ in range(TRIES):
        drawn = plan(form, depth, menu, rng)
        try:
            found = _question(drawn, menu, turns, rng)
        except Infeasible:
            turns.close(False)
            continue
        key = describe(found.scene.items) if found.scene else (drawn.text, frozenset(found.choices))
        turns.close(key not in seen)
        if key not in seen:
            seen.add(key)
            return found
    return None


def row(question: Question, key: str, picture: bool = True) -> Row:
    """A question in the columns of the task.

    Args:
        picture: draw the scene (PNG bytes); without, only the columns say what is to be seen.
    """
    asked, scene, image = question.plan, question.scene, None
    if scene is not None and picture:
        buffer = io.BytesIO()
        draw(scene, question.drawing).save(buffer, "PNG")
        image = {"bytes": buffer.getvalue(), "path": None}
    return {
        "id": key,
        "question": asked.text,
        "choices": list(question.choices),
        "answer": question.answer,
        "image": image,
        "objects": [item.as_row() for item in scene.items] if scene else [],
        "scene": describe(scene.items) if scene else "",
        "knowledge": proofs.knowledge(asked, list(question.menu.foods)),
        "form": asked.form,
        "depth": logic.depth(asked.query),
        "n_objects": len(scene.items) if scene else 0,
        "needs_picture": scene is not None,
        "needs_ontology": logic.needs_ontology(asked.query),
        "logic": str(asked.query),
        "facts": sorted(question.facts),
        "solution": proofs.proof(asked, scene, question.choices[question.answer]),
        "answers": [question.choices[question.answer]],
    }


def _deck(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Every item once, in random order, then all of them again, without end."""
    while items:
        left = list(items)
        rng.shuffle(left)
        yield from reversed(left)


class _Turns:
    """Items that take turns, so that over time each comes equally often; what has led to no question comes again."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._decks: dict[Any, Iterator[Any]] = {}
        self._back: dict[Any, Any] = {}
        self._taken: dict[Any, Any] = {}

    def take(self, key: Any, items: Sequence[T]) -> T:
        """The next of some items."""
        found: T = self._back.pop(key) if key in self._back else self._next(key, items)
        self._taken[key] = found
        return found

    def _next(self, key: Any, items: Sequence[Any]) -> Any:
        return next(self._decks.setdefault(key, _deck(items, self._rng)))

    def close(self, kept: bool) -> None:
        """The items taken since have been used, or come again."""
        self._back |= {} if kept else self._taken
        self._taken = {}


def _question(drawn: Plan, menu: Menu, turns: _Turns, rng: random.Random) -> Question:
    scene: Scene | None = None
    if drawn.choices:
        answer = turns.take(("answer", drawn.form, drawn.query.kind, drawn.choices), drawn.choices)
        scene = (staging.comparing if drawn.query.kind == "more" else staging.counted)(drawn, menu, answer, rng)
        return _checked(menu, drawn, scene, drawn.choices, drawn.choices.index(answer), rng)
    if drawn.form == "relation":
        scene, right, wrong = staging.related(drawn, menu, rng)
    elif drawn.form == "recall":
        right, *wrong = staging.recalled(drawn, menu, rng)
    else:
        scene, right, wrong = staging.chosen(drawn, menu, rng)
    place = turns.take(("place", drawn.form, len(wrong)), range(len(wrong) + 1))
    rng.shuffle(wrong)
    return _checked(menu, drawn, scene, (*wrong[:place], right, *wrong[place:]), place, rng)


def _checked(
    menu: Menu, drawn: Plan, scene: Scene | None, choices: tuple[str, ...], answer: int, rng: random.Random
) -> Question:
    """The question, if its scene gives its answer and no other."""
    items = scene.items if scene else [Item(name, "", "") for name in choices]
    if drawn.form == "recall" and drawn.query.kind == "which" and logic.depth(drawn.query) == 2:
        items = [*items, Item(positive(drawn.asked).value, "", "")]
    names = dict(zip(("first", "second", "equal"), drawn.choices, strict=False)) if drawn.query.kind == "more" else {}
    said = logic.evaluate(drawn.query, items)
    if names.get(said, said) != choices[answer]:
        raise Infeasible
    return Question(menu, drawn, scene, choices, answer, rng.randrange(2**31) if scene else 0)
