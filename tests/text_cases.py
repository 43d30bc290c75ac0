"""Pairs of texts that share some of their words."""

from __future__ import annotations

import random

WORDS = [
    "mix", "the", "flour", "and", "sugar", "in", "a", "large", "bowl", "then", "add", "two", "eggs", ",",
    "beating", "well", ".", "stir", "until", "smooth", ";", "bake", "at", "180°C", "for", "25", "minutes", "(",
    "or", "until", "golden", ")", ".", "crème", "fraîche", "jalapeño", "麻婆豆腐", "борщ", "½", "cup", "don't",
    "half-baked", "U.S.", "$3.50", "&amp;", "naïve", "👩\u200d🍳", "MIX", "Flour", "1,000", "--", "«sel»",
]  # fmt: skip


def random_pairs(n: int = 200, seed: int = 0) -> tuple[list[str], list[str]]:
    """Pairs that overlap to varying degree, among them empty, one-token, non-Latin and multi-line texts."""
    rng = random.Random(seed)
    predictions = ["", "", "sugar", "sugar", "   ", "борщ"]
    references = ["", "sugar", "", "sugar", "a b", "борщ"]
    while len(predictions) < n:
        reference = rng.choices(WORDS, k=rng.choice([1, 2, 3, 5, 12, 40]))
        prediction = [w if rng.random() < 0.7 else rng.choice(WORDS) for w in reference]
        prediction = prediction[: rng.randint(0, len(prediction))] + rng.choices(WORDS, k=rng.randint(0, 4))
        glue = rng.choice([" ", " ", "\n", "  "])
        predictions.append(glue.join(prediction))
        references.append(" ".join(reference))
    return predictions, references
