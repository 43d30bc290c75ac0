"""Which choice the answers of a file name, judged by all rows together: numbers from 0 or 1, letters, texts, labels.

A number may be an index or, where choices are numbers, a choice; the file as a whole says which, or the reader does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from helpers.errors import DataError
from helpers.sources import reader
from helpers.tasks.cells import opened
from helpers.tasks.given_choices import Choices
from helpers.tasks.reading import folded, text

RARE = 0.05  # share of answers that may be read in two ways before the file counts as unclear
WAYS = ("text", "letters", "numbers")
HOW = (
    'Say how answers are written: -p labels "answers=text", "answers=letters", or what the first choice is called: '
    '"first=0" or "first=1"'
)
_NUMBER = re.compile(r"(?:(?:option|choice|answer)\s*)?\(?(\d{1,3})(?:\.0+)?[).:]?", re.IGNORECASE)
_LETTER = re.compile(r"(?:(?:option|choice|answer)\s*:?\s*)?\(?([A-Za-z])[).:]?", re.IGNORECASE)
_OUTSIDE = " \t\r\n.,;:!?\"'“”‘’«»()[]"


class Read(NamedTuple):
    """What one written answer could be: an index of a choice for each way, -1 for none; ``number`` is as written.

    ``among`` is the number of choices.
    """

    label: int
    text: int
    letter: int
    number: int
    among: int


def read_answers(
    values: Sequence[Any], choices: Sequence[Choices], where: str, said: Mapping[str, str] | None = None
) -> tuple[list[int], str]:
    """The index of the choice that each answer names, -1 for none; and a line on how answers were read.

    Args:
        values: cells; ``choices`` are those of the same rows.
        where: the file, for the error.
        said: what the reader has settled: ``answers`` = text, letters or numbers, ``first`` = 0 or 1; or what each
            written answer means, as a letter.

    Raises:
        DataError: many answers may be read in two ways, or ``said`` is not allowed.
    """
    said = {key.lower(): value for key, value in (said or {}).items()}
    if said and not said.keys() <= {"answers", "first"}:
        return _mapped(values, choices, said, where)
    way, first = said.get("answers", ""), said.get("first", "")
    if (way and way not in WAYS) or first not in ("", "0", "1") or (first and way not in ("", "numbers")):
        raise DataError(f"labels = {dict(said)!r} is not allowed", HOW)
    read = [_possible(value, given) for value, given in zip(values, choices, strict=True)]
    as_numbers = way == "numbers" or bool(first) or (not way and _is_code(read, "number", where))
    as_letters = way == "letters" or (not way and not first and _is_code(read, "letter", where))
    if way and way != "numbers":
        as_numbers = False
    start, doubt = (int(first), "") if first else _first(read)
    if as_numbers and not (way or first):
        _refuse_two_meanings(read, start, where)
    found, ways = [], Counter[str]()
    for item in read:
        number = item.number - start if item.number >= 0 else -1
        number = number if number < item.among else -1
        order = [("labels of the choices", item.label)] if not (way or first) else []
        coded = [(f"numbers that count from {start}", number)] * as_numbers + [("letters", item.letter)] * as_letters
        texts = [("texts of the choices", item.text)] * (not (first or way in ("letters", "numbers")))
        index, name = next(((index, name) for name, index in (*order, *coded, *texts) if index >= 0), (-1, ""))
        found.append(index)
        ways[name] += 1
    parts = [f"{name} ({count:,})" for name, count in ways.most_common() if name]
    doubt = doubt if any("numbers" in part for part in parts) and not (way or first) else ""
    if all_texts := "texts of the choices" in ways and any(item.number >= 0 and item.text >= 0 for item in read):
        all_texts = not as_numbers
    more = '; choices are numbers: if answers are indices, say -p labels "first=0"' if all_texts else doubt
    return found, f"answers: {', '.join(parts) or 'none can be read'}{more}"


def agreeing(
    values: Sequence[Any], beside: Mapping[str, Sequence[Any]], choices: Sequence[Choices], found: list[int],
    how: str, where: str, said: Mapping[str, str] | None = None,
) -> tuple[list[int], str]:  # fmt: skip
    """What ``read_answers`` found, held against columns that may give the right choice's text.

    Args:
        beside: other columns that could tell the answer; those that do not name a choice in nearly every row are
            passed over.
        found, how: the result of ``read_answers(values, choices, where, said)``.

    Returns:
        The indices, counted from 1 where only that agrees with the text; -1 where the two name different choices.

    Raises:
        DataError: answers and texts name different choices in many rows, however the answers are counted.
    """
    for name, cells in beside.items():
        texts = [_possible(cell, given).text for cell, given in zip(cells, choices, strict=True)]
        if sum(index < 0 for index in texts) > RARE * len(texts):
            continue
        apart = _apart(found, texts)
        if apart > RARE * len(texts) and not said:
            again, told = read_answers(values, choices, where, {"first": "1"})
            if _apart(again, texts) <= RARE * len(texts):
                found, how, apart = again, f"{told}, as column {name!r} says", _apart(again, texts)
        if apart > RARE * len(texts):
            what = f"{where}: in {apart:,} of {len(texts):,} rows the answer and column {name!r} name different choices"
            raise DataError(what, f"{HOW}; or read the texts: -p columns answer={name}")
        how += f"; {apart:,} rows where column {name!r} names another choice are dropped" if apart else ""
        found = [-1 if text >= 0 and index != text else index for index, text in zip(found, texts, strict=True)]
    return found, how


def _apart(found: Sequence[int], texts: Sequence[int]) -> int:
    return sum(text >= 0 and index not in (text, -1) for index, text in zip(found, texts, strict=True))


def _possible(value: Any, choices: Choices) -> Read:
    value = opened(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    nothing = Read(-1, -1, -1, -1, len(choices.texts))
    if value is None or isinstance(value, bool | list | Mapping):
        return nothing
    written = text(value, "answer").removesuffix(".0")
    if not written or not choices.texts:
        return nothing
    labels = [reader.plain(label) for label in choices.labels]
    label = labels.index(plain) if (plain := reader.plain(written).strip(_OUTSIDE)) in labels else -1
    number, letter = _NUMBER.fullmatch(written), _LETTER.fullmatch(written)
    place = ord(letter[1].upper()) - ord("A") if letter else -1
    return Read(
        label, _same_text(written, choices.texts), place if place < len(choices.texts) else -1,
        int(number[1]) if number else -1, len(choices.texts),
    )  # fmt: skip


def _same_text(written: str, texts: Sequence[str]) -> int:
    """The only choice with this text: as it stands, without case and outer signs, or after its letter ("B. iron")."""
    ways = (str.strip, lambda said: folded(said).strip(_OUTSIDE))
    for plain in ways:
        same = [index for index, choice in enumerate(texts) if plain(choice) == plain(written)]
        if len(same) == 1 and plain(written):
            return same[0]
    marked = re.match(r"\(?([A-Za-z])[).:]\s*(.+)", written, re.DOTALL)
    index = ord(marked[1].upper()) - ord("A") if marked else -1
    plain = ways[1]
    return index if marked and index < len(texts) and plain(texts[index]) == plain(marked[2]) else -1


def _is_code(read: Sequence[Read], kind: str, where: str) -> bool:
    """Whether numbers (or letters) are codes: not when each of them is also the text of a choice."""
    coded = [item for item in read if getattr(item, kind) >= 0 and item.label < 0]
    if not coded or all(item.text >= 0 for item in coded):
        return False
    if kind == "letter":
        clash = [item for item in coded if item.text >= 0 and item.text != item.letter]
        if len(clash) > RARE * len(coded):
            raise DataError(f"{where}: {len(clash):,} of {len(coded):,} answers are a letter and a choice's text", HOW)
    return True


def _first(read: Sequence[Read]) -> tuple[int, str]:
    """What the first choice is called, and what to say where the file leaves that open."""
    pure = [item for item in read if item.number >= 0 and item.text < 0 and item.label < 0]
    if not pure or any(item.number == 0 for item in pure):
        return 0, ""
    if any(item.number == item.among for item in pure):
        return 1, ", since none is 0 and the highest is the number of choices"
    return 0, '; none is 0, so if they count from 1, say -p labels "first=1"'


def _refuse_two_meanings(read: Sequence[Read], start: int, where: str) -> None:
    """DataError where many numbers are an index and, for another choice, its text."""
    numbers = [item for item in read if item.number >= 0 and item.label < 0]
    inside = [0 <= item.number - start < item.among for item in numbers]
    clash = sum(fits and 0 <= item.text != item.number - start for item, fits in zip(numbers, inside, strict=True))
    alone = sum(not fits and item.text >= 0 for item, fits in zip(numbers, inside, strict=True))
    if clash > RARE * len(numbers) or (clash and alone):
        raise DataError(
            f"{where}: {clash:,} of {len(numbers):,} answers are the number of one choice and the text of another", HOW
        )


def _mapped(
    values: Sequence[Any], choices: Sequence[Choices], said: Mapping[str, str], where: str
) -> tuple[list[int], str]:
    """Answers by the reader's mapping, such as 1=A,2=B,3=C."""
    meaning = {}
    for code, name in said.items():
        if not re.fullmatch("[A-Za-z]", name):
            raise DataError(
                f"labels says {code}={name}, but {name!r} is no letter of a choice", f"{HOW}, or 1=A,2=B,3=C"
            )
        meaning[code] = ord(name.upper()) - ord("A")
    written = [text(value, "answer").lower().removesuffix(".0") for value in values]
    strange = Counter(word for word in written if word and word not in meaning)
    if strange:
        word, count = strange.most_common(1)[0]
        raise DataError(f"{where} has answers that labels does not name: {word!r} ({count:,})", f"Add {word}=A, or B …")
    indices = [meaning.get(word, -1) for word in written]
    found = [i if i < len(given.texts) else -1 for i, given in zip(indices, choices, strict=True)]
    counts = Counter(written)
    return found, "answers: " + ", ".join(f"{code} -> {said[code].upper()} ({counts[code]:,})" for code in said)
