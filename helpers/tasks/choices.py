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

WRONG = 3  # wrong options a question
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
    questions: Sequence[Question], fits: Callable[[int, str], bool], rng: random.Random
) -> list[Choice]:
    """Give every question three wrong options and a position for the right one.

    Args:
        questions: at most one per row.
        fits: ``fits(row, text)`` says whether ``text`` is certainly wrong for that row.
        rng: source of randomness.

    Returns:
        Choices in the order of ``questions``; a question that cannot be given enough wrong options is left
        out. Right positions are used equally often.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        groups[question.group].append(index)
    wrong: list[list[str]] = [[] for _ in questions]

    def usable(index: int, text: str) -> bool:
        question = questions[index]
        return text != question.answer and text not in wrong[index] and fits(question.row, text)

    for name in sorted(groups):
        for _ in range(WRONG):
            for index, source in _exchange(groups[name], lambda i, j: usable(i, questions[j].answer), rng):
                wrong[index].append(questions[source].answer)
    everything = sorted({question.answer for question in questions})
    kept = []
    for index, options in enumerate(wrong):
        # What the exchange could not place is filled from all answers: rare, and mostly in small groups.
        if len(options) < WRONG:
            spare = [text for text in everything if usable(index, text)]
            options += rng.sample(spare, min(WRONG - len(options), len(spare)))
        if len(options) == WRONG:
            kept.append(index)
    choices = []
    for index, position in zip(kept, balanced_positions(len(kept), WRONG + 1, rng), strict=True):
        options = wrong[index]
        rng.shuffle(options)
        options.insert(position, questions[index].answer)
        choices.append(Choice(questions[index].row, options, position))
    return choices


def _exchange(
    members: Sequence[int], good: Callable[[int, int], bool], rng: random.Random
) -> list[tuple[int, int]]:  # fmt: skip
    """Hand every member another member's answer: a random permutation, repaired by swaps.

    Args:
        good: ``good(member, other)`` says whether the other's answer is a usable wrong option for the member.

    Returns:
        The pairs (member, other) that are good.
    """
    order = list(members)
    rng.shuffle(order)
    for _ in range(3):
        bad = [slot for slot, member in enumerate(members) if not good(member, order[slot])]
        if not bad:
            break
        for slot in bad:
            for other in rng.sample(range(len(members)), min(len(members), TRIES)):
                if good(members[slot], order[other]) and good(members[other], order[slot]):
                    order[slot], order[other] = order[other], order[slot]
                    break
    return [(member, source) for member, source in zip(members, order, strict=True) if good(member, source)]
