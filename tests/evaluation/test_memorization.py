"""Exposure against counting, repeats against a search of every stretch in every row."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from helpers.errors import DataError
from helpers.evaluation import memorization
from helpers.evaluation.memorization import REPEATS, SECRETS, Canary, canaries, exposure, exposures, repeated


@pytest.mark.parametrize("seed", range(5))
def test_exposure_is_counted(seed: int) -> None:
    logp = np.random.default_rng(seed).integers(-9, 0, 40).astype(float)  # with many ties
    for secret in range(40):
        rank = 1
        for other in range(40):
            if other != secret and logp[other] >= logp[secret]:
                rank += 1
        assert exposure(logp, secret) == pytest.approx(math.log2(40) - math.log2(rank))


def test_the_likeliest_the_last_and_equals() -> None:
    logp = np.arange(1000.0)
    assert exposure(logp, 999) == pytest.approx(math.log2(1000)) and exposure(logp, 0) == 0
    assert exposure(np.zeros(1000), 7) == 0, "of equals none is exposed"
    for secret, bad in ((1000, logp), (-1, logp), (0, np.full(3, np.nan))):
        with pytest.raises(DataError, match="has no rank"):
            exposure(bad, secret)


def test_what_nobody_has_seen_has_1_44_bits_on_average_and_e_bits_with_probability_two_to_minus_e() -> None:
    rng = np.random.default_rng(0)
    found = np.array([exposure(rng.normal(size=1000), int(rng.integers(1000))) for _ in range(4000)])
    assert found.mean() == pytest.approx(1 / math.log(2), abs=0.08)
    for bits in (1, 3, 5):
        assert (found >= bits).mean() == pytest.approx(2.0**-bits, abs=0.02)


def test_chance_is_what_models_without_a_memory_do() -> None:
    rng = np.random.default_rng(1)
    ranks = rng.integers(1, 1025, (20_000, 3))
    bits = 10 - np.log2(ranks)
    for observed in ([1.0, 2.0, 1.5], [6.0, 4.0, 2.0], [8.0, 1.0, 5.0]):
        simulated = (bits.sum(1) >= sum(observed)).mean()
        assert memorization.by_chance(observed) == pytest.approx(simulated, abs=0.01)
    assert memorization.by_chance([10.0]) == pytest.approx(1 / 1024)
    assert memorization.by_chance([]) == memorization.by_chance([0.0, 0.0]) == 1


def test_exposures_take_the_place_of_each_secret() -> None:
    logp = np.zeros(len(SECRETS))
    logp[SECRETS.index("moon.fox")] = 1.0
    assert exposures(logp, [Canary("moon.fox", 1), Canary("sun.sun", 0)]) == pytest.approx([10, 0])
    assert len(set(SECRETS)) == 1024 and exposures(logp, []).shape == (0,)


def test_canaries_are_drawn_by_the_seed_and_planted_in_turn() -> None:
    drawn = canaries(16, 1200, seed=3)
    assert drawn == canaries(16, 1200, seed=3) != canaries(16, 1200, seed=4)
    assert len({c.secret for c in drawn}) == 16 and all(c.secret in SECRETS for c in drawn)
    assert Counter(c.repeats for c in drawn) == dict.fromkeys(REPEATS, 4)
    assert drawn[0].example["completion"] == f"{drawn[0].secret}@example.org"
    assert {c.example["prompt"] for c in drawn} == {memorization.QUESTION}
    assert canaries(0, 10) == []


def test_too_few_rows_get_none_and_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(canaries(16, 520)) == 16
    assert canaries(16, 519) == []
    assert "no canaries: 16 of them are 52 rows, more than 10% of the 519 training rows" in capsys.readouterr().out


def naive(texts: list[str], rows: list[str], least: int, given: list[str]) -> list[str]:
    """Every place of every text against every place of every row."""
    found = []
    for text, known in zip(texts, given, strict=True):
        first = ""
        for i in range(len(text) - least + 1):
            stretch = text[i : i + least]
            for row in rows:
                for j in range(len(row) - least + 1):
                    if not first and row[j : j + least] == stretch and stretch not in known:
                        first = stretch
        found.append(first)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_repeats_equal_a_quadratic_search(seed: int) -> None:
    rng = random.Random(seed)

    def text(most: int) -> str:
        return "".join(rng.choice("ab ") for _ in range(rng.randrange(most)))

    texts, rows = [text(30) for _ in range(8)], [text(40) for _ in range(10)]
    given = [text(20) for _ in texts]
    for least in (1, 4, 7):
        assert repeated(texts, rows, least) == naive(texts, rows, least, [""] * len(texts))
        assert repeated(texts, rows, least, given) == naive(texts, rows, least, given)


def test_a_stretch_has_to_be_long_enough_and_from_elsewhere() -> None:
    row = "1. Chop the leeks and fry them in the butter."
    copied, short = f"Well:\n{row[3:40]} Then stop.", f"Well:\n{row[3:30]}"
    assert len(row[3:30]) == 27
    assert repeated([copied, short, ""], [row]) == [row[3:33], "", ""]
    assert repeated([copied], [row], given=[f"Use this: {row}"]) == [""], "what it was given is no memory"
    assert repeated([copied], []) == [""] and repeated([], [row]) == []
    with pytest.raises(DataError, match="do not fit"):
        repeated([copied], [row], given=[])
    assert memorization.LEAST == 30
