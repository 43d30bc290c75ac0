"""Answers that explain themselves: JSON with a solution and one of the choices, as a model is asked for it and as it is
read back. What tasks with pictures share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.tasks.answers import UNCLEAR, Answer, parse_answer

if TYPE_CHECKING:  # pragma: no cover
    from PIL.Image import Image

INSTRUCTION = "Answer with JSON: solution and answer."
FIRST_NUMBER = 0  # of the first choice, where an answer is a number: as in the published data and predictions


def lettered(choices: Sequence[str]) -> str:
    """Choices as a prompt lists them: "(A) attract (B) repel"."""
    return " ".join(f"({letter_of(i)}) {choice}" for i, choice in enumerate(choices))


def letter_of(index: int) -> str:
    return chr(ord("A") + index)


def completion(choice: str, solution: str) -> str:
    """What a model should write: the reason first, so that the choice can follow from it.

    The choice is written out; its words say more than the letter in front of it.
    """
    return json.dumps({"solution": solution, "answer": choice}, ensure_ascii=False)


def answers_after(text: str, choices: Sequence[str]) -> list[str]:
    """For each choice the beginning of an answer that gives it, after the solution in ``text``.

    With these ``choice_scores`` compares how likely a model finds each choice once it has written ``text``.
    """
    return [completion(choice, read_solution(text))[:-1] for choice in choices]


def read_solution(text: str) -> str:
    """The explanation in a written answer: the JSON field, as far as it was written; without one the whole text.

    "" only where nothing was written, or JSON with an answer and no solution.
    """
    found = re.search(r'"(?:solution|explanation)"\s*:\s*"((?:[^"\\]|\\.)*)', text)
    if found is None:
        return "" if re.search(r'"answer"\s*:', text) else text.strip()
    said = found.group(1)
    try:
        return str(json.loads(f'"{said}"')).strip()
    except ValueError:  # cut off in the middle of an escape
        return said.strip()


def read_answer(text: str, options: Sequence[str], first_number: int = FIRST_NUMBER) -> Answer:
    """Which choice a written answer names: ``answers.parse_answer``, with the letters of the prompt.

    Where choices are numbers ("2", "3") or end in a letter ("sample B"), ``parse_answer`` takes no label for one; here
    a letter still counts, since the prompt asks for it.

    Args:
        first_number: what the first choice is called by a model that answers with numbers. The published data and
            the predictions of Project B count from 0.
    """
    found = parse_answer(text, options, first_number)
    numbers = any(re.fullmatch(r"\d{1,2}", option.strip()) for option in options)
    if found == UNCLEAR or (found.index is None and numbers):
        lettered = parse_answer(text, [f"choice {letter_of(i)}" for i in range(len(options))])
        return lettered if lettered.reason == "letter" else found
    return found


def named_choices(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[int]:
    """The index of the choice that each written answer names, −1 where it names none; see ``read_answer``."""
    found = [read_answer(text, choices).index for text, choices in zip(texts, options, strict=True)]
    return [-1 if index is None else index for index in found]


def blank_image(size: int = 192) -> Image:
    """A white square of ``size`` pixels, which stands in for a missing picture."""
    from PIL import Image

    return Image.new("RGB", (size, size), "white")
