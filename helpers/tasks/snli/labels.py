"""Labels of sentence pairs as sources write them → 0, 1, 2, judged by the whole column, with a note of what was read.

Nothing is guessed that the column contradicts: codes count only when all three classes occur, and -1 means "no label"
only where it is rare.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.hints import closest
from helpers.tasks.reading import text
from helpers.tasks.snli.words import LABELS

_LISTS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("labels.toml").read_text(encoding="utf-8"))
WAYS = {  # a way of writing → spelling → class
    way: {word.strip(): LABELS.index(name) for name, words in classes.items() for word in words.split(",")}
    for way, classes in _LISTS.items()
}
NO_LABEL = ("-1", "-", "", "none", "nan", "null", "n/a")
LEFT_OUT = ("none", "-", "left out")  # what a reader's mapping may say instead of a class
FEW = 10  # cells without a label that are never taken for a class
CLASSES = "entailment, neutral, contradiction"


def read_labels(values: Sequence[Any], source: str, mapping: Mapping[str, str] | None = None) -> tuple[list[int], str]:
    """Labels as 0, 1, 2, and -1 where there is none; and a line that says what each spelling was read as.

    Args:
        source: where they come from, for the error.
        mapping: what each spelling means, as the reader says: a class, or ``none`` to leave its rows out. It is then
            the only thing that counts.

    Raises:
        DataError: labels that are not known, that are written in several ways at once, or that may mean something
            else (two classes, 1 to 3, -1 as frequent as a class); says what was found and how to settle it.
    """
    cells = [_plain(value) for value in values]
    found = Counter(cells)
    meaning = _asked(mapping, found, source) if mapping else _judged(found, source)
    labels = [meaning.get(cell, -1) for cell in cells]
    return labels, _note(Counter(zip(map(_written, values), labels, strict=True)))


def _written(value: Any) -> str:
    return text(value, "label").removesuffix(".0") or "(empty)"


def _plain(value: Any) -> str:
    said = unicodedata.normalize("NFC", text(value, "label").casefold().removesuffix(".0"))
    return said.strip(" .\"'“”«»") if said not in NO_LABEL else said


def _note(counts: Counter[tuple[str, int]]) -> str:
    order = sorted(counts, key=lambda item: (item[1] if item[1] >= 0 else 9, -counts[item], item[0]))
    names = (*LABELS, "left out")  # the last for -1
    said = [f"{word} -> {names[label]} ({counts[word, label]:,})" for word, label in order]
    absent = [name for index, name in enumerate(LABELS) if all(label != index for _, label in counts)]
    more = f"; {' and '.join(absent)} never occur{'s' if len(absent) == 1 else ''}" if absent else ""
    return f"labels: {', '.join(said[:12])}{' …' if len(said) > 12 else ''}{more}"


def _asked(mapping: Mapping[str, str], found: Counter[str], source: str) -> dict[str, int]:
    """The reader's mapping, checked against the words of the task and the codes of the file."""
    meaning = {}
    for code, name in mapping.items():
        plain = _plain(name)
        if plain in WAYS["words"]:
            meaning[_plain(code)] = WAYS["words"][plain]
        elif plain in LEFT_OUT:
            meaning[_plain(code)] = -1
        else:
            turned = _plain(code) in WAYS["words"]
            near = closest(plain, LABELS)
            hint = f"write it the other way round: {name}={code}" if turned else f"nearest is {near!r}" if near else ""
            what = f"labels says {code}={name}, but {name!r} is no class" + (f": {hint}" if hint else "")
            raise DataError(what, f"Classes are {CLASSES}; none leaves rows out")
    unnamed = Counter({code: count for code, count in found.items() if code and code not in meaning})
    for code in ("none", "nan", "null"):  # empty cells, as programs write them
        unnamed.pop(code, None)
    if unnamed:
        code = unnamed.most_common(1)[0][0]
        what = f"{source} has labels that labels does not name: {_shown(unnamed)}"
        raise DataError(what, f"Add them, as in {code}=none to leave rows out; classes are {CLASSES}")
    return meaning


def _shown(counts: Counter[str]) -> str:
    more = " …" if len(counts) > 8 else ""
    return ", ".join(f"{label!r} ({count:,})" for label, count in counts.most_common(8)) + more


def _judged(found: Counter[str], source: str) -> dict[str, int]:
    """What each spelling means by itself; DataError where the column leaves that open."""
    given = Counter({label: count for label, count in found.items() if label not in NO_LABEL})
    none = Counter({label: count for label, count in found.items() if label in NO_LABEL and label})
    way = next((name for name, spelt in WAYS.items() if given.keys() <= spelt.keys()), None)
    if way is None:
        _refuse_unknown(given, found, source)
    meaning = {label: WAYS[str(way)][label] for label in given}
    classes = len(set(meaning.values()))
    written = _shown(given + none)
    # Words say what they mean, also when one class is missing; codes, letters and yes/no do not.
    if given and classes < 3 and way != "words":
        what = f"{source} has the labels {written}: not all three classes occur, so each may mean something else"
        _refuse(what, given + none)
    if given and (often := none.most_common(1)) and often[0][1] > max(FEW, min(given.values()) / 2):
        label, count = often[0]
        what = f"{source} has the labels {written}: {label!r} is too frequent ({count:,} rows) to mean 'no label'"
        _refuse(what, given + none)
    return meaning


def _refuse_unknown(given: Counter[str], found: Counter[str], source: str) -> None:
    several = [way for way, spelt in WAYS.items() if given.keys() & spelt.keys()]
    known = set().union(*(WAYS[way] for way in several))
    strange = [label for label, _ in given.most_common() if label not in known]
    shown = _shown(found)
    if not strange:
        _refuse(f"{source} mixes several ways of writing labels; found {shown}", given)
    near = _near(strange[0], WAYS["words"])
    hint = f" (nearest is {near!r})" if near else ""
    if set(given) == {"1", "2", "3"}:
        _refuse(f"{source} has the labels {shown}: counted from 1, in an order that is not known", given)
    _refuse(f"{source} has unknown labels such as {strange[0]!r}{hint}; found {shown}", given)


def _refuse(what: str, codes: Counter[str]) -> None:
    """DataError with a mapping to fill in, written for the codes of this file; ? is what only the reader knows."""
    names = sorted(label for label, _ in codes.most_common(6) if label not in ("none", "nan", "null"))
    # Codes may be the usual ones only where none of the three is missing.
    usual = [spelt for way, spelt in WAYS.items() if way == "words" or spelt.keys() <= codes.keys()]
    known = {code: LABELS[spelt[code]] for spelt in usual for code in names if code in spelt}
    known |= {code: near for code in names if code not in known and (near := _near(code, LABELS))}
    template = ",".join(f"{code}={known.get(code, '?')}" for code in names)
    cure = f'Say what each one means, with a class in place of ?: -p labels "{template}"; none leaves rows out. '
    raise DataError(what, cure + f"Without it, allowed are 0, 1, 2 ({CLASSES}) or these words")


def _near(label: str, words: Iterable[str]) -> str | None:
    """The word that a label is a slip of; "not_entailment" is none of entailment."""
    if re.match(r"(?:no|not|non|un)[ _-]", label):
        return None
    return closest(label, words, cutoff=0.8)
