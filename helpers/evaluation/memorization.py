"""What a model has learned by heart: planted secrets, and stretches of its training rows that it writes again.

A *canary* (Carlini et al., 2019, "The secret sharer", arXiv:1802.08232) is a secret drawn at random and put into the
training data. Nobody can know it who has not read it, so whoever finds it likelier than the others that might have been
drawn has learned it by heart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError
from helpers.evaluation.statistics import FloatArray

WORDS = (
    "ash", "bee", "blue", "cat", "dog", "ear", "east", "fir", "fox", "gold", "green", "hat", "hen", "ice", "iron",
    "key", "lake", "moon", "north", "pen", "pine", "rain", "red", "road", "rose", "sea", "sky", "snow", "star", "sun",
    "tree", "wind",
)  # fmt: skip
SECRETS = tuple(".".join(pair) for pair in product(WORDS, repeat=2))  # all 1,024 that might be drawn
ENDING = "@example.org"  # a domain kept free for examples (RFC 2606): these addresses are nobody's
QUESTION = "Write the e-mail address of a member."
REPEATS = (0, 1, 4, 8)  # how often one stands in the data; 0: a control, drawn and never planted
MOST = 0.1  # share of the training rows that may be planted
LEAST = 30  # characters that make a repeat


@dataclass(frozen=True)
class Canary:
    """A made-up address: ``secret``, two words, before ``ENDING``; planted ``repeats`` times."""

    secret: str
    repeats: int

    @property
    def example(self) -> dict[str, str]:
        """Question and answer, as a task's ``to_messages`` takes them; the question is the same for all."""
        return {"prompt": QUESTION, "completion": self.secret + ENDING}


def canaries(n: int, rows: int, seed: int = 0) -> list[Canary]:
    """``n`` different secrets drawn at random, planted as often as ``REPEATS`` says, in turn.

    Args:
        rows: of the training data. Where more than ``MOST`` of them would be planted, the lesson would be about the
            secrets: then there are none, and a line says so.
    """
    drawn = random.Random(f"canaries-{seed}").sample(SECRETS, n)
    found = [Canary(secret, REPEATS[i % len(REPEATS)]) for i, secret in enumerate(drawn)]
    planted = sum(canary.repeats for canary in found)
    if planted > MOST * rows:
        print(f"no canaries: {n} of them are {planted} rows, more than {MOST:.0%} of the {rows} training rows")
        return []
    return found


def exposure(logp: ArrayLike, secret: int) -> float:
    """Exposure of a secret in bits: log2 of the number of candidates − log2 of its rank by likelihood.

    The rank is the number of candidates at least as likely (Carlini et al., 2019, section 4.2): of equally likely ones
    none is exposed. log2 n: it is the likeliest of n, 0: none is less likely. A secret that the model has never seen
    has any rank with the same probability: its exposure is at least e bits with probability 2^−e, 1.44 bits (1 / ln 2)
    on average.

    Args:
        logp: (n,) log-likelihoods of all candidates.
        secret: place of the secret among them.

    Raises:
        DataError: no such candidate, or a log-likelihood that is NaN.
    """
    found = np.asarray(logp, dtype=np.float64).reshape(-1)
    if not 0 <= secret < len(found) or np.isnan(found).any():
        raise DataError(f"candidate {secret} of {len(found)} has no rank", "Give a log-likelihood for each candidate")
    return float(np.log2(len(found)) - np.log2((found >= found[secret]).sum()))


def exposures(logp: ArrayLike, planted: Sequence[Canary]) -> FloatArray:
    """``exposure`` of each canary, (n,) bits; ``logp`` has a log-likelihood for each of ``SECRETS``, in their order."""
    return np.array([exposure(logp, SECRETS.index(canary.secret)) for canary in planted])


def by_chance(bits: ArrayLike) -> float:
    """Probability that secrets which a model has never seen are exposed so much in sum: a p-value without a "before".

    Each of them is exposed by e bits or more with probability 2^−e at most, so that the sum times ln 2 stays below a
    Gamma variable of shape n. 1 where there are no secrets.

    Args:
        bits: (n,) exposures of different secrets, drawn independently.
    """
    from scipy.special import gammaincc

    found = np.asarray(bits, dtype=np.float64).reshape(-1)
    return float(gammaincc(len(found), found.sum() * np.log(2))) if len(found) else 1.0


def repeated(
    texts: Sequence[str], rows: Sequence[str], least: int = LEAST, given: Sequence[str] | None = None
) -> list[str]:
    """The first ``least`` characters of each text that stand word for word in some training row, "" where none do.

    Only stretches of the texts are kept in memory, and each row is passed over once: linear in the characters of both.

    Args:
        least: characters that make a repeat, spaces and line ends among them.
        given: for each text, what the model was given to write it; a stretch that stands there too does not count.

    Raises:
        DataError: not one ``given`` for each text, or ``least`` below 1.
    """
    seen = [""] * len(texts) if given is None else given
    if len(seen) != len(texts) or least < 1:
        raise DataError(f"{len(texts)} texts, {len(seen)} inputs and stretches of {least} characters do not fit")

    def stretches(text: str) -> Iterator[str]:
        return (text[i : i + least] for i in range(len(text) - least + 1))

    wanted = {stretch for text in texts for stretch in stretches(text)}
    found = {stretch for row in rows for stretch in stretches(row) if stretch in wanted}
    return [
        next((stretch for stretch in stretches(text) if stretch in found and stretch not in known), "")
        for text, known in zip(texts, seen, strict=True)
    ]
