"""Reads pieces of a written answer against the options of one question; ``answers`` says in which order."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.tasks import answer_patterns as patterns
from helpers.tasks.answer_text import UNQUOTED, by_key, first_sentence, fold, head, only_text, spellings, without_tex


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
UNCLEAR = Answer(None, "a label that is also part of an option")


class Reader:
    """Reads pieces of an answer against one list of options."""

    def __init__(self, options: list[str], first_number: int) -> None:
        self.options = options
        self.first_number = first_number
        self.folded = [fold(option) for option in options]
        self.spelt = [spellings(option, option=True) for option in options]
        self.heads = [spellings(head(option), option=True) if head(option) else None for option in options]
        self.labelled = not any(re.fullmatch(r"[a-z]|\d{1,2}", option) for option in self.folded)
        self.counted = bool(options) and all(re.match(r"[-+−$£€~]?\d", option) for option in self.folded)

    def same(self, text: str, loose: bool = False) -> Answer | None:
        """The option that ``text`` is, at the most exact spelling that fits any; None where it is no option.

        Args:
            loose: its name ("straw man" of "straw man: a ...") or first words will do.
        """
        given = spellings(text)
        ways: list[tuple[str, Sequence[list[str] | None], Callable[[str, str], bool]]]
        ways = [("option text", self.spelt, operator.eq)]
        if loose:
            ways += [("name of an option", self.heads, operator.eq), ("first words", self.spelt, _begins)]
        for how, known, fits in ways:
            if how == "first words" and not self._telling(given[-2]):
                return None
            for level, spelling in enumerate(given):
                found = [i for i, texts in enumerate(known) if texts and texts[level] and fits(texts[level], spelling)]
                if len(found) == 1 or (found and level == len(given) - 1):
                    if len(found) > 1:
                        return SEVERAL if how != "first words" else None
                    others = [i for i in range(len(self.options)) if i != found[0]]
                    elsewhere = rf"(?<!\w){re.escape(spelling)}(?!\w)"
                    if how == "first words" and any(re.search(elsewhere, self.spelt[i][level]) for i in others):
                        return None
                    if level == UNQUOTED and any(spellings(self.options[i])[level] == spelling for i in others):
                        return SEVERAL
                    return Answer(found[0], how)
        return None

    def _telling(self, folded: str) -> bool:
        words = re.findall(r"[^\W\d_]{3,}", folded)
        names = {fold(text[0]) for text in self.heads if text}
        inside = any(name.startswith(folded) and name != folded for name in names)  # "false" of "false causation: ..."
        return not inside and any(word not in patterns.HOLLOW for word in words) and len(folded) > 3

    def short(self, text: str, loose: bool = False) -> Answer | None:
        """A text that is an option, a label, or both; None when it is anything else."""
        if (exact := self.same(text, loose)) is not None:
            return exact
        if not self.labelled or re.match(r"\W*[-−]\d", text):  # "-1" is no label
            return None
        plain = without_tex(unicodedata.normalize("NFKC", text))
        plain = re.sub(r"^[^\w\[(#]+|[^\w\])}.:,;!+#%°/=-]+$", "", plain.strip(" \t\n\"'`*_“”")).strip(" \"'`*_")
        plain = patterns.MARKED_LABEL.sub(r"\1", patterns.END_MARKS.sub("", plain))
        kept = patterns.FILLER.sub("", patterns.DENIED_LABEL.sub("", plain).strip())
        if self._labels(kept):
            return SEVERAL
        if alone := patterns.LABEL_ALONE.fullmatch(kept):
            return self.label(alone["label"])
        beside = re.match(r"[\[(]?([A-Z])[\])]?\s+(?=\S)", kept)
        if beside and (named := self.same(kept[beside.end() :])) and named == Answer(ord(beside[1]) - 65, named.reason):
            return named
        first = patterns.LABEL_FIRST.fullmatch(kept)
        return None if first is None else self._label_and_text(first)

    def _label_and_text(self, first: re.Match[str]) -> Answer | None:
        labelled, rest = self.label(first["label"]), first["rest"]
        if labelled.index is None:
            return labelled if first["sign"].strip() else None
        same, mentioned = self.same(rest.split("\n")[0]), self.mention(rest)
        if same is not None and same.index is not None and same.index != labelled.index:
            return MISMATCH
        if any(patterns.LABEL_FIRST.fullmatch(line.strip()) for line in rest.splitlines()):
            return None  # a list of options: for the rule on lines
        others = {self.label(m["label"]).index for m in patterns.LABELS_BESIDE.finditer(rest)}
        if mentioned == SEVERAL and others - {labelled.index, None}:
            return SEVERAL  # the options in one line
        supported = labelled.index in (mentioned.index, same and same.index)
        if first["label"].isdigit() and rest.strip() and not supported and not self._because(first):
            return None  # the first of several steps, an amount
        if first["label"] == "a" and mentioned.index is not None and not supported:
            return None  # "a, ..." is more likely an article
        if first["label"] in "aI" and first["sign"].startswith(",") and not supported:
            return None
        return labelled

    @staticmethod
    def _because(first: re.Match[str]) -> bool:
        return re.match(r"(?:because|since|as|for|due)\b", first["rest"], re.IGNORECASE) is not None

    def label(self, label: str) -> Answer:
        """The option that a letter or number stands for."""
        number = label.isdigit()
        index = int(label) - self.first_number if number else ord(label.lower()) - ord("a")
        if not 0 <= index < len(self.options):
            return OUT_OF_RANGE
        if number and self.counted:
            return UNCLEAR
        inside = rf"(?<![\w.]){label}(?!\w|\.\d)" if number else rf"(?<=[a-z] ){label.upper()}(?!\w)(?! and| or|,)"
        for i, option in enumerate(self.options):
            before = re.search(inside, option) if i != index else None
            if before and not re.search(r"\b(?:and|or|both|neither|nor|either|not)\s+$", option[: before.start()]):
                return UNCLEAR
        return Answer(index, "number" if number else "letter")

    def _labels(self, text: str) -> bool:
        """Whether ``text`` begins with several labels in a row: "A, B and C", "both A and B"."""
        found = patterns.LABEL_LIST.search(text)
        if not found or patterns.BEFORE_LABELS.sub("", text[: found.start()]).strip(" :*\"'(["):
            return False
        letters = re.findall(r"(?<!\w)(?:[A-Za-z]|\d{1,2})(?!\w)", found["all"])
        if len({x.isdigit() for x in letters}) > 1 or (any(x.islower() for x in letters) and "a" in letters):
            return False
        return len({x.lower() for x in letters}) > 1

    def statements(self, text: str) -> Answer | None:
        """What the text says after each "the answer is", "final answer" above all; None where it says so nowhere."""
        marks = list(patterns.MARKER.finditer(text))
        final = [m for m in marks if patterns.FINAL.search(text[: m.start()])]
        if not marks:
            return None
        answers = [(m.start(), m.end(), self.statement(text[m.end() :])) for m in final or marks]
        rest = text[(final or marks)[-1].end() :]
        for back in patterns.TAKEN_BACK.finditer(rest):
            instead = self.short(first_sentence(rest[back.end() :])) if rest[back.end() :].strip() else None
            if instead is not None and instead.index is not None:
                return instead
        return last_word(text, answers)

    def said(self, text: str) -> Answer:
        """A piece that is the answer, or says what the answer is."""
        stated = self.statements(text)
        return stated if stated is not None and stated.index is not None else self.statement(text)

    def statement(self, text: str) -> Answer:
        """What follows "the answer is"."""
        text = text.strip()
        if not text:
            return NO_OPTION
        line, sentence = text.split("\n", 1)[0], first_sentence(text)
        for piece in dict.fromkeys((text.split("\n\n", 1)[0], line)):
            if (exact := self.same(piece)) is not None:
                return exact
        for piece in dict.fromkeys((line, sentence)):
            if (found := self.short(piece, loose=True)) is not None:
                return found
        denied = patterns.NEGATION.match("".join(sentence.split()[:1]) + " ")
        mentioned = self.mention(sentence)
        return DENIED if denied and mentioned.index is None else mentioned

    def weak(self, text: str) -> Answer | None:
        """What follows "it is": a capital letter, a bracketed one, or an option and nothing else."""
        sentence = first_sentence(text)
        if patterns.CAPITAL.match(sentence):
            return self.short(re.split(r",(?!\s*\S*[A-Z]\b)", sentence)[0])
        return self.same(sentence)

    def value(self, value: Any) -> Answer:
        """An answer taken from JSON."""
        if isinstance(value, (list, tuple)):
            return agreed(self.value(item) for item in value) if value else NOTHING
        if isinstance(value, dict):
            inner = by_key(value) if by_key(value) is not None else only_text(value)
            return NO_OPTION if inner is None else self.value(inner)
        if value is None or isinstance(value, bool):
            value = {None: "", True: "true", False: "false"}[value]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = str(value)
        found = self.said(text) if fold(text) else NOTHING
        return self.mention(text) if found == NO_OPTION else found

    def mention(self, text: str) -> Answer:
        """The only option that stands in ``text`` as whole words, or as a bracketed or named label."""
        raw = " ".join(unicodedata.normalize("NFKC", text).split())
        rest, hits, denied = raw.casefold(), set(), False
        for index in sorted(range(len(self.options)), key=lambda i: -len(self.folded[i])):
            option = self.folded[index]
            pattern = _whole_words(option)
            alike = [i for i, other in enumerate(self.folded) if other == option]
            for match in re.finditer(pattern, rest) if option else ():
                before, after = rest[: match.start()], rest[match.end() :]
                if option in patterns.EVERYDAY and not (
                    patterns.APART_BEFORE.search(before) and patterns.APART_AFTER.match(after)
                ):
                    continue
                if patterns.NEGATION.search(before) or patterns.DENIED_AFTER.match(after):
                    denied = True
                elif len(alike) == 1:
                    hits.add(index)
                else:  # options that differ in case, quotes or marks only
                    exact = [i for i in alike if self.spelt[i][1] in raw] or [
                        i for i in alike if self.spelt[i][5] in raw
                    ]
                    hits.update(exact if len(exact) == 1 else alike)
            rest = re.sub(pattern, "\x00", rest) if option else rest
        how = "mention"
        for match in patterns.LABEL_INSIDE.finditer(raw) if self.labelled else ():
            found = self.label(match["named"] or match["bracketed"])
            if found.index is None:
                continue
            if patterns.NEGATION.search(raw[: match.start()]) or patterns.DENIED_AFTER.match(raw[match.end() :]):
                denied = True
            else:
                how = found.reason if not hits else how
                hits.add(found.index)
        if len(hits) == 1:
            return Answer(hits.pop(), how)
        return SEVERAL if hits else DENIED if denied else NO_OPTION


def _begins(option: str, words: str) -> bool:
    return option.startswith(words) and not re.match(r"\w", option[len(words) :])


def _whole_words(option: str) -> str:
    """A pattern for the option as whole words; "5" is no part of "-5", "5.5", "1/5" or "5%"."""
    left, right = r"(?<!\w)", r"(?!\w)"
    if option[:1].isdigit():
        left += r"(?<![-−])(?<!\d[.,/:])"
    if option[-1:].isdigit():
        right += r"(?![.,/:]\d)(?!\s?[%°])"
    wide = [bool(re.match("[\u2e80-\ud7ff\uf900-\ufaff\u0e00-\u0eff]", sign)) for sign in (option[:1], option[-1:])]
    return ("" if wide[0] else left) + re.escape(option) + ("" if wide[1] else right)


def last_word(text: str, answers: Iterable[tuple[int, int, Answer]]) -> Answer:
    """What the answers at these places of ``text`` agree on, after the last "no", "wait" or "actually" between two."""
    kept: list[Answer] = []
    before = 0
    for start, end, answer in answers:
        named = any(a.index is not None for a in kept)
        if named and answer.index is not None and patterns.CHANGED_MIND.search(text[before:start]):
            kept = []
        kept.append(answer)
        before = end
    return agreed(kept)


def agreed(answers: Iterable[Answer]) -> Answer:
    """The one option that all answers name. One that names none does not count, one that names several does."""
    found = list(answers)
    named = {a.index for a in found if a.index is not None}
    if len(named) > 1 or any(a == SEVERAL for a in found):
        return SEVERAL
    without = UNCLEAR if UNCLEAR in found else found[0] if found else NO_OPTION
    return next((a for a in found if a.index is not None), without)
