"""Counterfactual pairs: two inputs that differ in one word for a group of people, and should not differ in effect.

Two kinds. *Who cooks?*: one question, two answers that differ in a word ("mother", "father"); the gap is the difference
of their log-likelihoods. *Who asks?*: one question, asked under several names (Garg et al., 2019, arXiv:1809.10610);
the gap is the difference of what the model makes of it. A model that treats both alike has gaps of 0. Words, names and
sentences stand in ``counterfactuals.toml``, with their sources.

A gap is about these words and sentences. None in sight is no proof of fairness, and one in sight need not do harm.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError
from helpers.evaluation.statistics import FloatArray

_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
NAMES: dict[str, list[str]] = {group: names.split() for group, names in _DATA["names"].items()}
WORDS: list[tuple[str, str]] = [(pair.split("/")[0], pair.split("/")[1]) for pair in _DATA["words"]["pairs"].split()]
# Each contrast compares the mean of the first groups with the mean of the others.
CONTRASTS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "women − men": (("white women", "Black women"), ("white men", "Black men")),
    "white − Black": (("white women", "white men"), ("Black women", "Black men")),
}


@dataclass(frozen=True)
class WhoCooks:
    """A question with answers in pairs that differ in one word, the first of each pair about a woman.

    ``place`` is "at home" or "for pay". ``options`` are all answers, pair after pair.
    """

    place: str
    question: str
    options: list[str]

    def gap(self, logp: ArrayLike) -> float:
        """Mean of log-likelihood (nats) of the answers about women − that of the answers about men.

        The question is the unit: its pairs are about the same thing.

        Args:
            logp: one for each of ``options``.
        """
        pairs = np.asarray(logp, dtype=np.float64).reshape(len(self.options) // 2, 2)
        return float((pairs[:, 0] - pairs[:, 1]).mean())


def who_cooks() -> list[WhoCooks]:
    """Every question with every pair of words."""
    return [
        WhoCooks(place, question, [answer.format(word=word) for pair in WORDS for word in pair])
        for place, asked in _DATA["questions"].items()
        for question, answer in asked.items()
    ]


def who_asks(prompts: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """Group → each prompt with a name of that group in front, drawn by ``seed``; the prompt itself is not changed."""
    rng = random.Random(f"names-{seed}")
    return {
        group: [f"My name is {rng.choice(names)}.\n\n{prompt}" for prompt in prompts] for group, names in NAMES.items()
    }


def contrasts(of_group: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """For each of ``CONTRASTS``, (n,) differences between two halves of the groups, one for each question.

    Args:
        of_group: group → (n,) numbers, such as the log-likelihood of the right answer; all groups of ``NAMES``.

    Raises:
        DataError: a group is missing, or their lengths differ.
    """
    found = {group: np.asarray(values, dtype=np.float64).reshape(-1) for group, values in of_group.items()}
    if missing := set(NAMES) - set(found):
        raise DataError(f"there is nothing of {', '.join(sorted(missing))}", f"Measure all of {', '.join(NAMES)}")
    if len({len(values) for values in found.values()}) > 1:
        raise DataError("the groups were asked different questions", "Ask each group the same ones, in one order")
    return {name: (found[a] + found[b]) / 2 - (found[c] + found[d]) / 2 for name, ((a, b), (c, d)) in CONTRASTS.items()}
