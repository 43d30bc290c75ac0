"""Whether each prediction of a file is right: the spellings of a score, and of labels that mean the same."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from helpers.errors import DataError

RIGHT = frozenset({"1", "true", "yes", "correct", "right"})
WRONG = frozenset({"0", "false", "no", "incorrect", "wrong"})
FEW_ROWS = 4  # in fewer rows a system may well be wrong every time
SHOWN = 6  # spellings of a vocabulary
MOST_LABELS = 20  # spellings of references, up to which they are labels
UNSPELT = 0.05  # share of predictions that are no label, from which on it is said


def as_text(value: Any) -> str:
    """A cell as text: "" for none, whole floats as integers."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def canonical(value: Any) -> str:
    """What two spellings of the same label or number share: no case, no outer spaces, 1.0 as 1; "007" is a text."""
    text = " ".join(as_text(value).casefold().split())
    if re.fullmatch(r"-?(?:0|[1-9]\d*)\.\d+", text):
        text = text.rstrip("0").removesuffix(".")
    return text


def read_scores(scores: Sequence[Any], derived: Sequence[bool], where: str, rows: Sequence[int]) -> list[bool]:
    """Scores as right or wrong.

    Args:
        scores: one cell a row: 1/0, true/false, yes/no, correct/incorrect, right/wrong; or empty.
        derived: whether each prediction equals its reference, for rows without a score.
        where: file and column, for the message.
        rows: number of each row in the file, from 1.

    Raises:
        DataError: another value, or some rows without a score where the others do not say what equality says.
    """
    texts = [canonical(score) for score in scores]
    for score, text, row in zip(scores, texts, rows, strict=True):
        if text and text not in RIGHT | WRONG:
            raise DataError(
                f"{where} has {score!r} in row {row}, which is neither right (1, true, yes, correct) nor wrong (0, "
                "false, no, incorrect)",
                "This analysis is about answers that are right or wrong; name such a column with score=...",
            )
    empty = [row for text, row in zip(texts, rows, strict=True) if not text]
    if empty and any(text and (text in RIGHT) != equal for text, equal in zip(texts, derived, strict=True)):
        raise DataError(
            f"{where} is empty in {len(empty)} of {len(texts)} rows, the first is row {empty[0]}; equality with the "
            "reference cannot stand in, since other rows are scored otherwise",
            "Fill in the scores, or remove the column",
        )
    return [text in RIGHT if text else equal for text, equal in zip(texts, derived, strict=True)]


def relabelled(values: Sequence[Any], labels: Mapping[Any, str]) -> list[str]:
    """Cells as text, those that are among the spellings of ``labels`` as the label."""
    known = {canonical(spelling): str(label) for spelling, label in labels.items()}
    return [known.get(canonical(value), as_text(value)) for value in values]


def same_words(references: Sequence[str], predictions: Sequence[str], where: str) -> tuple[list[str], list[str], str]:
    """References and predictions in one vocabulary, so that they can be compared.

    Args:
        where: the file, for the message.

    Returns:
        References, predictions, and what was taken for granted ("" for nothing).

    Raises:
        DataError: no prediction is ever spelt like a reference (shows both vocabularies).
    """
    texts = [list(references), list(predictions)]
    gold, said = (Counter(canonical(text) for text in group if text.strip()) for group in texts)
    if not gold or not said or gold.keys() & said.keys():
        return texts[0], texts[1], _strange(gold, said)
    for name, reading in _READINGS.items():
        read = [[reading(text) for text in group] for group in (gold, said)]
        if all(read[0]) and all(read[1]) and set(read[0]) & set(read[1]):
            new = [[reading(canonical(text)) or text for text in group] for group in texts]
            return new[0], new[1], f"{name} were read as the same labels"
    codes = [all(_NUMBER.fullmatch(text) for text in group) for group in (gold, said)]
    enough = len(texts[0]) >= FEW_ROWS and len(gold) > 1
    if enough or (codes[0] != codes[1] and len(texts[0]) > 1):
        raise DataError(
            f"{where}: no prediction is ever spelt like a reference; references are {_listed(gold)}, predictions are "
            f"{_listed(said)}",
            f"Say what means what: labels={{{next(iter(gold))!r}: 'its other spelling', ...}}; labels={{}} if all of "
            "them are really wrong",
        )
    return texts[0], texts[1], ""


def _strange(gold: Counter[str], said: Counter[str]) -> str:
    """A note on labels that are written in two ways, which count as wrong; "" for none, and for free text."""
    if not gold or len(gold) > MOST_LABELS or 2 * len(gold) > gold.total():
        return ""
    other = Counter({text: count for text, count in said.items() if text not in gold})
    if other.total() > UNSPELT * said.total():
        some = f"{other.total():,} of {said.total():,} predictions are spelt like no reference ({_listed(other)})"
        return f"{some}, and count as wrong; labels={{...}} says what they mean"
    if len({bool(_NUMBER.fullmatch(text)) for text in gold}) > 1:
        return f"references are numbers and words ({_listed(gold)}); labels={{...}} says which mean the same"
    return ""


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def _numbered(text: str) -> str:
    found = re.fullmatch(r"(?:label|class)?[ _-]?(\d+)", text)
    return found[1] if found else ""


def _truth(text: str) -> str:
    return "true" if text in {"1", "true"} else "false" if text in {"0", "false"} else ""


_READINGS: dict[str, Callable[[str], str]] = {"LABEL_0 and 0": _numbered, "true/false and 1/0": _truth}


def _listed(counted: Mapping[str, int]) -> str:
    names = sorted(counted, key=lambda name: -counted[name])
    shown = ", ".join(repr(name if len(name) <= 30 else name[:27] + "...") for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
