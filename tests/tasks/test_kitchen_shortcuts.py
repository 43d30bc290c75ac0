"""No shortcut: what reads a part of a question comes as far as the generator lets it, and no further.

Ceilings are the Bayes rates of ``kitchen.ceilings``. They are checked twice: a reader that knows the generator reaches
them, and models that learn from questions do not go beyond.
"""

from __future__ import annotations

from itertools import islice
from math import sqrt
from typing import Any

import numpy as np
import pytest

from helpers.tasks.eda.classical import best_classical
from helpers.tasks.kitchen import ceilings, generator, logic
from helpers.tasks.kitchen.menus import MENUS
from helpers.tasks.kitchen.scenes import from_rows

CASES = [(name, seed) for name in MENUS for seed in range(3)]
N = 900  # of each: questions to learn from, and questions to answer
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def world(request: pytest.FixtureRequest) -> tuple[Any, Rows, Rows]:
    """The menu, and questions with a picture to learn from and to answer."""
    name, seed = request.param
    drawn = (generator.row(q, str(i), False) for i, q in enumerate(generator.questions(seed, MENUS[name])))
    rows = list(islice((row for row in drawn if row["needs_picture"]), 2 * N))
    return MENUS[name], rows[:N], rows[N:]


def noise(expected: np.ndarray) -> float:
    """Three standard errors of a mean of right answers with these probabilities."""
    return 3 * sqrt(float((expected * (1 - expected)).sum())) / len(expected)


def answer(row: dict[str, Any]) -> str:
    return str(row["choices"][row["answer"]])


def learned(train: Rows, test: Rows, text: Any, options: Any = lambda row: row["choices"]) -> float:
    """Accuracy of the best classical model that reads ``text`` of a row, and its choices."""
    quizzes = [
        [{"prompt": text(row), "options": list(options(row)), "answer": row["answer"]} for row in part]
        for part in (train[: 2 * N // 3], train[2 * N // 3 :], test)
    ]
    found = best_classical(*quizzes)
    return float(np.mean([p == row["answer"] for p, row in zip(found.predicted, test, strict=True)]))


def test_a_bag_of_words_on_the_question_reaches_no_more_than_the_question_tells(world: tuple[Any, Rows, Rows]) -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    menu, train, test = world
    ceiling = np.array([ceilings.of_question(row, menu) for row in test])
    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=500))
    model.fit([row["question"] for row in train], [answer(row) for row in train])
    said = model.predict([row["question"] for row in test])
    right = np.mean([a == answer(row) for a, row in zip(said, test, strict=True)])
    assert right <= ceiling.mean() + noise(ceiling)
    assert ceiling.mean() < 0.45


def test_question_and_choices_tell_no_more_than_which_choices_have_what_is_asked(world: tuple[Any, Rows, Rows]) -> None:
    _, train, test = world
    ceiling = np.array([ceilings.of_text(row) for row in test])
    assert learned(train, test, lambda row: row["question"]) <= ceiling.mean() + noise(ceiling)
    assert ceiling.mean() < 0.5


def test_the_ontology_without_the_picture_reaches_its_ceiling_and_no_more(world: tuple[Any, Rows, Rows]) -> None:
    """A reader that knows all facts takes the first choice that is possible."""
    menu, train, test = world
    ceiling = np.array([ceilings.of_text(row) for row in test])
    right = np.mean([possible(row, menu)[0] == answer(row) for row in test])
    assert abs(right - ceiling.mean()) <= noise(ceiling)
    facts = learned(train, test, lambda row: f"{row['question']}\n{row['knowledge']}")
    assert facts <= ceiling.mean() + noise(ceiling)


def possible(row: dict[str, Any], menu: Any) -> list[str]:
    """Choices that the facts leave open, in their order."""
    query = logic.parse(row["logic"])
    if query.kind != "which" or not row["needs_ontology"]:
        return list(row["choices"])
    concept = query.concepts[0]
    if isinstance(concept, logic.Replaces):
        kind = str(concept.of.parts[-1]).removeprefix("kind=")
        from helpers.tasks.kitchen.ontology import FOODS

        return [
            c
            for c in row["choices"]
            if any(FOODS[other].kind == kind for other in FOODS[c].replaces if other in menu.foods)
        ]
    asked = logic.And((concept.parts[-1],))
    from helpers.tasks.kitchen.scenes import Item

    return [c for c in row["choices"] if logic.fits(asked, [Item(c, "", "")])[0]]


def test_the_picture_without_the_ontology_reaches_its_ceiling(world: tuple[Any, Rows, Rows]) -> None:
    menu, _, test = world
    chances = [ceilings.of_picture(row, menu) for row in test]
    assert all(
        abs(sum(chance.values()) - 1) < 1e-9 and set(chance) == set(row["choices"])
        for chance, row in zip(chances, test, strict=True)
    )
    ceiling = np.array([max(chance.values()) for chance in chances])
    right = np.mean([max(c, key=lambda a: c[a]) == answer(row) for c, row in zip(chances, test, strict=True)])
    assert abs(right - ceiling.mean()) <= noise(ceiling)
    needing = [c for c, row in zip(chances, test, strict=True) if row["needs_ontology"]]
    assert np.mean([max(c.values()) for c in needing]) < 0.8


def unnamed(row: dict[str, Any]) -> tuple[str, list[str]]:
    """The scene and the choices with a letter of this row alone in place of each food."""
    names = dict.fromkeys([item["food"] for item in row["objects"]])
    names |= dict.fromkeys(choice for choice in row["choices"] if choice.isalpha() and row["logic"].startswith("which"))
    names |= dict.fromkeys(choice for choice in row["choices"] if row["logic"].startswith("which"))
    letters = dict(zip(names, "abcdefghij", strict=False))
    seen = "; ".join(
        f"{item.place}: {item.state} {item.colour} {letters[item.food]}" for item in from_rows(row["objects"])
    )
    return f"{row['question']}\n{seen}", [letters.get(choice, choice) for choice in row["choices"]]


def test_models_that_see_foods_without_knowing_them_do_not_go_beyond(world: tuple[Any, Rows, Rows]) -> None:
    menu, train, test = world
    ceiling = np.array([max(ceilings.of_picture(row, menu).values()) for row in test])
    found = learned(train, test, lambda row: unnamed(row)[0], lambda row: unnamed(row)[1])
    assert found <= ceiling.mean() + noise(ceiling)


def test_picture_and_ontology_together_settle_every_question(world: tuple[Any, Rows, Rows]) -> None:
    _, _, test = world
    for row in test:
        said = logic.evaluate(logic.parse(row["logic"]), from_rows(row["objects"]))
        places = {"first": 0, "second": 1, "equal": 2} if row["form"] == "comparison" else {}
        assert places.get(said, said) in (row["answer"], answer(row))
