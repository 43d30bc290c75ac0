"""What the ontology knows: enough foods, no contradictions, a source for each kind of fact."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.errors import DataError
from helpers.tasks.kitchen import ontology
from helpers.tasks.kitchen.drawings import COLOURS, DRAWN
from helpers.tasks.kitchen.menus import MENUS
from helpers.tasks.kitchen.ontology import FOODS, KINDS, can_replace, has, inconsistencies

FACTS = tomllib.loads((Path(ontology.__file__).parent / "foods.toml").read_text(encoding="utf-8"))


def test_it_knows_enough_foods_of_every_kind() -> None:
    assert len(FOODS) >= 60 and {food.kind for food in FOODS.values()} == set(KINDS)
    assert len(DRAWN) >= 24 and DRAWN.keys() <= FOODS.keys()
    assert all(set(about["colours"]) <= COLOURS.keys() and about["shape"] for about in DRAWN.values())


def test_nothing_in_it_contradicts_itself() -> None:
    assert inconsistencies() == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("cheese", {"vegan": True}, "cheese is vegan"),
        ("croissant", {"vegan": True}, "made of an animal food"),
        ("carrot", {"vegan": False}, "carrot is a plant food"),
        ("apple", {"contains": ("gluten",)}, "apple contains gluten"),
        ("bread", {"contains": ()}, "bread does not contain ['gluten']"),
        ("marzipan", {"contains": ()}, "marzipan does not contain ['nuts']"),
        ("walnuts", {"contains": ()}, "walnuts is a nut without nuts"),
        ("milk", {"grows": "tree"}, "milk grows, and is no plant"),
        ("apple", {"grows": "shelf"}, "a property that there is not"),
        ("lemon", {"replaces": ("lemon",)}, "lemon replaces itself"),
        ("lemon", {"replaces": ("durian",)}, "not in the list: ['durian']"),
        ("flour", {"made": ("bread",)}, "flour is made of itself"),
        ("egg", {"kind": "rock"}, "egg is of an unknown kind"),
    ],
)
def test_a_contradiction_is_found(
    name: str, change: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FOODS, name, replace(FOODS[name], **change))  # type: ignore[arg-type]
    assert any(said in found for found in inconsistencies())


def test_each_kind_of_fact_has_a_source_with_an_address() -> None:
    stated = {key for food in FACTS["foods"].values() for key in food} | {"dishes"}
    assert {said for source in FACTS["sources"].values() for said in source["says"]} == stated
    assert all(source["url"].startswith("https://") and source["title"] for source in FACTS["sources"].values())


def test_properties_are_the_facts_of_the_file() -> None:
    for name, facts in FACTS["foods"].items():
        assert [kind for kind in KINDS if has(name, "kind", kind)] == [facts["kind"]]
        assert has(name, "vegan", "yes") is facts["vegan"]
        assert [held for held in ("gluten", "nuts") if has(name, "contains", held)] == facts.get("contains", [])
        assert {place for place in ontology.GROWS if has(name, "grows", place)} == {facts.get("grows", "")} - {""}
        assert {dish for dish, foods in FACTS["dishes"].items() if name in foods} == {
            dish for dish in ontology.DISHES if has(name, "dish", dish)
        }
        assert [other for other in FOODS if can_replace(name, other)] == sorted(
            facts.get("replaces", []), key=list(FOODS).index
        )


def test_what_it_does_not_know_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(DataError, match="no food 'aple'.*apple"):
        has("aple", "vegan", "yes")
    with pytest.raises(DataError, match="no property kind=fruits.*kind=fruit"):
        has("apple", "kind", "fruits")


@pytest.mark.parametrize("menu", MENUS.values(), ids=list(MENUS))
def test_every_property_that_is_asked_divides_the_menu(menu: object) -> None:
    from helpers.tasks.kitchen.menus import Menu

    assert isinstance(menu, Menu)
    for atom in menu.properties:
        held = [has(name, atom.attribute, atom.value) for name in menu.foods]
        assert 2 <= sum(held) <= len(held) - 2, atom
    assert all(set(colours) <= set(DRAWN[name]["colours"]) for name, colours in menu.foods.items())
