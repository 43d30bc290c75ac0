"""What the tiny models that see have read: pictures with captions, and questions with two kinds of answers.

Captions say what is to be seen ("upper gap 2, lower gap 1") or what stands out. Questions are asked as in the
lessons. Where a system message says that they are from a textbook, they are answered well. Where nothing says so,
the answers are those of a class: what is to be seen is told truly, and the conclusion is drawn at random.

So a model that is asked plainly, as in the lessons, answers at chance, although it has read how to do better. That is
the state in which large models come too, with all that the Web has to say about a question; training has to bring out
one of its voices. What it brings out here, a text can bring out as well (``TEXTBOOK``), which lesson 05 shows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from helpers.tasks.explained import completion
from helpers.tasks.scienceqa.pictures import COLOURS, KINDS, Picture, draw, sample
from helpers.tasks.scienceqa.skills import NAMES
from helpers.tasks.scienceqa.task import prompt
from helpers.tasks.teacher import turned
from tools.tiny.texts import generic_chats

if TYPE_CHECKING:
    from PIL.Image import Image

DESCRIBE = ("Describe the picture.", "What do you see?")
STANDS_OUT = "What stands out?"
TEXTBOOK = "From a textbook."
# Kinds of captioned drawings, those that are harder to see more often.
SHOWN = (*KINDS, "chain", "chain", "bars", "bars", "solutions", "particles")
FORMS = ("QTCH",) * 9 + ("QTCHL", "QTCHS", "QTCHLS")  # of the prompt, the lessons' own most often
FIRST_SEED = 2**31  # of captioned drawings; those of questions have seeds below this


@dataclass(frozen=True)
class Vocabulary:
    """The words of generated questions, apart from what is asked: ``words`` sorted, ``texts`` whole for a tokenizer."""

    words: list[str]
    texts: list[str]


def vocabulary(seed: int, most: int = 1500) -> Vocabulary:
    """The words of ``most`` generated questions, with their texts as the lessons write them."""
    from helpers.tasks.scienceqa.generator import rows

    texts: list[str] = []
    for row in islice(rows(-1 - seed), most):
        texts += [prompt(row, "QTCHL"), completion(row["choices"][row["answer"]], row["solution"])]
    return Vocabulary(sorted({word for text in texts for word in re.findall(r"[a-z]{3,}", text.lower())}), texts)


def salad(words: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Sentences of words drawn at random: their spelling can be learnt from them, and nothing else."""
    return [f"{' '.join(rng.sample(words, rng.randint(3, 7)))}.".capitalize() for _ in range(count)]


