"""The four forms of the recipes task, and the swaps behind ``substitute``."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.recipes import generator as recipes_generator
from helpers.tasks.recipes.forms import names_of
from helpers.tasks.recipes.swaps import mine_swaps, written_alternatives
from helpers.tasks.recipes.text import ingredient_name, name_words

TASK = tasks.get("recipes")


@pytest.fixture(scope="module")
def splits() -> Any:
    return TASK.load(900, 300, "generator", seed=0)


def test_steps_and_ingredients_say_what_the_row_says(splits: Any) -> None:
    row = splits["test"][0]
    steps, ingredients = (TASK.examples(splits["test"], form)[0] for form in ("steps", "ingredients"))
    assert steps["completion"].splitlines() == [f"{i}. {s}" for i, s in enumerate(row["steps"], 1)]
    assert ingredients["completion"].splitlines() == [f"- {line}" for line in row["ingredients"]]
    for line in row["ingredients"]:
        assert f"- {line}\n" in steps["prompt"] + "\n"
    for number, line in enumerate(row["steps"], 1):
        assert f"{number}. {line}" in ingredients["prompt"]
    assert row["title"] in steps["prompt"] and row["title"] in ingredients["prompt"]
    assert steps["options"] == [] and steps["answer"] == -1


def test_messages_are_prompt_completion_turns(splits: Any) -> None:
    example = TASK.examples(splits["validation"], "steps")[0]
    assert TASK.to_messages(example) == {
        "prompt": [{"role": "user", "content": example["prompt"]}],
        "completion": [{"role": "assistant", "content": example["completion"]}],
    }


@pytest.mark.parametrize("form", ["missing", "substitute"])
def test_choices_are_balanced_and_true(splits: Any, form: str) -> None:
    rows = {row["id"]: row for row in splits["test"]}
    examples = TASK.examples(splits["test"], form, seed=4)
    assert len(examples) > 0.6 * len(rows)
    positions = Counter(examples["answer"])
    assert max(positions.values()) - min(positions.values()) <= 1 and set(positions) == {0, 1, 2, 3}
    for example in examples:
        row = rows[example["id"].removesuffix(f"-{form}")]
        names, options = names_of(row), example["options"]
        right = options[example["answer"]]
        assert example["completion"] == right and len(set(options)) == 4
        wrong = [option for option in options if option != right]
        assert not set(wrong) & set(names)
        assert all(option == ingredient_name(option) for option in options)  # bare names, all of one shape
        assert not any(name_words(option) & name_words(row["title"]) for option in options)
        assert example["prompt"].count(row["title"]) == 1
        listed_question = TASK.with_options(example)["prompt"][0]["content"]
        assert listed_question.startswith(example["prompt"])
        assert f"Options: {'; '.join(options)}" in listed_question
        listed = example["prompt"].split("Ingredients: ")[1].split("\n")[0].split(", ")
        if form == "missing":
            assert right in names and right not in listed and set(listed) == set(names) - {right}
        else:
            assert right not in names and set(listed) == set(names)
            replaced = example["prompt"].split("replace the ")[1].split(" in this")[0]
            assert replaced in names and f"{replaced} => {right}" in row["swaps"]
            assert not any(f"{replaced} => {option}" in row["swaps"] for option in wrong)


def test_examples_depend_on_the_seed_only(splits: Any) -> None:
    a, b, c = (TASK.examples(splits["test"], "missing", seed)["prompt"] for seed in (1, 1, 2))
    assert list(a) == list(b) != list(c)


def option_accuracy(train: Any, test: Any) -> float:
    """A linear model that sees only the option texts: its words, characters and length."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    def features(option: str) -> list[str]:
        return [option, *option.split(), f"length{len(option)}", option[0], option[-1]]

    vectors = CountVectorizer(analyzer=features)
    flat = vectors.fit_transform([option for example in train for option in example["options"]])
    labels = [int(index == example["answer"]) for example in train for index in range(4)]
    model = LogisticRegression(max_iter=200).fit(flat, labels)
    right = [
        np.argmax(model.predict_proba(vectors.transform(example["options"]))[:, 1]) == example["answer"]
        for example in test
    ]
    return float(np.mean(right))


