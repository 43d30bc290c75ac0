"""Task recipes: reading, cleaning, splitting, the generator."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.sources import assets
from helpers.tasks.dedupe import jaccard, shingles
from helpers.tasks.recipes import generator as recipes_generator
from helpers.tasks.recipes.task import check_no_leak, parse_text, recipe_text
from helpers.tasks.recipes.text import clean_wiki, guess_course, ingredient_name, wiki_lines
from tools.tiny.sentences import kitchen

TASK = tasks.get("recipes")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def own_recipes(count: int) -> list[dict[str, Any]]:
    rows = islice(recipes_generator.recipes(99), count)
    return [{key: row[key] for key in ("title", "ingredients", "steps")} for row in rows]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("2 cups (240 g) finely chopped red onions, peeled", "red onion"),
        ("2 boneless, skinless chicken breasts", "chicken breast"),
        ("1 ½ lemons, juiced", "lemon"),
        ("½ teaspoon or more ground cayenne pepper (optional)", "cayenne pepper"),
        ("1 large or 2 small white onions, diced", "white onion"),
        ("75 ml vegetable or peanut oil for frying", "vegetable oil"),
        ("500 g ground beef", "ground beef"),
        ("3 garlic cloves, crushed", "garlic"),
        ("1 can (6 ounces) tomato paste", "tomato paste"),
        ("Salt to taste", "salt"),
        ("4 potatoes", "potato"),
        ("Jelly", "jelly"),
        ("½ tsp", ""),
        ("2 leaves", ""),
        ("200g spinach", "spinach"),
    ],
)
def test_ingredient_name(line: str, name: str) -> None:
    assert ingredient_name(line) == name


def test_wiki_leftovers_go() -> None:
    assert clean_wiki("1&frac12; cup ''brown'' sugar<ref>Or [[white]].</ref>") == "1½ cup brown sugar"
    assert clean_wiki("[[Cookbook:Egg|Eggs]] {{unit|2}} at 350&nbsp;°F") == "Eggs at 350 °F"
    assert clean_wiki('{| class="wikitable"') == ""
    assert clean_wiki("thumb|Frying the batterPour it.") == "Frying the batterPour it."
    assert wiki_lines("Thicken: #* with flour. #* or starch") == ["Thicken:", "with flour.", "or starch"]
    assert wiki_lines("*Sugar") == ["Sugar"]


def test_one_text_column_is_taken_apart(tmp_path: Path) -> None:
    text = "No-Bake Cookies\n\nIngredients:\n- 1 c. sugar\n- 2 eggs\n\nDirections:\n- Mix.\n- Let stand."
    assert parse_text(text) == {
        "title": "No-Bake Cookies",
        "ingredients": ["1 c. sugar", "2 eggs"],
        "steps": ["Mix.", "Let stand."],
    }
    rows = [
        {"input": f"{r['title']}\n\nIngredients:\n- " + "\n- ".join(r["ingredients"]) + "\n\nDirections:\n- "
         + "\n- ".join(r["steps"])}
        for r in own_recipes(60)
    ]  # fmt: skip
    splits = TASK.load(20, 20, write_jsonl(tmp_path / "all.jsonl", rows))
    known = {(r["title"], tuple(r["ingredients"]), tuple(r["steps"])) for r in own_recipes(60)}
    for row in splits["test"]:
        assert (row["title"], tuple(row["ingredients"]), tuple(row["steps"])) in known


def test_recipe1m_layer_and_food_com_columns(tmp_path: Path) -> None:
    layer = [
        {
            "id": f"{number:010x}",
            "title": row["title"],
            "ingredients": [{"text": line} for line in row["ingredients"]],
            "instructions": [{"text": line} for line in row["steps"]],
            "partition": "train",
            "url": "http://x",
        }
        for number, row in enumerate(own_recipes(50))
    ]
    (tmp_path / "layer1.json").write_text(json.dumps(layer))
    (tmp_path / "layer2.json").write_text('[{"id": "0", "images": []}]')  # pictures: not read
    splits = TASK.load(10, 20, str(tmp_path))
    assert splits.report.rows_read == 50
    assert splits["train"][0]["ingredients"] and splits["train"][0]["steps"]

    csv = tmp_path / "food.csv"
    quote = '"c(""{}"")"'
    lines = ["RecipeId,Name,RecipeCategory,RecipeIngredientQuantities,RecipeIngredientParts,RecipeInstructions"]
    for number, row in enumerate(own_recipes(50)):
        parts = [quote.format('"", ""'.join(row[key])) for key in ("ingredients", "steps")]
        lines.append(f'{number},{row["title"]},Dinner,"c(""1"", ""2"")",{parts[0]},{parts[1]}')
    csv.write_text("\n".join([*lines, "50,Empty,,,character(0),character(0)"]))
    splits = TASK.load(10, 20, str(csv))
    assert set(splits["test"]["category"]) == {"Dinner"}
    assert splits.report.dropped == {"no ingredients": 1}
    assert splits["test"][0]["ingredients"] in [row["ingredients"] for row in own_recipes(50)]


def test_every_dropped_row_is_counted(tmp_path: Path) -> None:
    good = own_recipes(40)
    bad = [
        {"title": "", "ingredients": ["a", "b"], "steps": ["x", "y"]},
        {"title": None, "ingredients": ["a", "b"], "steps": ["x", "y"]},
        {"title": "t", "ingredients": [], "steps": ["x", "y"]},
        {"title": "t", "ingredients": ["a"], "steps": ["x", "y"]},
        {"title": "t", "ingredients": ["a", "b"], "steps": None},
        {"title": "t", "ingredients": ["a", "b"], "steps": ["x"]},
    ]
    twin = {**good[0], "steps": [*good[0]["steps"][:-1], good[0]["steps"][-1] + " Enjoy."], "title": "other"}
    splits = TASK.load(5, 20, write_jsonl(tmp_path / "r.jsonl", [*good, *bad, good[3], twin]))
    report = splits.report
    assert report.dropped == {
        "no title": 2, "no ingredients": 1, "fewer than 2 ingredients": 1, "no steps": 1,
        "fewer than 2 steps": 1,
    }  # fmt: skip
    assert (report.rows_read, report.duplicates_removed, report.near_duplicates_removed) == (48, 1, 1)
    assert report.usable == 40


def test_more_than_exists_names_what_exists(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "r.jsonl", own_recipes(40))
    with pytest.raises(DataError, match="there are 40 usable recipes.*Lower n_train to 10 or less"):
        TASK.load(11, 20, source)


def test_wikibooks_from_the_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {
        f"Cookbook:Dish {number}": {
            "title": row["title"],
            "category": None,
            "ingredients": [f"* {line}&nbsp;" for line in row["ingredients"]],
            "steps": ["#" + " #* ".join(row["steps"])],
        }
        for number, row in enumerate(own_recipes(40))
    }
    (tmp_path / "recipes_en-us.json").write_text(json.dumps(data), encoding="utf-8")
    monkeypatch.setattr(assets, "path", lambda name: tmp_path)
    splits = TASK.load(10, 20, "wikibooks")
    row = splits["test"][0]
    original = own_recipes(40)[int(row["id"].split()[-1])]
    assert (row["ingredients"], row["steps"]) == (original["ingredients"], original["steps"])
    assert "CC BY-SA 4.0" in str(splits.report) and "Wikibooks" in splits.report.licence
    assert row["category"] == guess_course(original["title"], "", original["ingredients"])


@pytest.mark.skipif(not assets.available("wikibooks-recipes"), reason="asset not fetched")
def test_real_wikibooks() -> None:
    splits = TASK.load(None, 150, "wikibooks", seed=1)
    assert splits.report.rows_read == 3129 and splits.report.usable > 2900
    texts = [line for row in splits["train"] for line in (row["title"], *row["ingredients"], *row["steps"])]
    assert not [text for text in texts if re.search(r"&\w+;|\{\{|<ref|\[\[|^[#*]", text)]


def test_guess_course() -> None:
    assert guess_course("Tomato Soup") == "soup"
    assert guess_course("Chicken Salad") == "salad"
    assert guess_course("Zitumbuwa (Malawian Banana Pancakes)") == "bread"
    assert guess_course("Anything", "Recipes for dessert") == "sweet"
    assert guess_course("Something", "", ["200 g salmon", "1 lemon"]) == "fish"


def texts_of(splits: Any, name: str) -> list[str]:
    return [recipe_text(row) for row in splits[name]]


def test_generator_splits_are_deterministic_and_do_not_leak() -> None:
    first, again, other = (TASK.load(200, 60, "generator", seed) for seed in (5, 5, 6))
    assert first.report.fingerprint == again.report.fingerprint != other.report.fingerprint
    assert texts_of(first, "test") == texts_of(again, "test") != texts_of(other, "test")
    grams = {name: [shingles(text) for text in texts_of(first, name)] for name in first}
    for name in ("validation", "test"):
        assert max(jaccard(a, b) for a in grams[name] for b in grams["train"]) < 0.6


def test_test_split_does_not_move_with_n_train(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "r.jsonl", own_recipes(120))
    for where in ("generator", source):
        small, large = TASK.load(30, 30, where), TASK.load(70, 30, where)
        assert small["test"]["id"] == large["test"]["id"]
        assert small["validation"]["id"] == large["validation"]["id"]
        assert list(large["train"]["id"])[:30] == list(small["train"]["id"])


def test_leak_check_bites() -> None:
    rows = [{**row, "id": str(number)} for number, row in enumerate(own_recipes(3))]
    check_no_leak({"train": rows[:1], "validation": rows[1:2], "test": rows[2:]})
    copied = {**rows[0], "id": "new", "title": "renamed"}
    with pytest.raises(DataError, match="near-duplicates"):
        check_no_leak({"train": rows[:2], "validation": [], "test": [copied]})
    with pytest.raises(DataError, match="in both train and test"):
        check_no_leak({"train": rows[:2], "validation": [], "test": [{**rows[2], "id": "0"}]})


def test_generator_is_small_worded_varied_and_consistent() -> None:
    rows = list(islice(recipes_generator.recipes(0), 3200))
    words = {w for row in rows for text in (row["title"], recipe_text(row)) for w in re.findall("[a-z]+", text.lower())}
    assert len(words) <= 400
    assert len({row["category"] for row in rows}) >= 5
    assert max(len(" ".join(row["steps"]).split()) for row in rows) <= 70
    for row in rows:
        assert 4 <= len(row["ingredients"]) <= 7 and 2 <= len(row["steps"]) <= 5
        steps = " ".join(row["steps"]).lower()
        for line in row["ingredients"]:  # every ingredient is handled in a step
            assert re.sub(r"s$", "", line.split()[-1]) in steps
    assert TASK.load(3000, 60, "generator").report.usable >= 3000


def test_generic_text_keeps_the_vocabulary_and_tells_no_recipe() -> None:
    lines = kitchen(1500, seed=2)
    assert lines == kitchen(1500, seed=2) != kitchen(1500, seed=3)
    assert not [line for line in lines if "\n" in line or "Ingredients" in line]
    titles = {title for _, title, _ in recipes_generator.DISHES}
    text = " ".join(lines).lower()
    assert not [title for title in titles if title in text]
    used = set(re.findall("[a-z]+", text))
    needed = {
        w for row in islice(recipes_generator.recipes(1), 400) for w in re.findall("[a-z]+", recipe_text(row).lower())
    }
    assert len(needed - used) <= 5


def test_generic_text_has_no_dish_association() -> None:
    """Signature ingredients of one dish meet in a sentence no more often than chance."""
    lines = [set(re.findall("[a-z]+", line.lower())) for line in kitchen(20_000, seed=0)]
    names = sorted(recipes_generator.ROLE_OF)
    counts = {name: sum(name in line for line in lines) for name in names}
    mates = {
        frozenset((slots[0][0], name)) for _, _, slots in recipes_generator.DISHES for s in slots[1:] for name in s
    }
    together = expected = 0.0
    for a, b in (sorted(pair) for pair in mates if len(pair) == 2):
        together += sum(a in line and b in line for line in lines)
        expected += counts[a] * counts[b] / len(lines)
    overall_pairs = overall = 0.0
    for a, b in zip(names, names[7:], strict=False):  # arbitrary pairs
        overall_pairs += sum(a in line and b in line for line in lines)
        overall += counts[a] * counts[b] / len(lines)
    assert together / expected < 1.25 * overall_pairs / overall