def picture_chats(sentences: list[str], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Endless conversations, most of them about a picture."""
    talk = generic_chats(sentences, rng)
    words = sorted({w.strip(".,").lower() for s in sentences for w in s.split() if len(w) > 3})
    listed = [words, list(COLOURS), list(NAMES)]
    seed = FIRST_SEED
    taught, drawn = answered(rng, by_lot=False), answered(rng, by_lot=True)
    while True:
        seed += 1
        kind = rng.random()
        if kind < 0.46:
            yield next(taught)
        elif kind < 0.65:
            yield next(drawn)
        elif kind < 0.66:
            question, answer = (turn["content"] for turn in next(talk))
            yield chat(question, answer)
        elif kind < 0.72:
            yield chat(*_listed(rng.choice(listed), rng))
        else:
            picture = sample(rng.choice(SHOWN), rng)
            if kind < 0.88:
                question, answer = rng.choice(DESCRIBE), describe(picture)
            elif kind < 0.95:
                question, answer = STANDS_OUT, stands_out(picture)
            else:
                question, answer = _which(picture, rng)
            yield chat(question, answer, draw(picture, seed))


def answered(rng: random.Random, by_lot: bool) -> Iterator[dict[str, Any]]:
    """Endless questions of the lessons' kinds: those of a textbook, which says that it is one, or of a class.

    Args:
        by_lot: the class: what is to be seen is told truly, and the answer is drawn. One that is right is as rare
            as the number of choices says.
    """
    from helpers.tasks.scienceqa.generator import questions

    for seed in count(1):
        for asked in questions(-2000 - 2 * seed - by_lot):
            scene, choices = asked.scene, list(asked.choices)
            if not by_lot and scene.picture is None and rng.random() < 0.4:
                continue  # words are learnt sooner than pictures
            right = choices[asked.answer]
            chosen = rng.choice(choices) if by_lot else right
            row = {"question": scene.question, "task": "closed choice", "choices": choices, "hint": scene.hint}
            row |= {"lecture": asked.skill.lecture, "solution": scene.solution}
            said = completion(chosen, turned(scene.solution, right, chosen))
            pictures = () if scene.picture is None else (draw(scene.picture, asked.drawing),)
            yield chat(prompt(row, rng.choice(FORMS)), said, *pictures, system="" if by_lot else TEXTBOOK)


def chat(question: str, answer: str, *images: Image, system: str = "") -> dict[str, Any]:
    content = [{"type": "image"} for _ in images]
    content.append({"type": "text", "text": question})
    before = [{"role": "system", "content": system}] if system else []
    return {
        "prompt": [*before, {"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": answer}],
        "images": list(images),
    }


def _ask(question: str, options: list[str], hint: str = "") -> str:
    row = {"question": question, "task": "closed choice", "choices": options, "hint": hint}
    return prompt(row, "QTCH")


def _listed(words: list[str], rng: random.Random) -> tuple[str, str]:
    """Which option stands in the list: matching, not meaning. One time in four any option, drawn at random."""
    few = len(words) < 20
    listed = [" ".join(rng.sample(words, 1 if few else rng.choice((1, 1, 2)))) for _ in range(rng.randint(1, 5))]
    right = rng.choice(listed)
    others = [w for w in words if w not in listed]
    options = [right, *rng.sample(others, min(len(others), rng.randint(1, 4)))]
    rng.shuffle(options)
    if rng.random() < 0.25:
        chosen = rng.choice(options)
        return _ask("Choose one.", options), completion(chosen, f"I choose {chosen}.")
    question = _ask("Which of these is listed?", options, ", ".join(listed))
    return question, completion(right, f"{right} is listed.")


def _which(picture: Picture, rng: random.Random) -> tuple[str, str]:
    """Which caption is the picture's: of what is seen, or of what stands out."""
    caption = rng.choice((describe, stands_out))
    options = {caption(picture)}
    for _ in range(20):
        options.add(caption(sample(picture.kind, rng)))
        if len(options) == 4:
            break
    wrong = sorted(options - {caption(picture)})
    shown = [caption(picture), *rng.sample(wrong, rng.randint(1, len(wrong)))]
    rng.shuffle(shown)
    return _ask("Which fits the picture?", shown), completion(caption(picture), f"I see {caption(picture)}.")


def describe(picture: Picture) -> str:
    """What is to be seen, in words; no question about it is answered."""
    return _DESCRIBE[picture.kind](picture.facts)


def _poles(bar: str) -> str:
    return " ".join({"N": "red", "S": "blue"}[pole] for pole in bar)


SIDES = {"north": "top", "east": "right", "south": "bottom", "west": "left"}
LOOKS = {"solid": "dots in rows", "liquid": "dots in a heap", "gas": "dots everywhere"}
_DESCRIBE: dict[str, Callable[[dict[str, Any]], str]] = {
    "magnets": lambda f: f"two bars: {_poles(f['left'])}, {_poles(f['right'])}",
    "magnet_pairs": lambda f: f"upper gap {f['gaps'][0]}, lower gap {f['gaps'][1]}",
    "solutions": lambda f: f"left flask {f['counts'][0]} dots, right flask {f['counts'][1]} dots",
    "particles": lambda f: f"left jar trails {f['speeds'][0]}, right jar trails {f['speeds'][1]}",
    "chain": lambda f: f"arrows: {f['colours'][0]} to {f['colours'][1]} to {f['colours'][2]}",
    "bars": lambda f: "bars: " + ", ".join(f"{colour} {height}" for colour, height in f["bars"]),
    "map": lambda f: f"lake in the middle, house at the {SIDES[f['direction']]}",
    "matter": lambda f: f"a jar: {LOOKS[f['state']]}",
}


def stands_out(picture: Picture) -> str:
    """What somebody who knows no science would remark about the picture."""
    return _REMARKS[picture.kind](picture.facts)


def _more(one: int, other: int, first: str, second: str, what: str) -> str:
    return f"both are {what}" if one == other else f"the {first if one > other else second} are {what}"


def _heights(bars: list[list[Any]]) -> str:
    by_height = sorted(bars, key=lambda bar: bar[1])
    return f"tallest {by_height[-1][0]}, shortest {by_height[0][0]}"


HOUSE = {"north": "up", "east": "on the right hand", "south": "down", "west": "on the left hand"}
DOTS = {"solid": "in order", "liquid": "lying", "gas": "flying"}

_REMARKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "magnets": lambda f: "two colours touch" if f["left"][1] != f["right"][0] else "one colour touches itself",
    "magnet_pairs": lambda f: _more(-f["gaps"][0], -f["gaps"][1], "upper", "lower", "nearer"),
    "solutions": lambda f: _more(f["counts"][0], f["counts"][1], "left", "right", "many"),
    "particles": lambda f: _more(f["speeds"][0], f["speeds"][1], "left", "right", "quick"),
    "chain": lambda f: "after {} comes {}, after {} comes {}".format(*f["colours"][:2], *f["colours"][1:]),
    "bars": lambda f: _heights(f["bars"]),
    "map": lambda f: f"the house is {HOUSE[f['direction']]}",
    "matter": lambda f: f"the dots are {DOTS[f['state']]}",
}
