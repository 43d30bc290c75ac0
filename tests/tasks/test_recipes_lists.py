"""Ingredients and steps in the shapes that scrapers give, and steps in running text of many languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.recipes.lists import as_list, with_amounts
from helpers.tasks.recipes.sentences import sentences, split_steps
from helpers.tasks.recipes.task import parse_text

TASK = tasks.get("recipes")


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ('c("blueberries", "granulated sugar")', "ingredients", ["blueberries", "granulated sugar"]),
        ('c("say \\"hi\\"", NA)', "ingredients", ['say "hi"']),
        ("character(0)", "steps", []),
        ('["1 egg", "2 cups milk"]', "ingredients", ["1 egg", "2 cups milk"]),
        ("['1 egg', \"baker's yeast\"]", "ingredients", ["1 egg", "baker's yeast"]),
        ("- 1 egg\n- 2 cups milk\n", "ingredients", ["1 egg", "2 cups milk"]),
        ("1. Mix.\n2) Bake 1.5 hours.", "steps", ["Mix.", "Bake 1.5 hours."]),
        ("Mix well. Bake 1.5 hours! Serve.", "steps", ["Mix well.", "Bake 1.5 hours!", "Serve."]),
        ("egg; milk, warm", "ingredients", ["egg", "milk, warm"]),
        ("egg, milk", "ingredients", ["egg", "milk"]),
        ([["2 cups", "flour"], ["1", "egg"], [None, "salt"]], "ingredients", ["2 cups flour", "1 egg", "salt"]),
        ([["flour", "2 cups"], ["egg", 1]], "ingredients", ["2 cups flour", "1 egg"]),
        (
            [["2 cups flour", "1 egg"], ["1 pinch salt", "jam"]],
            "ingredients",
            ["2 cups flour", "1 egg", "1 pinch salt", "jam"],
        ),
        ([{"min": 1, "max": 2, "unit": "cups", "name": "milk"}], "ingredients", ["1-2 cups milk"]),
        ({"10": "Eat.", "2": "Bake.", "1": "Mix."}, "steps", ["Mix.", "Bake.", "Eat."]),
        ([{"position": 2, "text": "Bake."}, {"position": 1, "text": "Mix."}], "steps", ["Mix.", "Bake."]),
        ([{"position": 1, "text": "Mix."}, {"position": 1, "text": "Bake."}], "steps", ["Mix.", "Bake."]),
        ("（1）混ぜる。（2）（弱火で。）焼く。", "steps", ["混ぜる。", "（弱火で。）焼く。"]),
        ("面粉 200、糖 50、1，5 dl 水", "ingredients", ["面粉 200", "糖 50", "1，5 dl 水"]),
        ([{"text": "1 egg"}, {"text": "  "}], "ingredients", ["1 egg"]),
        (["1.5 cups milk", None], "ingredients", ["1.5 cups milk"]),
        (None, "steps", []),
        (float("nan"), "steps", []),
    ],
)
def test_lists_in_cells(value: Any, kind: str, expected: list[str]) -> None:
    assert as_list(value, kind) == expected


WRAPPED = "Preheat the oven to 350 degrees. Mix flour, sugar and\nsalt in a bowl. Add eggs; beat until very smooth.\n"
NUMBERED = """1. Heat the oven to 350 F. Butter a large
   round pan and set it aside.
2. Mix all of the flour with a pinch
   of salt.