def test_match_offers_titles_of_other_dishes_that_share_no_telling_word(splits: Any) -> None:
    rows = {row["id"]: row for row in splits["test"]}
    titles = [set(row["title"].lower().split()) for row in rows.values()]
    examples = TASK.examples(splits["test"], "match")
    assert len(examples) > 0.9 * len(rows)
    for example in examples:
        row = rows[example["id"].removesuffix("-match")]
        options = example["options"]
        assert example["completion"] == row["title"] == options[example["answer"]] and len(set(options)) == 4
        assert all(line in example["prompt"] for line in row["ingredients"])
        for other in set(options) - {row["title"]}:
            for word in set(other.lower().split()) & set(row["title"].lower().split()):
                assert sum(word in title for title in titles) > len(titles) / 5, word


@pytest.mark.parametrize("form", ["missing", "substitute", "match"])
def test_options_alone_tell_nothing(splits: Any, form: str) -> None:
    train, test = (TASK.examples(splits[name], form) for name in ("train", "test"))
    assert option_accuracy(train, test) < 0.35
    for pick in (max, min):  # longest, shortest
        hits = [example["completion"] == pick(example["options"], key=len) for example in test]
        assert np.mean(hits) < 0.35


def test_missing_is_answerable_by_association(splits: Any) -> None:
    """Counting which ingredients go with which words of the title in train answers most of test."""
    seen: Counter[tuple[str, str]] = Counter()
    context: Counter[str] = Counter()
    for row in splits["train"]:
        context.update(name_words(row["title"]) | set(names_of(row)))
        for name in names_of(row):
            for word in name_words(row["title"]) | set(names_of(row)) - {name}:
                seen[name, word] += 1
    total = Counter(name for row in splits["train"] for name in names_of(row))
    rows = {row["id"]: row for row in splits["test"]}
    right = []
    for example in TASK.examples(splits["test"], "missing"):
        row = rows[example["id"].removesuffix("-missing")]
        words = name_words(row["title"]) | set(names_of(row)) - {example["completion"]}
        chance = [total[o] / len(splits["train"]) + 0.001 for o in example["options"]]
        score = [
            sum(np.log((seen[o, w] + p) / (context[w] + 1) / p) for w in words)  # evidence for o in each word
            for o, p in zip(example["options"], chance, strict=True)
        ]
        right.append(int(np.argmax(score)) == example["answer"])
    assert np.mean(right) > 0.8


def test_written_alternatives() -> None:
    known = {"chicken broth", "vegetable broth", "honey", "maple syrup", "vegetable oil", "ghee"}
    for line, names in (
        ("1 cup chicken or vegetable broth", ["chicken broth", "vegetable broth"]),
        ("2 tbsp butter (or margarine), melted", ["butter", "margarine"]),
        ("½ cup honey or 3 tbsp maple syrup", ["honey", "maple syrup"]),
        ("½ cup honey or maple syrup", ["honey", "maple syrup"]),
        ("1 tbsp ghee or vegetable oil", ["ghee", "vegetable oil"]),
        ("2 cups milk", []),
    ):
        assert written_alternatives(line, known) == names
    assert len(written_alternatives("1 or 2 onions", known)) < 2


def test_swaps_are_found_where_the_generator_put_them() -> None:
    rows = [dict(row) for row in TASK.load(2500, 30, "generator")["train"]]
    swaps = mine_swaps(rows)
    found = {frozenset((a, b)) for a, others in swaps.items() for b in others}
    planted = {
        frozenset(map(ingredient_name, pair))
        for _, _, slots in recipes_generator.DISHES
        for slot in slots
        for pair in combinations(slot, 2)
    }
    assert len(found & planted) / len(found) > 0.85
    assert len(found & planted) / len(planted) > 0.5
    assert all(a in swaps[b] for a, others in swaps.items() for b in others)


def test_substitute_works_on_a_small_load_and_does_not_move_with_n_train() -> None:
    small, large = (TASK.load(n_train, 60, "generator")["test"] for n_train in (30, 200))
    assert list(small["swaps"]) == list(large["swaps"])
    assert len(TASK.examples(small, "substitute")) > 30


def test_rows_that_allow_no_question_are_an_error(splits: Any) -> None:
    bare = splits["test"].select(range(2)).map(lambda row: {"ingredients": ["salt", "water"], "swaps": []})
    for form in ("missing", "substitute"):
        with pytest.raises(DataError, match=f"none of the 2 recipes can be asked about in form '{form}'"):
            TASK.examples(bare, form)
