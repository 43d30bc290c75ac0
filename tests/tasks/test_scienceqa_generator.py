"""Generated science questions: answers follow from facts or words, nothing else gives them away."""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from helpers import tasks
from helpers.tasks.eda.shortcuts import shortcut
from helpers.tasks.scienceqa import generator
from helpers.tasks.scienceqa.pictures import KINDS, draw

TASK = tasks.get("scienceqa")


@pytest.fixture(scope="module")
def asked() -> list[generator.Question]:
    return list(generator.questions(0))


@pytest.fixture(scope="module")
def splits() -> Any:
    return TASK.load(n_train=1200, n_eval=600, seed=1)


# ---------- the answers, worked out a second time
SERVICES = {"haircut", "ride", "lesson", "wash", "tour", "walk"}
NEEDS = {"water", "food", "air", "sleep", "home", "rest", "warmth", "bread"}
ALIVE = {"fox", "tree", "bee", "frog", "rose", "hen", "fern", "ant", "whale", "oak"}


def of_two(first: float, second: float, names: tuple[str, str]) -> str:
    return "neither" if first == second else names[0] if first > second else names[1]


def largest(bars: list[Any], question: str) -> str:
    return sorted(bars, key=lambda bar: bar[1])[-1 if "most" in question else 0][0]


LOOKING: dict[str, Callable[[dict[str, Any], str], str]] = {
    "magnets": lambda f, q: "attract" if f["left"] == f["right"] else "repel",  # equal bars face with unlike poles
    "magnet_pairs": lambda f, q: of_two(f["gaps"][1], f["gaps"][0], ("the upper pair", "the lower pair")),
    "solutions": lambda f, q: of_two(*f["counts"], ("the left flask", "the right flask")),
    "particles": lambda f, q: of_two(*f["speeds"], ("the left jar", "the right jar")),
    "chain": lambda f, q: f["colours"][-1],
    "bars": lambda f, q: largest(f["bars"], q),
    "map": lambda f, q: f["direction"],
    "matter": lambda f, q: f["state"],
}


def reading(question: str, hint: str) -> str:
    """The answer to a question in words."""
    last = re.findall(r"\w+", question.split(". Is")[0])[-1].lower()
    if "kind of sentence" in question:
        return {".": "statement", "?": "question", "!": "exclamation"}[question[-1]]
    if "tense" in question:
        return "future" if " will " in question else "past" if re.search(r"\w{3}ed ", question) else "present"
    if "simile" in question:
        return "simile" if "like" in question.split() else "metaphor"
    if "dictionary" in question:
        first, second = re.findall(r"Does (\w+) come before or after (\w+) ", question)[0]
        return "before" if first < second else "after"
    if "service" in question:
        return "service" if last in SERVICES else "good"
    if "want" in question:
        return "need" if last in NEEDS else "want"
    if "older" in question:
        ages = {name: int(age) for name, age in re.findall(r"(\w+) is (\d+)", hint)}
        one, other = re.findall(r"Is (\w+) older or younger than (\w+)", question)[0]
        return "older" if ages[one] > ages[other] else "younger"
    if "liquid" in question:
        return "solid" if "shape" in hint else "liquid" if "bottom" in hint else "gas"
    if "lifeless" in question:
        return "living" if last in ALIVE else "lifeless"
    return "yes" if re.search(r"of (iron|steel)\.", question) else "no"


def test_every_answer_is_the_one_that_follows(asked: list[generator.Question]) -> None:
    checked: Counter[str] = Counter()
    for question in asked[:1000]:
        scene, picture = question.scene, question.scene.picture
        right = LOOKING[picture.kind](picture.facts, scene.question) if picture else reading(scene.question, scene.hint)
        assert question.choices[question.answer] == right, question
        assert set(question.choices) == set(scene.choices)
        checked[question.skill.name] += 1
    assert len(checked) == 18 and min(checked.values()) >= 45


def test_there_are_skills_of_all_subjects_and_pictures(asked: list[generator.Question]) -> None:
    rows = asked[:720]
    assert {q.scene.picture.kind for q in rows if q.scene.picture} == set(KINDS)
    kinds = {(q.skill.subject, q.scene.picture is not None) for q in rows}
    assert kinds == {
        ("natural science", True), ("social science", True), ("natural science", False), ("social science", False),
        ("language science", False),
    }  # fmt: skip
    assert {len(q.choices) for q in rows} == {2, 3, 4, 5}
    with_picture = sum(q.scene.picture is not None for q in rows)
    assert with_picture == 360


def test_texts_are_short_and_say_what_follows(asked: list[generator.Question]) -> None:
    vocabulary: set[str] = set()
    for q in asked[:2000]:
        scene, right = q.scene, q.choices[q.answer]
        assert len(f"{scene.question} {' '.join(q.choices)}".split()) <= 25
        assert len(scene.solution.split()) <= 18 and len(q.skill.lecture.split()) <= 20
        assert re.search(rf"so .*\b{right}\b.*\.$", scene.solution), scene
        for text in (scene.question, scene.hint, scene.solution, q.skill.lecture, *q.choices):
            assert text == " ".join(text.split())
            vocabulary |= set(re.findall(r"\w+", text.lower()))
    assert len(vocabulary) < 420


