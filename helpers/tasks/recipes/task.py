"""Task ``recipes``: relate title, ingredients and instructions of a dish.

Sources:
    ``generator``: little synthetic recipes, endless, offline.
    ``wikibooks``: 3,129 English recipes of the Wikibooks Cookbook (an asset, fetched once).
    ``corbt/all-recipes``: one text column ``input``: title, "Ingredients:", "Directions:".
    ``AkashPS11/recipes_data_food.com``: CSV with R-style lists; amounts, which carry no units there, are put before
    the names.
    Any file or folder with columns title, ingredients, steps (``ALIASES`` lists other names accepted),
    Recipe1M+'s ``layer1.json`` included.

Which shapes lists may have: see ``lists``.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import RawRows
from helpers.sources.source import Source
from helpers.tasks import base, columns, official
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.cells import one_text, opened, plain_text
from helpers.tasks.dedupe import check_disjoint, near_duplicate_pairs, without_copies
from helpers.tasks.leaks import refuse_leaks
from helpers.tasks.reading import as_text, begin, carried, drop, folded, read, text, with_ids
from helpers.tasks.recipes import forms as recipes_forms
from helpers.tasks.recipes import generator
from helpers.tasks.recipes.lists import as_list, with_amounts
from helpers.tasks.recipes.swaps import from_column, mine_swaps, row_swaps
from helpers.tasks.recipes.text import clean_wiki, guess_course, wiki_lines

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

ALIASES = {
    "title": ("name", "recipe_name", "recipe_title", "RecipeName", "dish", "headline"),
    "ingredients": (
        "ingredient_list", "RecipeIngredientParts", "recipeIngredient", "recipe_ingredients", "ingredient",
        "ingredients_list", "ingr",
    ),
    "steps": (
        "instructions", "directions", "RecipeInstructions", "method", "preparation", "instruction",
        "analyzedInstructions",
    ),
    "amounts": ("RecipeIngredientQuantities", "quantities", "ingredient_quantities", "measurements", "measures"),
    "units": ("ingredient_units",),
    "id": ("RecipeId", "recipe_id", "index"),
    "category": ("RecipeCategory", "course", "cuisine", "type"),
}  # fmt: skip
NEAR_DUPLICATE = 0.5  # Jaccard of word triples of ingredients and steps
POOL = 20_000  # most rows read from a large source, unless more are asked for
LEAST_INGREDIENTS, LEAST_STEPS = 2, 2
LICENCES = {
    "generator": "synthetic, part of this repository (Apache-2.0)",
    "wikibooks": "CC BY-SA 4.0, Wikibooks Cookbook contributors (en.wikibooks.org/wiki/Cookbook)",
}


class RecipesTask(Task):
    name = "recipes"
    forms = {
        "steps": "generation", "ingredients": "generation", "missing": "choice", "substitute": "choice",
        "match": "choice",
    }  # fmt: skip
    main_form = "steps"
    bare_questions = {
        "missing": recipes_forms.MISSING_QUESTION,
        "substitute": "What can replace this ingredient in this recipe?",
        "match": recipes_forms.MATCH_QUESTION,
    }
    columns = ("id", "title", "category", "ingredients", "steps", "swaps")
    built_in = ("generator", "wikibooks")
    label_column = "category"
    sources = {"smoke": "generator", "cpu": "wikibooks", "full": "corbt/all-recipes"}
    cpu_asset = "wikibooks-recipes"

    def load(
        self, n_train: int | None = None, n_eval: int = 150, source: str = "generator", seed: int = 0
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, title, category, ingredients (list), steps (list), and swaps: the
        documented substitutes for its ingredients ("cream => milk"), mined from all usable rows (of the
        generator: from its first 3,000), so they do not change with ``n_train``."""
        base.check_sizes(n_train, n_eval)
        report = LoadReport(self.name, source, licence=LICENCES.get(source, ""))
        if source == "generator":
            rows = _generated(n_train, n_eval, seed, report)
        else:
            raw = _wikibooks() if source == "wikibooks" else _outside(self, source, n_train, n_eval, seed, report)
            rows = _usable(raw, report)
            if raw.splits:
                report.usable, wish = len(rows), Source.of(source)
                parts = official.cut(rows, n_train, n_eval, "recipes", seed, report, wish, same=_same)
                return self._with_swaps(parts, mine_swaps(rows), report)
            random.Random(f"split-{seed}").shuffle(rows)
            rows = without_copies(rows, recipe_text, NEAR_DUPLICATE, report)
        report.usable = len(rows)
        parts = base.cut(rows, n_train, n_eval, f"recipes in {source}", report)
        check_no_leak(parts)
        # A few generated recipes would hold too few twins.
        swaps = mine_swaps(list(islice(generator.recipes(seed), 3000)) if source == "generator" else rows)
        return self._with_swaps(parts, swaps, report)

    def _with_swaps(self, parts: dict[str, list[Row]], swaps: Mapping[str, set[str]], report: LoadReport) -> TaskSplits:
        for row in (row for part in parts.values() for row in part):
            row["swaps"] = row_swaps(row, swaps)
        return base.make_splits(parts, self.columns, report)

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        form = form or self.main_form
        self.form_kind(form)
        items: list[Row] = [dict(row) for row in rows]
        if form == "missing":
            made = recipes_forms.missing_examples(items, seed)
        elif form == "substitute":
            swaps = from_column(items) if items and "swaps" in items[0] else mine_swaps(items)
            made = recipes_forms.substitute_examples(items, swaps, seed)
        elif form == "match":
            made = recipes_forms.match_examples(items, seed)
        else:
            made = recipes_forms.text_examples(items, form)
        if not made and items:
            raise DataError(
                f"none of the {len(items)} recipes can be asked about in form {form!r}",
                "Give more recipes, or recipes with more ingredients",
            )
        return base.make_examples(made)


