"""Cheap models without a network: they find the rules that are planted for them, and nothing where there is none."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from math import log
from typing import Any

import numpy as np
import pytest

from helpers.errors import DataError
from helpers.tasks.eda.classical import best_classical
from helpers.tasks.eda.option_models import _beside, _similarity

LABELS = ("yes", "maybe", "no")
SIDES = [[f"{side}{letter}" for letter in "klmnop"] for side in "xy"]
Parts = tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]


def split(make: Callable[[random.Random], dict[str, Any]], sizes: tuple[int, int, int] = (500, 150, 300)) -> Parts:
    rng = random.Random(0)
    train, validation, test = ([make(rng) for _ in range(size)] for size in sizes)
    return train, validation, test


def pair(rng: random.Random, rule: Callable[[int, int], int]) -> dict[str, Any]:
    """Two lines with a telling word each, whose labels stand in any order; every word has every label as often."""
    i, j = rng.randrange(6), rng.randrange(6)
    options = rng.sample(LABELS, 3)
    lines = [f"the {SIDES[0][i]} and {rng.choice('abc')}", f"{SIDES[1][j]} {rng.choice('def')}"]
    answer = options.index(LABELS[rule(i, j)])
    return {"prompt": "\n".join(["Is it so?", *lines]), "options": options, "answer": answer}


def accuracy(predicted: list[int], examples: list[dict[str, Any]]) -> float:
    return float(np.mean([p == e["answer"] for p, e in zip(predicted, examples, strict=True)]))


def test_a_rule_of_word_pairs_is_found_where_a_bag_of_words_is_at_chance() -> None:
    parts = split(lambda rng: pair(rng, lambda i, j: (i + j) % 3))
    found = best_classical(*parts)
    assert accuracy(found.predicted, parts[2]) > 0.97
    bags = [value for name, value in found.validation.items() if name.startswith("bag of words")]
    assert len(bags) > 2 and max(bags) < 0.48
    assert found.validation[found.name] == max(found.validation.values())


def test_an_exception_to_a_rule_of_pairs_is_found_by_the_kernel() -> None:
    """A word that turns the label round takes three words to understand."""

    def make(rng: random.Random) -> dict[str, Any]:
        turned = rng.random() < 0.5
        example = pair(rng, lambda i, j: ((i + j) % 2 + turned) % 2)
        return example | {"prompt": example["prompt"] + " not" * turned}

    parts = split(make, (900, 200, 300))
    found = best_classical(*parts)
    assert found.name.startswith("cubic kernel") and accuracy(found.predicted, parts[2]) > 0.9
    assert max(value for name, value in found.validation.items() if name.startswith("word pairs")) < 0.75


@pytest.mark.parametrize("own_options", [False, True])
def test_labels_without_a_rule_leave_it_at_chance(own_options: bool) -> None:
    def make(rng: random.Random) -> dict[str, Any]:
        drawn = rng.randrange(3)
        example = pair(rng, lambda i, j: drawn)
        return example | ({"options": rng.sample(SIDES[0], 3), "answer": rng.randrange(3)} if own_options else {})

    parts = split(make)
    found = best_classical(*parts)
    assert abs(accuracy(found.predicted, parts[2]) - 1 / 3) < 0.085  # three standard errors
    again = [e | {"answer": 0} for e in parts[2]]
    assert best_classical(*parts[:2], again).predicted == found.predicted  # the answers of the test are not read


def question(rng: random.Random, kind: str) -> dict[str, Any]:
    """Four options of many; what tells the right one depends on ``kind``."""
    nouns = [a + b for a, b in product("bdfg", "aeiou")]
    words = rng.sample(nouns, 5)
    options, answer = rng.sample([f"{noun}r" for noun in nouns], 4), rng.randrange(4)
    if kind == "prior":
        options[answer] = rng.choice(("zest", "yolk"))
    elif kind == "similarity":
        options[answer] = words[2]
    elif kind == "pairs":  # the option that belongs to the third word, in texts of ten such words
        options = [f"{noun}r" for noun in rng.sample([n for n in nouns if n != words[2]], 4)]
        options[answer] = f"{words[2]}r"
    return {"prompt": f"Which one?\n\n{' '.join(words)}", "options": options, "answer": answer}


@pytest.mark.parametrize(("kind", "name"), [("prior", "option prior"), ("similarity", "TF-IDF"), ("pairs", "")])
def test_each_kind_of_hint_to_the_right_option_is_found(kind: str, name: str) -> None:
    parts = split(lambda rng: question(rng, kind))
    found = best_classical(*parts)
    assert found.name.startswith(name) and accuracy(found.predicted, parts[2]) > (0.6 if kind == "pairs" else 0.97)
    assert kind != "pairs" or found.validation["TF-IDF similarity"] < 0.4


def test_options_that_stand_in_the_question_are_not_read_as_part_of_it() -> None:
    def make(rng: random.Random) -> dict[str, Any]:
        example = question(rng, "similarity")
        return example | {"prompt": f"{example['prompt']}\nChoices: {' '.join(example['options'])}"}

    parts = split(make, (200, 100, 200))
    assert accuracy(best_classical(*parts).predicted, parts[2]) > 0.97


def test_similarity_and_co_occurrence_equal_loops_over_words() -> None:
    train, _, test = split(lambda rng: question(rng, "pairs"), (40, 1, 12))
    texts = [f"{e['prompt']} {e['options'][e['answer']]}".lower().replace("?", "").split() for e in train]

    def information(a: str, b: str) -> float:
        both, first, second = (sum(w <= set(text) for text in texts) for w in ({a, b}, {a}, {b}))
        return log(both + 1) - log(first * second / len(texts) + 1) if first and second else 0.0

    known = {word for text in texts for word in text}
    for example, scores in zip(test, _beside(train)(test), strict=True):
        asked = [w for w in set(example["prompt"].lower().replace("?", "").split()) if w in known]
        for option, score in zip(example["options"], scores, strict=True):
            expected = np.mean([information(option, w) for w in asked]) if option in known else 0.0
            assert score == pytest.approx(expected, abs=1e-5)
    for example, scores in zip(test, _similarity(train)(test), strict=True):
        inside = [option in example["prompt"].split() for option in example["options"]]
        assert [score > 0 for score in scores] == inside


def test_too_little_to_learn_from_is_said() -> None:
    train, validation, test = split(lambda rng: pair(rng, lambda i, j: 0), (5, 2, 2))
    with pytest.raises(DataError, match="every training example has the answer 'yes'"):
        best_classical(train, validation, test)
    with pytest.raises(DataError, match="there are no examples in validation"):
        best_classical(train, [], test)


def test_questions_of_other_scripts_and_without_words_are_answered() -> None:
    rows = [{"prompt": "？！", "options": ["+", "−"], "answer": 0}]
    rows += [{"prompt": "料理は？", "options": ["魚"], "answer": 0}]
    assert best_classical(rows, rows, rows).predicted == [0, 0]
