"""Generated questions about food: the answer is true, the proof proves it, and all are evenly spread."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import islice
from typing import Any

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.kitchen import generator, logic, ontology
from helpers.tasks.kitchen.menus import FORMS, FULL, MENUS, SMALL, Menu
from helpers.tasks.kitchen.scenes import Item, describe, from_rows, layout_of, read_description
from helpers.tasks.kitchen.task import KitchenTask, held_out

TASK = tasks.get("kitchen")
assert isinstance(TASK, KitchenTask)
SOURCES = {"generator": FULL, "generator-small": SMALL}


@pytest.fixture(scope="module", params=MENUS)
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """2,200 questions, undrawn."""
    return [
        generator.row(q, str(i), False)
        for i, q in enumerate(islice(generator.questions(0, MENUS[request.param]), 2200))
    ]


def scene_of(row: dict[str, Any]) -> list[Item]:
    """What a row's attributes say, or its choices where there is no picture."""
    replaced = re.findall(r"food=(.+?)\)", row["logic"])
    return from_rows(row["objects"]) or [Item(name, "", "") for name in [*row["choices"], *replaced]]


def test_the_answer_is_what_the_logical_form_says_of_the_attributes(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        found = logic.evaluate(logic.parse(row["logic"]), scene_of(row))
        if row["form"] == "comparison":
            found = dict(zip(("first", "second", "equal"), row["choices"], strict=True))[found]
        assert found == row["choices"][row["answer"]] == row["answers"][0], row


def test_the_question_names_what_the_form_names(rows: list[dict[str, Any]]) -> None:
    """Each property of the logical form is said, and those that are not in it are not."""
    said = {f"colour={c}": c for c in ("red", "orange", "yellow", "green", "purple", "brown", "white", "grey")}
    said |= {"state=cut": "cut", "vegan=yes": "vegan", "contains=gluten": "gluten"}
    said |= {f"place={p}": p for p in ("left plate", "right plate", "top shelf", "bottom shelf")}
    said |= {f"kind={kind}": ontology.KINDS[kind]["one"] for kind in ("fruit", "vegetable", "dairy", "meat", "grain")}
    for row in rows:
        words = row["question"].replace("pieces of meat", "piece of meat").lower()
        words = words.replace("fruit salad", "")
        for part, word in said.items():
            named = re.search(rf"\b{word}s?\b", words) is not None
            assert named == (part in row["logic"]), (part, row["question"], row["logic"])


def test_columns_agree_with_the_form_and_the_scene(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        query = logic.parse(row["logic"])
        assert row["depth"] == logic.depth(query) and row["needs_ontology"] == logic.needs_ontology(query)
        assert row["n_objects"] == len(row["objects"]) and row["needs_picture"] == bool(row["objects"])
        assert (row["form"] == "recall") == (not row["needs_picture"])
        assert bool(row["knowledge"]) == row["needs_ontology"]
        assert row["scene"] == (describe(from_rows(row["objects"])) if row["objects"] else "")
        assert len(set(row["choices"])) == len(row["choices"]) in (2, 3, 4)
    assert {row["form"] for row in rows} == set(FORMS)
    assert {row["depth"] for row in rows} == {1, 2, 3}


def test_the_proof_says_what_is_seen_and_names_the_foods_that_decide(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        seen, _, reasons = row["solution"].partition(". ") if row["objects"] else ("", "", row["solution"])
        items, strange = read_description(seen)
        assert not strange and len(items) == len(row["objects"])
        named = [part.split(", ") for part in re.findall(r": ([^.]+)\.", reasons)]
        foods = [re.sub(r" \(\d\)", "", name) for name in named[-1] if name != "none"]
        count = sum(int((re.findall(r"\((\d)\)", name) or [1])[0]) for name in named[-1] if name != "none")
        answer, query = row["choices"][row["answer"]], logic.parse(row["logic"])
        if query.kind == "which":
            assert foods == [answer]
        elif query.kind == "count":
            assert count == int(answer)
        elif query.kind in ("exists", "every"):
            assert (answer == "yes") == (bool(foods) if query.kind == "exists" else not foods)
        assert 1 <= row["solution"].count(".") <= 3


def test_knowledge_is_true_and_tells_nothing_of_the_scene(rows: list[dict[str, Any]]) -> None:
    by_asked = defaultdict(set)
    for row in rows:
        if row["needs_ontology"]:
            asked = re.findall(r"(kind|vegan|contains|grows|dish|food)=([^;)]+?)(?: and|;|\)|$)", row["logic"])
            by_asked[tuple(asked), "replaces" in row["logic"]].add(row["knowledge"])
    assert all(len(said) == 1 for said in by_asked.values())


def test_answers_and_their_places_are_balanced_in_any_part_of_the_stream(rows: list[dict[str, Any]]) -> None:
    for part in (rows[:500], rows[500:1200], rows[1200:]):
        counts: dict[Any, Counter[Any]] = defaultdict(Counter)
        for row in part:
            fixed = logic.parse(row["logic"]).kind != "which"
            counts[row["form"], tuple(row["choices"]) if fixed else len(row["choices"])][row["answer"]] += 1
        for (form, choices), found in counts.items():
            places = len(choices) if isinstance(choices, tuple) else choices
            if sum(found.values()) >= 20:
                assert max(found.values()) - min(found[i] for i in range(places)) <= 3, form


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("split_by", ["scenes", "depth", "facts"])
def test_no_scene_is_in_two_splits(source: str, split_by: str) -> None:
    splits = TASK.load(150, 60, source, 3, pictures=False, split_by=split_by)
    assert {name: len(part) for name, part in splits.items()} == {"train": 150, "validation": 20, "test": 60}
    scenes = {name: {row["scene"] for row in part if row["scene"]} for name, part in splits.items()}
    assert len(scenes["train"] | scenes["validation"] | scenes["test"]) == sum(map(len, scenes.values()))
    assert splits.report.usable == 230 and splits.report.licence.startswith("synthetic")


def test_split_by_depth_tests_deeper_questions_of_forms_that_are_trained() -> None:
    splits = TASK.load(200, 60, "generator-small", 0, pictures=False, split_by="depth")
    assert set(splits["test"]["depth"]) == {3} and set(splits["train"]["depth"]) == {1, 2}
    assert set(splits["test"]["form"]) <= set(splits["train"]["form"])
    assert any("split by depth" in note for note in splits.report.notes)


@pytest.mark.parametrize("source", SOURCES)
def test_split_by_facts_tests_pairs_that_no_trained_question_rests_on(source: str) -> None:
    menu = SOURCES[source]
    held = held_out(menu.name, 0)
    splits = TASK.load(300, 60, source, 0, pictures=False, split_by="facts")
    assert all(held & set(row) for row in splits["test"]["facts"])
    assert not any(held & set(row) for name in ("train", "validation") for row in splits[name]["facts"])
    for atom in (
        menu.recalled
    ):  # every property is trained on foods that have it and foods that do not, where there are several
        for flag in (True, False):
            names = [n for n in menu.foods if ontology.has(n, atom.attribute, atom.value) == flag]
            kept = [n for n in names if ontology.fact(n, atom.attribute, atom.value) not in held]
            assert kept and (len(names) == 1 or len(kept) < len(names))
    assert held_out(menu.name, 0) == held != held_out(menu.name, 1)


def test_the_same_seed_gives_the_same_rows_and_train_does_not_move_the_others() -> None:
    one, again, longer, other = (
        TASK.load(n, 12, "generator-small", seed) for n, seed in ((20, 0), (20, 0), (30, 0), (20, 1))
    )
    assert one.report.fingerprint == again.report.fingerprint != other.report.fingerprint
    for name in ("test", "validation"):
        assert one[name]["id"] == longer[name]["id"] and one[name]["question"] == longer[name]["question"]
    assert one["test"][0]["image"].tobytes() == again["test"][0]["image"].tobytes()


def test_streams_go_on_until_forms_are_used_up() -> None:
    few = Menu("few", {"apple": ("red",), "milk": ("white",), "pepper": ("red",), "egg": ("white",)}, ("plates",), 2,
               (4, 4), False, SMALL.properties, {"existential": (1,), "recall": (1,)})  # fmt: skip
    found = list(generator.questions(0, few))
    assert 100 < len(found) < 3000
    scenes = [describe(q.scene.items) for q in found if q.scene]
    assert len(scenes) == len(set(scenes))


def test_wrong_requests_are_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="split_by = 'depht' is not allowed"):
        TASK.load(10, 10, "generator", split_by="depht")
    with pytest.raises(DataError, match="split_by = 'depth' is for generated questions"):
        TASK.load(10, 10, "somewhere.jsonl", split_by="depth")


def test_scenes_use_what_their_menu_has(rows: list[dict[str, Any]]) -> None:
    menu = FULL if any(row["n_objects"] > 4 for row in rows) else SMALL
    for row in rows:
        items = from_rows(row["objects"])
        if items:
            assert layout_of(items) in menu.layouts and len(items) <= max(menu.sizes[1], 4)
            assert max(Counter(item.place for item in items).values()) <= (6 if items[0].place == "board" else menu.row)
        assert all(item.colour in menu.foods[item.food] for item in items)
        assert menu.cut or all(item.state == "whole" for item in items)
