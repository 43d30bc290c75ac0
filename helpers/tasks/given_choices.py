"""The choices of a question as sources write them: lists, objects, text, columns; with labels where they have any."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from helpers.sources import reader
from helpers.sources.local import RawRows
from helpers.tasks import columns
from helpers.tasks.base import LoadReport
from helpers.tasks.cells import number_text, opened, unknown_shape

KNOWN = (
    'lists, text such as ["a", "b"], a|b, a;b or (A) a (B) b, {"text": [...], "label": [...]}, and objects by letter'
)
STEMS = ("option", "choice", "opt", "answer", "candidate", "sol", "ending", "op", "")
RIGHT, WRONG = (
    ("correctanswer", "rightanswer", "correct", "answer"),
    ("distractors", "incorrectanswers", "wronganswers"),
)
_MARK = re.compile(r"(?:^|(?<=\s))\(?([A-Za-z])[).:]\s+")


class Choices(NamedTuple):
    """Texts, and what the source calls each ("A", "1", "option1"; [] where it does not)."""

    texts: list[str]
    labels: list[str]


def read_choices(value: Any) -> Choices:
    """The choices of one cell; none where there are none.

    Raises:
        DataError: an object or a list of unknown shape; shows the cell.
    """
    found = opened(value)
    if isinstance(found, str):
        return _from_text(found.strip())
    if isinstance(found, Mapping):
        return _from_object(found)
    if not isinstance(found, list):
        return Choices([], [])
    if found and all(isinstance(item, Mapping) for item in found):
        parts = [{_plain(key): part for key, part in item.items()} for item in found]
        texts = [next((part[key] for key in ("text", "choice", "option", "value", "answer") if key in part), None)
                 for part in parts]  # fmt: skip
        labels = [next((part[key] for key in ("label", "key", "id", "letter") if key in part), "") for part in parts]
        if all(isinstance(text, str | int | float) for text in texts):
            return Choices(_texts(texts), _texts(labels) if all(map(str, labels)) else [])
        raise unknown_shape(found, "choices", KNOWN)
    if any(isinstance(item, list | Mapping) for item in found):
        raise unknown_shape(found, "choices", KNOWN)
    return Choices(_texts(found), [])


def _from_text(written: str) -> Choices:
    marks = list(_MARK.finditer(written))
    letters = [mark[1].upper() for mark in marks]
    if marks and marks[0].start() == 0 and len(marks) > 1 and letters == [chr(65 + i) for i in range(len(marks))]:
        ends = [*(mark.start() for mark in marks[1:]), len(written)]
        pieces = [written[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
        return Choices([piece.strip(" \t\r\n,;|") for piece in pieces], letters)
    sign = next((sign for sign in ("|", "\n", ";") if sign in written), None)
    return Choices(_texts(written.split(sign)) if sign else _texts([written] if written else []), [])


def _from_object(found: Mapping[str, Any]) -> Choices:
    """{"text": [...], "label": [...]} as in ARC, or {"A": "x", "B": "y"}."""
    plain = {_plain(key): value for key, value in found.items()}
    texts = next((plain[key] for key in ("text", "texts", "choices", "options") if key in plain), None)
    if isinstance(texts, list):
        labels: list[Any] = next((plain[key] for key in ("label", "labels", "key", "keys") if key in plain), [])
        return Choices(_texts(texts), _texts(labels) if len(labels) == len(texts) else [])
    single = all(isinstance(value, str | int | float) for value in found.values())
    if found and single and all(re.fullmatch(r"[a-z]|\d{1,2}|(?:option|choice)\w{1,2}", key) for key in plain):
        return Choices(_texts(list(found.values())), [str(key) for key in found])
    raise unknown_shape(found, "choices", KNOWN)


def _texts(items: Sequence[Any]) -> list[str]:
    return [number_text(item).strip() for item in items]


def _plain(key: Any) -> str:
    return reader.plain(str(key))


def from_columns(raw: RawRows, names: Sequence[str], report: LoadReport) -> None:
    """Put choices that stand in several columns into one, ``choices``: option1 …, A …, or right and wrong answers.

    Args:
        names: columns that the task takes for choices as they are; where one is there, nothing is done.
    """
    if "choices" in raw.chosen or columns.fitting(raw.columns, "choices", names):
        return
    wrong = columns.fitting(raw.columns, WRONG[0], WRONG) or columns.numbered(
        raw.columns, "distractor", "incorrectanswer"
    )
    right = columns.fitting(raw.columns, RIGHT[0], RIGHT)
    if wrong and right:
        for row in raw.rows:
            given = [choice for name in wrong for choice in read_choices(row.get(name)).texts if choice]
            row["choices"] = [number_text(row.get(right[0])), *given]
            # Else the right one would be the first everywhere.
            random.Random(f"choices-{sorted(row['choices'])}").shuffle(row["choices"])
            row["answer"] = row.get(right[0])
        raw.add_columns("choices", "answer")
        raw.chosen = {"answer": "answer", **raw.chosen}
        said = f"{', '.join(wrong)} and {right[0]}, in an order drawn from their texts"
    elif parts := columns.numbered(raw.columns, *STEMS):
        for row in raw.rows:
            texts = [number_text(row.get(name)) for name in parts]
            while texts and not texts[-1]:  # a question with fewer choices
                texts.pop()
            row["choices"] = {"text": texts, "label": parts[: len(texts)]}
        raw.add_columns("choices")
        said = ", ".join(parts)
    else:
        return
    report.notes.append(f"choices are read from the columns {said}")
