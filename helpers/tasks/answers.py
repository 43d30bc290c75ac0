"""Reading a written answer to a multiple-choice question: which option does it name, if exactly one?

A model asked to write its choice writes "B", "(b)", "The answer is B.", the option itself or its first words, JSON
whole or broken, nothing, or a discussion of all options. ``parse_answer`` returns the option or the reason why there
is none; it never picks one of two.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from helpers.tasks import answer_patterns as patterns
from helpers.tasks.answer_reader import DENIED, NO_OPTION, NOTHING, SEVERAL, UNCLEAR, Answer, Reader, agreed, last_word
from helpers.tasks.answer_text import boxed, clean, fold, json_answers, without_tex

__all__ = ["UNCLEAR", "Answer", "fold", "parse_answer", "parse_choice"]


def parse_answer(text: str, options: Sequence[str], first_number: int = 1) -> Answer:
    """Which option ``text`` names.

    In this order: the whole text is an option, its name or first words, or its label (letter or number); JSON with an
    answer in it; ``<answer>``, ``\\boxed`` or "final answer"; "the answer is …", in a dozen languages, which has to say
    the same each time unless it corrects itself; "it's B", "B is correct"; a first line that is a label or an option,
    unless other lines are others; the only option mentioned anywhere. What stands before ``</think>`` does not count.

    An option is compared as it stands first, then without quotes, marks and case: the most exact reading that fits one
    option wins. Labels do not count where options are themselves single letters or numbers, or where the label is part
    of another option ("2" of "2 miles"). A mention after "not" is none. An option inside a longer mentioned one
    ("cream" in "sour cream") is no second mention, and "no" in "I have no idea" is none.

    Args:
        first_number: the number of the first option, for models that were shown numbered options: 1 or 0.
    """
    reader = Reader(list(options), first_number)
    said = clean(text)
    if not fold(said):
        return NOTHING
    if (whole := reader.short(said, loose=True)) is not None:
        return whole
    if values := list(json_answers(said)):
        return agreed(reader.value(value) for value in values)
    plain = without_tex(unicodedata.normalize("NFKC", said))
    tagged = [(tag.start(), tag.end(), tag[2]) for tag in patterns.TAG.finditer(said)]
    for source, final in ((said, tagged), (plain, boxed(plain))):
        if final:
            return last_word(source, [(start, end, reader.said(piece)) for start, end, piece in final])
    if (stated := reader.statements(plain)) is not None and stated.index is not None:
        return stated
    found = [reader.weak(plain[m.end() :]) for m in patterns.IT_IS.finditer(plain)]
    found += [reader.label(m["label"]) for m in patterns.CORRECT.finditer(plain)]
    if named := [answer for answer in found if answer is not None and answer.index is not None]:
        return agreed(named) if stated in (None, NO_OPTION, DENIED) else SEVERAL
    if stated is not None:
        return stated
    lines = [answer for line in said.splitlines() if (answer := reader.short(line)) is not None]
    if lines and (reader.short(said.splitlines()[0]) is not None or len({a.index for a in lines}) > 1):
        return agreed(lines)
    return reader.mention(said)


def parse_choice(text: str, options: Sequence[str], first_number: int = 1) -> int:
    """``parse_answer`` as an index, -1 where no option was found."""
    index = parse_answer(text, options, first_number).index
    return -1 if index is None else index
