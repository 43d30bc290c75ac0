"""What the tiny model that sees food has read: scenes with captions, lists of facts, and questions with two voices.

As ``pictures`` does for school science. Captions say what lies where, lists say which foods are fruits or vegan.
Questions are asked as in the lessons. Where a system message says that they are from a textbook, they are answered
well, and take two steps of reasoning at most. Where nothing says so, what is to be seen is told truly, and the
conclusion is drawn by lot. Questions of three steps are only ever answered by lot.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from helpers.tasks.explained import completion
from helpers.tasks.kitchen import ontology
from helpers.tasks.kitchen.drawings import draw
from helpers.tasks.kitchen.generator import Question, questions, row
from helpers.tasks.kitchen.menus import SMALL
from helpers.tasks.kitchen.scenes import describe
from helpers.tasks.kitchen.task import prompt
from helpers.tasks.kitchen.wording import capital, listed, noun
from tools.tiny.pictures import DESCRIBE, TEXTBOOK, chat

if TYPE_CHECKING:  # pragma: no cover
    from tools.tiny.build import Recipe

# Of the prompt, the lessons' own most often; those with A do without the picture.
FORMS = ("QC",) * 14 + ("QAC",) * 4 + ("QOC", "QAOC")
TAUGHT = (1, 2)  # steps of reasoning that a textbook's questions take


def reading(recipe: Recipe, rng: random.Random) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Texts for a tokenizer, and endless conversations."""
    texts = [TEXTBOOK] * 50 + list(DESCRIBE)
    for asked in islice(questions("words", SMALL), recipe.sentences):
        made = row(asked, "", picture=False)
        texts += [prompt(made, "QAOC"), completion(made["choices"][made["answer"]], made["solution"])]
    return texts, kitchen_chats(rng)


def kitchen_chats(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Endless conversations, most of them about a picture."""
    taught, drawn = answered(rng, by_lot=False), answered(rng, by_lot=True)
    seen = (asked for asked in _endless("captions") if asked.scene)
    while True:
        kind = rng.random()
        if kind < 0.44:
            yield next(taught)
        elif kind < 0.62:
            yield next(drawn)
        elif kind < 0.70:
            yield _facts(rng)
        else:
            scene = (asked := next(seen)).scene
            assert scene is not None
            picture = draw(scene, asked.drawing)
            if kind < 0.92:
                yield chat(rng.choice(DESCRIBE), f"{capital(describe(scene.items))}.", picture)
            else:
                place = rng.choice([part.split(":") for part in describe(scene.items).split("; ")])
                yield chat(f"What is on the {place[0]}?", f"{place[1].strip()}.", picture)


def answered(rng: random.Random, by_lot: bool) -> Iterator[dict[str, Any]]:
    """Endless questions of the lessons' kinds: those of a textbook, which says that it is one, or answered by lot."""
    for asked in _endless("lot") if by_lot else _endless("textbook", TAUGHT):
        made, form = row(asked, "", picture=False), rng.choice(FORMS)
        looks = asked.scene is not None and "A" not in form
        images = [draw(asked.scene, asked.drawing)] if looks and asked.scene else []
        question = prompt({**made, "image": looks or made["image"]}, form)
        if by_lot:
            chosen = rng.choice(made["choices"])
            yield chat(question, completion(chosen, drawn_by_lot(made, chosen, rng)), *images)
        else:
            right = completion(made["choices"][made["answer"]], made["solution"])
            yield chat(question, right, *images, system=TEXTBOOK)


def drawn_by_lot(made: dict[str, Any], chosen: str, rng: random.Random) -> str:
    """The solution with what is seen told truly, and other foods in place of those that the answer rests on."""
    seen, reasons = made["solution"].split(". ", 1) if made["scene"] else ("", made["solution"])
    names = [item["food"] for item in made["objects"]] or made["choices"]

    def other(found: re.Match[str]) -> str:
        some = [chosen] if chosen in ontology.FOODS else rng.sample(names, rng.randint(0, 2))
        return f"{found[1]}: {listed(some)}."

    said = re.sub(r"([^.:]+): [^.]+\.", other, reasons)
    return f"{seen}. {said}" if seen else said


def _facts(rng: random.Random) -> dict[str, Any]:
    """Which of some foods have a property, or can replace another food."""
    names = rng.sample(list(SMALL.foods), rng.randint(3, 6))
    atom = rng.choice(SMALL.recalled)
    what, held = noun([atom], many=True), [n for n in names if ontology.has(n, atom.attribute, atom.value)]
    if rng.random() < 0.2:
        replaced = rng.choice(("milk", "butter"))
        what, held = f"can replace {replaced}", [n for n in names if ontology.can_replace(n, replaced)]
    return chat(f"{capital(what)}? {listed(names)}", f"{capital(what)}: {listed(held)}.")


def _endless(name: str, depths: tuple[int, ...] = (1, 2, 3)) -> Iterator[Question]:
    """Questions of one stream after the other; no lesson's seed gives any of them."""
    for number in count():
        yield from islice(questions(f"{name}-{number}", SMALL, depths), 3000)
