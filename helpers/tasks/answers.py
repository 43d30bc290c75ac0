"""Reading a written answer to a multiple-choice question: which option does it name, if exactly one?

A model asked to write its choice writes "B", "(b)", "The answer is B.", the option itself, JSON whole or broken,
nothing, or a discussion of all options. ``parse_answer`` returns the option or the reason why there is none; it
never picks one of two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

KEYS = ("final_answer", "correct_answer", "answer", "correct_choice", "choice", "option", "prediction", "label")


@dataclass(frozen=True)
class Answer:
    """What was read.

    Attributes:
        index: of the option, or None.
        reason: how it was read ("option text", "letter", "number", ...), or why no option was found.
    """

    index: int | None
    reason: str


NOTHING = Answer(None, "empty")
NO_OPTION = Answer(None, "names no option")
SEVERAL = Answer(None, "names several options")
DENIED = Answer(None, "only says which option is wrong")
MISMATCH = Answer(None, "the label and the text beside it are different options")
OUT_OF_RANGE = Answer(None, "a label beyond the last option")

_MARKER = re.compile(
    r"(?:\b(?:answer|choice|option|prediction)\b[*_\"'`]*\s*"
    r"(?:(?:is|was|would be|should be|must be|has to be)\b\s*:?|[:=]|->|=>|→)"
    r"|\bI\s+(?:would\s+)?(?:choose|pick|select|go with|went with)\b"
    r"|\\boxed\s*\{)[\s*_\"'`]*",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"(?:\bnot|\bnever|n['’]t|\bexcept|\brather than|\binstead of|\bwrong:?|\bincorrect:?)\s*"
                       r"(?:\b(?:be|the|a|an|is|option|choice|answer)\b\s*)*[\"'`*(\[]*$", re.IGNORECASE)  # fmt: skip
_LABEL = r"(?:option|choice|answer)?\s*[\[(#]?\s*(?P<label>[a-z]|\d{1,2})\s*"
_LABEL_ALONE = re.compile(_LABEL + r"[\])]?\s*[.:,;!)]*$", re.IGNORECASE)
_LABEL_FIRST = re.compile(
    _LABEL + r"(?P<sign>[\])]\s*[.:,;-]?|[.:,;](?!\d)|\s[-–—]\s|\s(?=because\b|since\b|as it\b))\s*(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LABEL_INSIDE = re.compile(
    r"(?:\b(?i:option|choice|answer)\s+[\[(]?(?P<named>[A-Z]|\d{1,2})[\])]?(?!\w)|[\[(](?P<bracketed>[A-Z]|[a-z]|\d{1,2})[\])])"
)


def parse_answer(text: str, options: Sequence[str], first_number: int = 1) -> Answer:
    """Which option ``text`` names.

    In this order: the whole text is an option or its label (letter or number); JSON with an answer in it; "the
    answer is …", which has to say the same each time; a first line that is a label or an option, unless other
    lines are others; the only option mentioned anywhere. Labels do not count where options are themselves single
    letters or numbers. A mention after "not" is none. An option inside a longer mentioned one ("cream" in
    "sour cream") is no second mention.

    Args:
        first_number: the number of the first option, for models that were shown numbered options: 1 or 0.
    """
    reader = _Reader([fold(o) for o in options], first_number)
    text = text.replace("\u200b", "").strip()
    if not fold(text):
        return NOTHING
    whole = reader.short(text)
    if whole is not None:
        return whole
    value = _json_answer(text)
    if value is not None:
        return reader.value(value)
    stated = [_sentence(text[m.end() :]) for m in _MARKER.finditer(text)]
    if stated:
        return _agreed(reader.statement(s) for s in stated)
    lines = [found for line in text.splitlines() if (found := reader.short(line)) is not None]
    if lines and (reader.short(text.splitlines()[0]) is not None or len({a.index for a in lines}) > 1):
        return _agreed(lines)
    return reader.mention(text)


def parse_choice(text: str, options: Sequence[str], first_number: int = 1) -> int:
    """``parse_answer`` as an index, -1 where no option was found."""
    index = parse_answer(text, options, first_number).index
    return -1 if index is None else index


def fold(text: str) -> str:
    """Case-folded, single spaces, no outer punctuation, quotes or marks of emphasis."""
    return " ".join(text.casefold().split()).strip(" .,:;!?\"'`*_()[]{}“”‘’«»")


class _Reader:
    """Reads pieces of an answer against one list of folded options."""

    def __init__(self, options: list[str], first_number: int) -> None:
        self.options = options
        self.first_number = first_number
        self.labelled = not any(re.fullmatch(r"[a-z]|\d{1,2}", option) for option in options)

    def short(self, text: str) -> Answer | None:
        """A text that is an option, a label, or both; None when it is anything else."""
        folded = fold(text)
        exact = [i for i, option in enumerate(self.options) if option and _bare(option) == _bare(folded)]
        if exact:
            return Answer(exact[0], "option text") if len(exact) == 1 else SEVERAL
        if not self.labelled:
            return None
        plain = text.strip(" \t\n\"'`*_“”")
        if alone := _LABEL_ALONE.fullmatch(plain):
            return self.label(alone["label"])
        first = _LABEL_FIRST.fullmatch(plain)
        if first is None:
            return None
        labelled, beside = self.label(first["label"]), self.mention(first["rest"])
        if labelled.index is None:
            return labelled if first["sign"].strip() else None
        same = [i for i, o in enumerate(self.options) if o and _bare(o) == _bare(fold(first["rest"].split("\n")[0]))]
        if same and labelled.index not in same:
            return MISMATCH
        other_labels = [m for line in first["rest"].splitlines() if (m := _LABEL_FIRST.fullmatch(line.strip()))]
        if other_labels:
            return None  # a list of options: for the rule on lines
        if beside.index is not None and beside.index != labelled.index and first["label"] == "a":
            return None  # "a, ..." is more likely an article
        return labelled

    def label(self, label: str) -> Answer:
        """The option that a letter or number stands for."""
        kind = "number" if label.isdigit() else "letter"
        index = int(label) - self.first_number if label.isdigit() else ord(label.lower()) - ord("a")
        return Answer(index, kind) if 0 <= index < len(self.options) else OUT_OF_RANGE

    def statement(self, text: str) -> Answer:
        """What follows "the answer is"."""
        return self.short(text) or (DENIED if _NEGATION.match("".join(text.split()[:1]) + " ") else self.mention(text))

    def value(self, value: Any) -> Answer:
        """An answer taken from JSON."""
        if isinstance(value, (list, tuple)):
            return _agreed(self.value(item) for item in value) if value else NOTHING
        if isinstance(value, dict):
            inner = _by_key(value)
            return NO_OPTION if inner is None else self.value(inner)
        if value is None or isinstance(value, bool):
            value = {None: "", True: "true", False: "false"}[value]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = str(value)
        return NOTHING if not fold(text) else self.short(text) or self.mention(text)

    def mention(self, text: str) -> Answer:
        """The only option that stands in ``text`` as whole words, or as a bracketed or named label."""
        rest, hits, denied = " ".join(text.casefold().split()), set(), False
        for index in sorted(range(len(self.options)), key=lambda i: -len(self.options[i])):
            option = self.options[index]
            if not option:
                continue
            pattern = rf"(?<!\w){re.escape(option)}(?!\w)"
            for match in re.finditer(pattern, rest):
                if _NEGATION.search(rest[: match.start()]):
                    denied = True
                else:
                    hits.add(index)
            rest = re.sub(pattern, "\x00", rest)
        how = "mention"
        if self.labelled:
            for match in _LABEL_INSIDE.finditer(text):
                found = self.label(match["named"] or match["bracketed"])
                if found.index is None:
                    continue
                if _NEGATION.search(text[: match.start()]):
                    denied = True
                else:
                    how = found.reason if not hits else how
                    hits.add(found.index)
        if len(hits) == 1:
            return Answer(hits.pop(), how)
        return SEVERAL if hits else DENIED if denied else NO_OPTION


def _agreed(answers: Iterable[Answer]) -> Answer:
    """The one option that all answers name. One that names none does not count, one that names several does."""
    found = list(answers)
    named = {a.index for a in found if a.index is not None}
    if len(named) > 1 or any(a == SEVERAL for a in found):
        return SEVERAL
    return next((a for a in found if a.index is not None), found[0])


def _bare(folded: str) -> str:
    """Without a leading article: "the salt" is "salt"."""
    return re.sub(r"^(?:the|an?)\s+(?=\S)", "", folded)


def _sentence(text: str) -> str:
    """Up to the end of the line, of the boxed part or of the sentence."""
    line = text.split("\n", 1)[0]
    return re.split(r"(?<=[a-z0-9)\"'*][.!?])\s+(?=[A-Z])|\}", line, maxsplit=1)[0]


def _json_answer(text: str) -> Any:
    """The answer in JSON anywhere in ``text``, whole or broken; None when there is no JSON with an answer."""
    for start in (m.start() for m in re.finditer(r"[{\[\"]", text)):
        if start and text[start] == '"':
            continue  # quotes inside a sentence are not JSON
        try:
            value, _ = json.JSONDecoder().raw_decode(text[start:])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found = _by_key(value)
            if found is not None:
                return found
        elif isinstance(value, (str, list)) and start == 0 and _plain(value):
            return value
    if "{" not in text:
        return None
    for key in KEYS:
        spelt = key.replace("_", "[_ ]")
        broken = re.search(rf"[\"'{{,\s]{spelt}[\"']?\s*[:=]\s*(\"[^\"\n]*|'[^'\n]*|[^,}}\n]*)", text, re.IGNORECASE)
        if broken and fold(broken[1]):
            return broken[1].strip(" \"'")
    return None


def _plain(value: Any) -> bool:
    return isinstance(value, str) or all(isinstance(item, (str, int)) for item in value)


def _by_key(value: dict[str, Any]) -> Any:
    """The value of the first key that stands for an answer, whatever its case and spelling."""
    folded = {re.sub(r"[\s-]+", "_", str(k).strip().lower()): v for k, v in value.items()}
    return next((folded[key] for key in KEYS if folded.get(key) is not None), None)