3. Bake."""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            WRAPPED + "Bake it for half an hour or until a fork comes out\nclean.",
            ["Preheat the oven to 350 degrees.", "Mix flour, sugar and salt in a bowl.",
             "Add eggs; beat until very smooth.", "Bake it for half an hour or until a fork comes out clean."],
        ),
        (NUMBERED, ["Heat the oven to 350 F. Butter a large round pan and set it aside.",
                    "Mix all of the flour with a pinch of salt.", "Bake."]),
        # Small letters throughout, or long lines that each end their sentence: every line is a step.
        ("mix flour, sugar and the other dry things\nadd eggs and milk and stir for a long time\nbake", None),
        ("Mix the flour and the sugar in a large bowl.\nAdd eggs and milk, then stir for two minutes.\nBake", None),
        ("Mix the flour and the sugar in a large bowl\nAdd eggs and milk, then stir for two minutes\nBake", None),
    ],
)  # fmt: skip
def test_lines_broken_at_a_width(written: str, expected: list[str] | None) -> None:
    assert as_list(written, "steps") == (expected or written.splitlines())
    in_one_text = parse_text(f"Cake\nIngredients:\n- flour\n- 2 eggs\n\nDirections:\n{written}")
    assert in_one_text["steps"] == (expected or written.splitlines())


WANTED = ["2 cups flour", "1 egg, beaten", "salt"]
NUMPY = str(np.array(WANTED))
INGREDIENTS: dict[str, Any] = {
    "mapping": {"flour": "2 cups", "egg, beaten": 1, "salt": ""},
    "quantity, unit, name": [
        {"quantity": 2.0, "unit": "cups", "name": "flour"}, {"quantity": "1", "unit": None, "name": "egg, beaten"},
        {"quantity": None, "unit": None, "name": "salt"},
    ],
    "amount, name, notes": [
        {"amount": "2 cups", "name": "flour"}, {"amount": 1, "name": "egg", "notes": "beaten"}, {"name": "salt"},
    ],
    "amount in an object": [
        {"name": "flour", "amount": {"value": 2, "unit": "cups"}}, {"name": "egg, beaten", "amount": {"value": 1}},
        {"name": "salt", "amount": None},
    ],
    "text": [{"text": line} for line in WANTED],
    "ingredient, measure": [
        {"ingredient": "flour", "measure": "2 cups"}, {"ingredient": "egg, beaten", "measure": "1"},
        {"ingredient": "salt", "measure": ""},
    ],
    "raw_text beside parts": [{"raw_text": line, "name": "x", "quantity": 9} for line in WANTED],
    "sections": {"dough": WANTED[:2], "filling": WANTED[2:]},
    "named sections": [{"section": "Dough", "items": WANTED[:2]}, {"section": "Filling", "items": WANTED[2:]}],
    "sections of objects": [{"name": "Dough", "ingredients": [{"text": line} for line in WANTED]}],
    "sections of mappings": {"dough": {"flour": "2 cups"}, "rest": {"egg, beaten": "1", "salt": None}},
    "schema.org": {"@type": "ItemList", "itemListElement": WANTED},
    "nested": [WANTED[:2], WANTED[2:]],
    "JSON": json.dumps(WANTED),
    "Python": str(WANTED),
    "numpy": NUMPY,
    "numpy of objects": str(np.array([{"text": line} for line in WANTED], dtype=object)),
    "array": f"array({WANTED}, dtype=object)",
    "real array": np.array(WANTED, dtype=object),
    "R": 'c("2 cups flour", "1 egg, beaten", "salt")',
    "Postgres": '{"2 cups flour","1 egg, beaten",salt}',
    "HTML": "<ul><li>2 cups flour</li><li>1 egg, <b>beaten</b></li>\n<li>salt</li></ul>",
    "breaks": "2 cups flour<br>1 egg, beaten<br/>salt",
    "written out": "2 cups flour\\n1 egg, beaten\\nsalt",
    "bullets in one line": "• 2 cups flour • 1 egg, beaten • salt",
    "boxes": "☐ 2 cups flour\n▢ 1 egg, beaten\n□ salt",
    "other bullets": "– 2 cups flour\n* 1 egg, beaten\n[ ] salt",
    "numbers": "1) 2 cups flour\n(2) 1 egg, beaten\n3. salt",
    "bars": "2 cups flour|1 egg, beaten|salt",
    "entities": ["2&nbsp;cups flour", "1 egg, beaten", "&#115;alt"],
}  # fmt: skip


@pytest.mark.parametrize("shape", INGREDIENTS)
def test_each_shape_of_ingredients_gives_the_same_lines(shape: str) -> None:
    assert as_list(INGREDIENTS[shape], "ingredients") == WANTED


STEPS = ["Mix the flour.", "Bake it."]
WAYS: dict[str, Any] = {
    "how-to": [{"@type": "HowToStep", "name": "Mix", "text": line} for line in STEPS],
    "sections": [{"@type": "HowToSection", "name": "All", "itemListElement": [{"@type": "HowToStep", "text": line}
                  for line in STEPS]}],
    "an object": {"@type": "HowTo", "step": [{"text": line} for line in STEPS]},
    "numbered objects": [{"name": "", "steps": [{"number": i, "step": line, "ingredients": [{"name": "flour"}]}
                          for i, line in enumerate(STEPS)]}],
    "by number": {"step1": STEPS[0], "step2": STEPS[1]},
    "nested": [[STEPS[0]], [STEPS[1]]],
    "numbers in one line": "1. Mix the flour. 2. Bake it.",
    "brackets in one line": "(1) Mix the flour. (2) Bake it.",
    "words in one line": "STEP 1: Mix the flour. STEP 2: Bake it.",
    "numbers apart": "1\nMix the flour.\n2\nBake it.",
    "words apart": "Step 1\nMix the flour.\nStep 2\nBake it.",
    "words without a sign": "Step 1 Mix the flour.\nStep 2 Bake it.",
    "paragraphs": "<p>Mix the flour.</p><p>Bake it.</p>",
    "no space": "Mix the flour.Bake it.",
    "bars": "Mix the flour. | Bake it.",
    "circles": "① Mix the flour.\n② Bake it.",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_each_shape_of_steps_gives_the_same_lines(way: str) -> None:
    assert as_list(WAYS[way], "steps") == STEPS


@pytest.mark.parametrize(
    "parts",
    [
        ["Heat to 350 deg. F for 10 min. or so.", "Cover."],
        ["Heat to 350 deg. F for 10 min.", "Cover.", "Serve."],
        ["Use No. 1 flour.", "Add approx. 2 tbsp. sugar.", "Say no.", "Stop."],
        ["Etwas z. B. Salz dazu.", "Ca. 10 Min. kochen.", "Öl erhitzen.", "Äpfel schälen."],
        ["Étaler la pâte.", "Écraser 3 c. à soupe de sucre.", "« Servir. »"],
        ["mix for 10 minutes.", "add 2 tbsp. butter.", "serve."],
        ["Смешайте муку.", "Добавьте яйца.", "Выпекайте."],
        ["Bake at 350 F.", "2 eggs go in.", '"Done" is done.', "Eat!"],
        ["Добавьте 2 ст. л. сахара и 1 ч. л. соли.", "Выпекайте 30 мин. при 180.", "Варите 5 мин.", "Готово."],
        ["混ぜる。", "焼く。", "食べる！"],
        ["اخلط المكونات.", "هل هو جاهز؟", "قدم الطبق."],
        ["आटा मिलाएं।", "पकाएं।"],
        ["Wait... then go.", "Preheat to 180.", "Bake 1.5 hours."],
    ],
)
def test_sentences_end_where_they_end(parts: list[str]) -> None:
    assert sentences(("" if parts[0][-1] in "。" else " ").join(parts)) == parts


def test_numbers_inside_steps_do_not_split_them() -> None:
    assert split_steps("1. Heat to 180. Grease 2 pans. 2. Bake.") == ["Heat to 180. Grease 2 pans.", "Bake."]
    assert split_steps("Mix 2. Then bake.") == ["Mix 2.", "Then bake."]


def test_decimal_commas_are_no_separators() -> None:
    assert as_list("1,5 dl milk, 2,5 dl rice,1 egg", "ingredients") == ["1,5 dl milk", "2,5 dl rice", "1 egg"]
    assert as_list("flour (sifted, fine), egg", "ingredients") == ["flour (sifted, fine)", "egg"]
    assert as_list("小麦粉、卵、砂糖", "ingredients") == ["小麦粉", "卵", "砂糖"]
    assert as_list("[flour, sugar]", "ingredients") == ["flour", "sugar"]


@pytest.mark.parametrize(
    "cell",
    [
        [{"a": "x", "b": 2}], {"name": {"en": "flour"}, "amount": 2}, "['flour', 'sug", '{"flour": "2 c',
        [{"quantity": 2}], 'c("flour", x(1))',
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["ingredients", "steps"])
def test_an_unknown_shape_is_shown_with_its_column(cell: Any, kind: str) -> None:
    with pytest.raises(DataError, match=f"a cell of column {kind} is .* of unknown shape: .*(flour|sug|'x'|quantity)"):
        as_list(cell, kind)


def test_amounts_beside_ingredients() -> None:
    assert with_amounts(["flour", "egg"], 'c("2", NA)') == ["2 flour", "egg"]
    assert with_amounts(["flour", "egg"], ["2", "1"], ["cups", ""]) == ["2 cups flour", "1 egg"]
    assert with_amounts(["flour", "egg"], ["2"]) is None
    assert with_amounts(["2 cups flour", "1 egg"], ["2", "1"]) is None


def rows(n: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "title": f"Dish {i}", "ingredients": {f"fruit{i}": "2 cups", f"nut{i * 7}": "3", "milk": "1 dl"},
            "steps": f"Cut fruit{i} into {i + 2} pieces. Add nut{i * 7} and wait {i * 3} minutes. Pour milk over it.",
        }
        for i in range(n)
    ]  # fmt: skip


def load(path: Path, made: list[dict[str, Any]]) -> Any:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return TASK.load(8, 8, str(path))


def test_what_was_guessed_is_noted(tmp_path: Path) -> None:
    splits = load(tmp_path / "r.jsonl", rows())
    assert splits["test"][0]["ingredients"][2] == "1 dl milk" and len(splits["test"][0]["steps"]) == 3
    assert "ingredients: an object: names with amounts, or sections, joined (60 rows)" in splits.report.notes
    assert "steps: text of one line, split at numbers or sentence ends (60 rows)" in splits.report.notes


def test_ingredients_that_hold_the_steps_are_refused(tmp_path: Path) -> None:
    leaky = [{**row, "ingredients": f"milk\nnut\nfruit\n{row['steps']}"} for row in rows()]
    with pytest.raises(DataError, match="ingredients holds the whole text of steps in 60 of 60 rows"):
        load(tmp_path / "r.jsonl", leaky)


def test_a_large_loss_is_noted_with_a_row(tmp_path: Path) -> None:
    made = rows()
    for row in made[:6]:
        row["steps"] = "Wait."
    for row in made[6:8]:
        row["title"] = ""
    notes = [note for note in load(tmp_path / "r.jsonl", made).report.notes if "NOT USED" in note]
    assert len(notes) == 1  # two rows are less than 5 %
    assert notes[0].startswith("MANY ROWS ARE NOT USED: 6 of 60 rows (10%): fewer than 2 steps, such as {")