def test_no_question_comes_twice_and_there_are_thousands(asked: list[generator.Question]) -> None:
    keys = {(q.scene.question, frozenset(q.choices), str(q.scene.picture), q.drawing) for q in asked}
    assert len(keys) == len(asked) > 5000
    drawings = [q.drawing for q in asked if q.scene.picture]
    assert len(set(drawings)) == len(drawings)
    facts = {str(q.scene.picture) for q in asked if q.scene.picture}
    assert len(facts) > 400


def test_rows_are_the_questions_drawn() -> None:
    for question, row in islice(zip(generator.questions(4), generator.rows(4), strict=True), 40):
        assert (row["question"], row["choices"]) == (question.scene.question, list(question.choices))
        assert row["answer"] == question.answer and row["hint"] == question.scene.hint
        assert (row["image"] is None) == (question.scene.picture is None)
        if question.scene.picture:
            seen = Image.open(io.BytesIO(row["image"]["bytes"]))
            assert seen.size == (192, 192) and seen.mode == "RGB"
            assert (np.asarray(seen) == np.asarray(draw(question.scene.picture, question.drawing))).all()


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    one, again, other = (list(islice(generator.rows(seed), 60)) for seed in (3, 3, 4))
    assert one == again
    assert [row["question"] for row in one] != [row["question"] for row in other]


def test_answers_and_their_places_are_balanced_in_every_stretch(asked: list[generator.Question]) -> None:
    for start in (0, 700, 2111):
        part = asked[start : start + 600]
        places: dict[int, Counter[int]] = defaultdict(Counter)
        answers: dict[str, Counter[str]] = defaultdict(Counter)
        for q in part:
            places[len(q.choices)][q.answer] += 1
            answers[q.skill.name][q.choices[q.answer]] += 1
        for count, found in places.items():
            share = [found[place] / sum(found.values()) for place in range(count)]
            assert max(share) - min(share) < (0.06 if count < 4 else 0.35 if count == 5 else 0.15), (count, found)
        for name, found in answers.items():
            assert max(found.values()) - min(found.values()) <= 3, (name, found)
        for skill in {q.skill.name for q in part}:
            assert len({frozenset(q.choices) for q in part if q.skill.name == skill}) == 1, skill


# ---------- shortcuts
def chosen_by_words(splits: Any) -> list[int]:
    """Choices of a logistic regression on words and word pairs of prompt and options."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = (list(TASK.examples(splits[name])) for name in ("train", "test"))
    vectorizer = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), binary=True, min_df=2)
    model = LogisticRegression(max_iter=2000)
    model.fit(vectorizer.fit_transform([e["prompt"] for e in train]), [e["options"][e["answer"]] for e in train])
    scores = model.decision_function(vectorizer.transform([e["prompt"] for e in test]))
    column = {text: i for i, text in enumerate(model.classes_)}
    return [
        max(range(len(e["options"])), key=lambda i: row[column[e["options"][i]]] if e["options"][i] in column else -99)
        for e, row in zip(test, scores, strict=True)
    ]


def chosen_by_majority(splits: Any) -> list[int]:
    """The choice that was right most often in training among questions of the skill."""
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for row in splits["train"].remove_columns("image"):
        right[row["skill"]][row["choices"][row["answer"]]] += 1
    return [
        max(range(len(row["choices"])), key=lambda i: right[row["skill"]][row["choices"][i]])
        for row in splits["test"].remove_columns("image")
    ]


@pytest.mark.parametrize("blind", [chosen_by_words, chosen_by_majority])
def test_picture_questions_cannot_be_answered_from_words(splits: Any, blind: Callable[[Any], list[int]]) -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for row, choice in zip(splits["test"], blind(splits), strict=True):
        for name in ("all", row["skill"]) if row["image"] is not None else ("words",):
            hits[name].append(choice == row["answer"])
            chance[name].append(1 / len(row["choices"]))
    for name, found in hits.items():
        interval = binomtest(sum(found), len(found)).proportion_ci(0.95 if name == "all" else 0.999)
        expected = sum(chance[name]) / len(found)
        if name == "words":  # what is in words is learned from words, by a model that sees them
            assert blind is chosen_by_majority or sum(found) / len(found) > expected + 0.3
        else:
            assert interval.low < expected < interval.high, (name, sum(found) / len(found), expected)
    assert len(hits) == 2 + len(KINDS)


def test_options_alone_give_nothing_away(splits: Any) -> None:
    quiz = {name: TASK.examples(splits[name]).remove_columns("image") for name in ("train", "test")}
    blind = shortcut(quiz["train"], quiz["test"])
    assert blind.n == 600 and abs(blind.accuracy - blind.chance) < 0.05


def test_files_of_pictures_tell_nothing_about_places(splits: Any) -> None:
    sizes, answers = [], []
    for row in TASK.examples(splits["test"]):
        if row["image"] is not None:
            assert row["image"].size == (192, 192)
            buffer = io.BytesIO()
            row["image"].save(buffer, "PNG")
            sizes.append(len(buffer.getvalue()))
            answers.append(row["answer"])
    assert len(sizes) == 300 and abs(np.corrcoef(sizes, np.array(answers) == 0)[0, 1]) < 0.2


def test_questions_in_words_alone_for_a_model_that_reads_text_only() -> None:
    splits = TASK.load(n_train=80, n_eval=40, seed=0, pictures=False)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [80, 13, 40]
    assert not any(image is not None for name in splits for image in splits[name]["image"])