def _same(row: Row) -> str:
    return folded(recipe_text(row))


def recipe_text(row: Row) -> str:
    """What near-duplicates are judged by: ingredients and steps, not the title."""
    return "\n".join((*row["ingredients"], *row["steps"]))


def check_no_leak(parts: dict[str, list[Row]]) -> None:
    """DataError if an id, or a text down to small changes, stands in two splits."""
    rows = [(name, row) for name, part in parts.items() for row in part]
    check_disjoint(parts, "recipe", itemgetter("id"))
    for i, j in near_duplicate_pairs([recipe_text(row) for _, row in rows], NEAR_DUPLICATE):
        (split, row), (other_split, other) = rows[i], rows[j]
        if split != other_split:
            raise DataError(f"recipes {row['id']!r} ({split}) and {other['id']!r} ({other_split}) are near-duplicates")


def _generated(n_train: int | None, n_eval: int, seed: int, report: LoadReport) -> list[Row]:
    """As many distinct generated recipes as needed; a longer run begins with the same ones."""
    need = base.wanted(1000 if n_train is None else n_train, n_eval)
    stream = generator.recipes(seed)
    rows: list[Row] = []
    kept: list[Row] = []
    for _ in range(8):  # each round adds what is lacking and a little more
        if len(kept) < need:
            rows += islice(stream, max(20, int(1.05 * need) - len(rows) + 10))
            kept = without_copies(rows, recipe_text, NEAR_DUPLICATE, report)
    report.rows_read = len(rows)
    return kept[:need]


def _wikibooks() -> RawRows:
    from helpers.sources import assets

    file = min(assets.path("wikibooks-recipes").rglob("recipes_en-us.json"), default=None)
    if file is None:
        raise DataError("the asset wikibooks-recipes has no recipes_en-us.json", "Fetch it again")
    data = json.loads(file.read_text(encoding="utf-8"))
    raw = RawRows("wikibooks", read=len(data), columns=["id", "title", "category", "ingredients", "steps"])
    for key, row in data.items():
        ingredients = [line for item in row["ingredients"] or [] for line in wiki_lines(item)]
        steps = [line for item in row["steps"] or [] for line in wiki_lines(item)]
        title = clean_wiki(row["title"] or "")
        values = (key.removeprefix("Cookbook:"), title, guess_course(title, row["category"] or "", ingredients))
        raw.rows.append(dict(zip(raw.columns, (*values, ingredients, steps), strict=True)))
    return raw


def _outside(task: Task, source: str, n_train: int | None, n_eval: int, seed: int, report: LoadReport) -> RawRows:
    limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
    raw = read(task, source, limit, seed, report)
    texts = [name for name in raw.columns if name.lower() in ("input", "text", "recipe")]
    own = {reader.plain(name) for names in (ALIASES["steps"], ("steps",)) for name in names}
    if texts and not own & {reader.plain(name) for name in raw.columns}:
        rows = [parse_text(text(row.get(texts[0]), texts[0])) for row in raw.rows]
        raw.replace(rows, ["title", "ingredients", "steps"])
    return raw


