"""Near-duplicates: equal to comparing all pairs, and quick."""

from __future__ import annotations

import random
import time

import pytest

from helpers.tasks.dedupe import keep_first, near_duplicate_pairs


def brute_force(texts: list[str], threshold: float, size: int) -> list[tuple[int, int]]:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        if len(words) < size:
            return {tuple(words)} if words else set()
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}

    sets = [grams(text) for text in texts]
    pairs = []
    for j in range(len(sets)):
        for i in range(j):
            union = sets[i] | sets[j]
            if union and len(sets[i] & sets[j]) / len(union) >= threshold - 1e-12:
                pairs.append((i, j))
    return sorted(pairs)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.6, 0.75, 1.0])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_equals_comparison_of_all_pairs(threshold: float, size: int) -> None:
    rng = random.Random(f"{threshold}-{size}")
    for vocabulary in (2, 4, 12, 60):
        words = [f"w{number}" for number in range(vocabulary)]
        texts = [" ".join(rng.choices(words, k=rng.randint(0, 14))) for _ in range(40)]
        texts += [f"{text} {rng.choice(words)}" for text in texts[:20]]  # near copies
        assert near_duplicate_pairs(texts, threshold, size) == brute_force(texts, threshold, size)


def test_case_and_punctuation_do_not_matter() -> None:
    assert near_duplicate_pairs(["Chop the leeks, then fry.", "chop THE leeks - then fry"], 1.0) == [(0, 1)]


def test_keep_first_keeps_the_end_of_a_chain() -> None:
    base = [f"w{number}" for number in range(20)]
    chain = [" ".join(base), " ".join(base[3:] + ["a", "b", "c"]), " ".join(base[6:] + list("abcdef"))]
    pairs = near_duplicate_pairs(chain, 0.6)
    assert pairs == [(0, 1), (1, 2)]
    assert keep_first(chain, 0.6) == [0, 2]  # 2 resembles only what was removed


def test_what_is_kept_of_a_prefix_does_not_depend_on_the_rest() -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices("abcdef", k=6)) for _ in range(200)]
    assert keep_first(texts[:120], 0.5) == [index for index in keep_first(texts, 0.5) if index < 120]


def test_empty_texts_are_no_duplicates_and_bad_threshold_is_refused() -> None:
    assert near_duplicate_pairs(["", "", "  "], 0.5) == []
    assert near_duplicate_pairs([], 0.5) == []
    with pytest.raises(ValueError, match="threshold"):
        near_duplicate_pairs(["a"], 0.0)


def test_three_thousand_texts_of_recipe_length_in_three_seconds() -> None:
    rng = random.Random(1)
    words = [f"w{int(rng.paretovariate(0.6)) % 4000}" for _ in range(200_000)]  # word frequencies as in text
    texts = [" ".join(words[start : start + 110]) for start in rng.sample(range(199_000), 3000)]
    start = time.perf_counter()
    keep_first(texts, 0.6)
    assert time.perf_counter() - start < 6.0  # 1 s alone on a laptop; slack for a busy CI machine
