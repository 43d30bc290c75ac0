"""Prompts that hold their own answer: a model only has to copy, and every score is meaningless."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from helpers.errors import DataError, shown
from helpers.tasks.reading import folded

if TYPE_CHECKING:  # pragma: no cover
    from helpers.tasks.base import LoadReport

TOLERATED = 0.01  # share of rows: people do repeat a sentence
LEAST_WORDS, LEAST_CHARACTERS = 4, 20  # of an answer: shorter ones stand in a text by chance


def holds(prompt: str, completion: str, least: bool = True) -> bool:
    """Whether a prompt holds a completion word for word; case and spaces do not matter.

    Args:
        least: answers that are too short to mean anything do not count.
    """
    part = folded(completion)
    if least and (len(part) < LEAST_CHARACTERS or 1 < len(part.split()) < LEAST_WORDS):  # no spaces: no words either
        return False
    return bool(part) and part in folded(prompt)


def refuse_leaks(pairs: Iterable[tuple[str, str]], names: tuple[str, str], where: str, report: LoadReport) -> None:
    """DataError when more than 1 % of the prompts hold their completion; a lower share is noted.

    Args:
        pairs: prompt and completion of each row, as the columns hold them.
        names: the task's columns that they come from.
    """
    found, number = [], 0
    for prompt, completion in pairs:
        number += 1
        if holds(prompt, completion):
            found.append(completion)
    if not found:
        return
    prompt, completion = names
    said = f"{prompt} holds the whole text of {completion} in {len(found):,} of {number:,} rows"
    if len(found) <= TOLERATED * number:
        report.notes.append(f"{said}, which is rare enough to stay")
        return
    raise DataError(
        f"{where}: {said}, such as {shown(found[0])}: the answer stands in the question",
        f"Name a column without it, as in -p columns {prompt}=COLUMN, or take the answer out of {prompt}",
    )
