"""Four-way questions whose options give nothing away.

Each question brings its own right answer; the wrong options of a question are right answers of *other*
questions of its group. Every option text is thus wrong three times for each time it is right, so neither
its frequency nor its length, wording or oddity tells which option is right.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from helpers.tasks.base import balanced_positions

TRIES = 200  # exchanges tried per misplaced option and pass


@dataclass(frozen=True)
class Question:
    """One question to be given wrong options: who asks, in which group, with which right answer."""

    row: int
    group: str
    answer: str


@dataclass(frozen=True)
class Choice:
    row: int
    options: list[str]
    answer: int


def merge_small(groups: Sequence[str], least: int = 12) -> list[str]:
    """Group names in which every group with fewer than ``least`` members becomes ``"other"``; when that is
    still too small it swallows the smallest remaining group."""
    counts = Counter(groups)
    small = {name for name, count in counts.items() if count < least}
    while small and sum(counts[name] for name in small) < least and len(small) < len(counts):
        small.add(min((n for n in counts if n not in small), key=lambda n: (counts[n], n)))
    return ["other" if name in small else name for name in groups]


def balanced_choices(
    questions: Sequence[Question],
    fits: Callable[[int, str], bool],
    rng: random.Random,
    n_wrong: int = 3,
) -> list[Choice]:
    """Give every question ``n_wrong`` wrong options and a position for the right one.

    Args:
        questions: at most one per row.
        fits: ``fits(row, text)`` says whether ``text`` is certainly wrong for that row.
        rng: source of randomness.
        n_wrong: wrong options per question.

    Returns:
        Choices in the order of ``questions``; a question that cannot be given enough wrong options is left
        out. Right positions are used equally often.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        groups[question.group].append(index)
    wrong: dict[int, list[str]] = {index: [] for index in range(len(questions))}
    for name in sorted(groups):
        for _ in range(n_wrong):
            _one_round(questions, groups[name], wrong, fits, rng)
    everything = sorted({question.answer for question in questions})
    kept = []
    for index, question in enumerate(questions):
        # What the exchange could not place is filled from all answers: rare, and mostly in small groups.
        lacking = n_wrong - len(wrong[index])
        if lacking:
            spare = [text for text in everything if _usable(question, wrong[index], text, fits)]
            wrong[index] += rng.sample(spare, min(lacking, len(spare)))
        if len(wrong[index]) == n_wrong:
            kept.append(index)
    positions = balanced_positions(len(kept), n_wrong + 1, rng)
    choices = []
    for index, position in zip(kept, positions, strict=True):
        options = list(wrong[index])
        rng.shuffle(options)
        options.insert(position, questions[index].answer)
        choices.append(Choice(questions[index].row, options, position))
    return choices


def _usable(
    question: Question, taken: Sequence[str], text: str, fits: Callable[[int, str], bool]
) -> bool:  # fmt: skip
    return text != question.answer and text not in taken and fits(question.row, text)


def _one_round(
    questions: Sequence[Question],
    members: Sequence[int],
    wrong: dict[int, list[str]],
    fits: Callable[[int, str], bool],
    rng: random.Random,
) -> None:
    """Hand every member another member's answer: a random permutation, repaired by swaps."""
    order = list(members)
    rng.shuffle(order)

    def good(slot: int, source: int) -> bool:
        index = members[slot]
        return _usable(questions[index], wrong[index], questions[source].answer, fits)

    for _ in range(3):
        bad = [slot for slot in range(len(members)) if not good(slot, order[slot])]
        if not bad:
            break
        for slot in bad:
            for other in rng.sample(range(len(members)), min(len(members), TRIES)):
                if good(slot, order[other]) and good(other, order[slot]):
                    order[slot], order[other] = order[other], order[slot]
                    break
    for slot, source in enumerate(order):
        if good(slot, source):
            wrong[members[slot]].append(questions[source].answer)