def parse_text(written: str) -> dict[str, Any]:
    """Title, ingredients and steps of one text with the headings "Ingredients:" and "Directions:" (or
    "Instructions:", "Steps:", "Method:"); what is absent comes out empty."""
    parts: dict[str, list[str]] = {"title": [], "ingredients": [], "steps": []}
    current = "title"
    heads = {"ingredients": "ingredients", **dict.fromkeys(("directions", "instructions", "steps", "method"), "steps")}
    for line in written.replace("\r", "\n").split("\n"):
        start, colon, rest = line.strip().strip("#* ").partition(":")
        head = start.strip().lower() if colon else ""
        current = heads.get(head, current)
        if head in heads or (current == "title" and head in ("title", "name", "recipe")):
            line = rest
        if line.strip() or current == "steps":  # a blank line ends a paragraph
            parts[current].append(line.rstrip())
    steps = as_list("\n".join(parts["steps"]), "steps")  # as text: its lines may be broken at a width, or be one
    ingredients = as_list(parts["ingredients"], "ingredients")
    return {"title": " ".join(map(str.strip, parts["title"])), "ingredients": ingredients, "steps": steps}


def _is_one_text(cell: Any) -> bool:
    return isinstance(cell, list) and len(cell) == 1 and isinstance(cell[0], str)


def _usable(raw: RawRows, report: LoadReport) -> list[Row]:
    """Rows with a title, enough ingredients and enough steps; the others counted by reason."""
    begin(raw, report)
    rows: list[Row] = []
    beside: Counter[str] = Counter()
    optional = ("id", "category", "amounts", "units")
    picked = columns.pick(raw, ALIASES, report, optional)
    shapes: Counter[str] = Counter()
    cells = [opened(row["steps"]) for row in picked]
    if sum(_is_one_text(cell) for cell in cells) * 2 > len(cells):  # the whole text, in a list of one
        cells = [cell[0] if _is_one_text(cell) else cell for cell in cells]
    for number, (row, cell) in enumerate(zip(picked, cells, strict=True)):
        title = " ".join(plain_text(one_text(row["title"], "title")).split())
        # "For the sauce:" is a heading, not an ingredient
        ingredients = [line for line in as_list(row["ingredients"], "ingredients", shapes) if line[-1] != ":"]
        if row["amounts"] is not None or row["units"] is not None:
            joined = with_amounts(ingredients, row["amounts"], row["units"])
            beside["joined" if joined else "apart"] += 1
            ingredients = joined or ingredients
        steps = as_list(cell, "steps", shapes)
        faults = {
            "no title": title.lower() in ("", "nan", "none"),
            "no ingredients": not ingredients,
            f"fewer than {LEAST_INGREDIENTS} ingredients": len(ingredients) < LEAST_INGREDIENTS,
            "no steps": not steps,
            f"fewer than {LEAST_STEPS} steps": len(steps) < LEAST_STEPS,
        }
        fault = next((reason for reason, found in faults.items() if found), None)
        if fault:
            drop(report, fault, row=row)
        else:
            key = text(row["id"], "id") or str(number)
            category = as_text(row["category"]) or guess_course(title, "", ingredients)
            found = {"id": key, "title": title, "category": category, "ingredients": ingredients, "steps": steps}
            rows.append(found | carried(row))
    report.notes += [f"{shape} ({count:,} rows)" for shape, count in shapes.most_common()]
    if beside:
        report.notes.append(
            f"amounts stand in a column of their own: put before the ingredients in {beside['joined']:,} rows, left "
            f"out in {beside['apart']:,} where their number differs or the lines have amounts"
        )
    needed = f"title, ingredients (at least {LEAST_INGREDIENTS}) and steps (at least {LEAST_STEPS})"
    base.refuse_unusable(rows, report, f"recipes in {raw.name}", needed)
    whole = [{name: " ".join(row[name]) for name in ("ingredients", "steps")} for row in rows]
    for names in (("ingredients", "steps"), ("steps", "ingredients")):
        refuse_leaks(((row[names[0]], row[names[1]]) for row in whole), names, raw.name, report)
    return with_ids(rows, "#")
