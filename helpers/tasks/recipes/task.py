"""Task ``recipes``: relate title, ingredients and instructions of a dish.

Sources:
    ``generator``: little synthetic recipes, endless, offline.
    ``wikibooks``: 3,129 English recipes of the Wikibooks Cookbook (an asset, fetched once).
    ``corbt/all-recipes``: one text column ``input``: title, "Ingredients:", "Directions:".
    ``AkashPS11/recipes_data_food.com``: CSV with R-style lists; amounts carry no units there, so only the
    ingredient names are used.
    Any file or folder with columns title, ingredients, steps (``ALIASES`` lists other names accepted),
    Recipe1M+'s ``layer1.json`` included.

Lists may be real lists, JSON, Python or R lists in a string, or text with line breaks.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import RawRows
from helpers.tasks import base
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.dedupe import check_disjoint, near_duplicate_pairs, without_copies
from helpers.tasks.reading import begin, drop, with_ids
from helpers.tasks.recipes import forms as recipes_forms
from helpers.tasks.recipes import generator
from helpers.tasks.recipes.swaps import from_column, mine_swaps, row_swaps
from helpers.tasks.recipes.text import as_list, clean_wiki, guess_course, wiki_lines

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

ALIASES = {
    "title": ("name", "recipe_name", "recipe_title", "RecipeName", "dish"),
    "ingredients": ("ingredient_list", "RecipeIngredientParts", "ingredient", "ingredients_list", "ingr"),
    "steps": ("instructions", "directions", "RecipeInstructions", "method", "preparation", "instruction"),
    "id": ("RecipeId", "recipe_id", "index"),
    "category": ("RecipeCategory", "course", "cuisine", "type"),
}
OPTIONAL = ("id", "category")
NEAR_DUPLICATE = 0.5  # Jaccard of word triples of ingredients and steps
POOL = 20_000  # most rows read from a large source, unless more are asked for
LEAST_INGREDIENTS, LEAST_STEPS = 2, 2
LICENCES = {
    "generator": "synthetic, part of this repository (Apache-2.0)",
    "wikibooks": "CC BY-SA 4.0, Wikibooks Cookbook contributors (en.wikibooks.org/wiki/Cookbook)",
}


class RecipesTask(Task):
    name = "recipes"
    forms = {"steps": "generation", "ingredients": "generation", "missing": "choice", "substitute": "choice"}
    main_form = "steps"
    bare_questions = {
        "missing": recipes_forms.MISSING_QUESTION,
        "substitute": "What can replace this ingredient in this recipe?",
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
            raw = _wikibooks() if source == "wikibooks" else _outside(source, n_train, n_eval, seed)
            rows = _usable(raw, report)
            random.Random(f"split-{seed}").shuffle(rows)
            rows = _without_duplicates(rows, report)
        report.usable = len(rows)
        parts = base.cut(rows, n_train, n_eval, f"recipes in {source}")
        check_no_leak(parts)
        # A few generated recipes would hold too few twins.
        swaps = mine_swaps(list(islice(generator.recipes(seed), 3000)) if source == "generator" else rows)
        for row in (row for part in parts.values() for row in part):
            row["swaps"] = row_swaps(row, swaps)
        return base.make_splits(parts, self.columns, report)

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        form = form or self.main_form
        self.form_kind(form)
        items: list[Row] = [dict(row) for row in rows]
        made = _FORMS[form](items, seed)
        if not made and items:
            raise DataError(
                f"none of the {len(items)} recipes can be asked about in form {form!r}",
                "Give more recipes, or recipes with more ingredients",
            )
        return base.make_examples(made)


def _substitute(rows: Sequence[Row], seed: int) -> list[Row]:
    swaps = from_column(rows) if rows and "swaps" in rows[0] else mine_swaps(rows)
    return recipes_forms.substitute_examples(rows, swaps, seed)


_FORMS: dict[str, Callable[[Sequence[Row], int], list[Row]]] = {
    "steps": lambda rows, seed: recipes_forms.steps_examples(rows),
    "ingredients": lambda rows, seed: recipes_forms.ingredients_examples(rows),
    "missing": recipes_forms.missing_examples,
    "substitute": _substitute,
}


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
    for _ in range(8):  # each round adds what is lacking and a little more
        rows += islice(stream, max(20, int(1.05 * need) - len(rows) + 10))
        report.duplicates_removed = report.near_duplicates_removed = 0
        kept = _without_duplicates(rows, report)
        if len(kept) >= need:
            report.rows_read = len(rows)
            return kept[:need]
    report.rows_read = len(rows)
    return kept


def _wikibooks() -> RawRows:
    from helpers.sources import assets

    file = next(iter(sorted(assets.path("wikibooks-recipes").rglob("recipes_en-us.json"))), None)
    if file is None:
        raise DataError("the asset wikibooks-recipes has no recipes_en-us.json", "Fetch it again")
    data = json.loads(file.read_text(encoding="utf-8"))
    raw = RawRows("wikibooks", read=len(data), columns=["id", "title", "category", "ingredients", "steps"])
    for key, row in data.items():
        ingredients = [line for item in row["ingredients"] or [] for line in wiki_lines(item)]
        steps = [line for item in row["steps"] or [] for line in wiki_lines(item)]
        title, category = clean_wiki(row["title"] or ""), row["category"] or ""
        raw.rows.append(
            {
                "id": key.removeprefix("Cookbook:"),
                "title": title,
                "category": guess_course(title, category, ingredients),
                "ingredients": ingredients,
                "steps": steps,
            }
        )
    return raw


def _outside(source: str, n_train: int | None, n_eval: int, seed: int) -> RawRows:
    limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
    raw = reader.read(source, limit, seed, RecipesTask.built_in)
    texts = [name for name in raw.columns if name.lower() in ("input", "text", "recipe")]
    own = {reader.plain(name) for names in (ALIASES["steps"], ("steps",)) for name in names}
    if texts and not own & {reader.plain(name) for name in raw.columns}:
        raw.rows = [parse_text(str(row[texts[0]] or "")) for row in raw.rows]
        raw.columns = ["title", "ingredients", "steps"]
    return raw


def parse_text(text: str) -> dict[str, Any]:
    """Title, ingredients and steps of one text with the headings "Ingredients:" and "Directions:" (or
    "Instructions:", "Steps:", "Method:"); what is absent comes out empty."""
    parts: dict[str, list[str]] = {"title": [], "ingredients": [], "steps": []}
    current = "title"
    heads = {"ingredients": "ingredients", "directions": "steps", "instructions": "steps", "steps": "steps"}
    heads["method"] = "steps"
    for line in text.splitlines():
        head, colon, rest = line.strip().strip("#* ").partition(":")
        if colon and head.strip().lower() in heads:
            current = heads[head.strip().lower()]
            line = rest
        elif colon and current == "title" and head.strip().lower() in ("title", "name", "recipe"):
            line = rest
        if line.strip():
            parts[current].append(line.strip())
    return {
        "title": " ".join(parts["title"]),
        "ingredients": as_list(parts["ingredients"], "ingredients"),
        "steps": as_list(parts["steps"], "steps"),
    }


def _usable(raw: RawRows, report: LoadReport) -> list[Row]:
    """Rows with a title, enough ingredients and enough steps; the others counted by reason."""
    begin(raw, report)
    rows: list[Row] = []
    for number, row in enumerate(reader.pick_columns(raw, ALIASES, OPTIONAL)):
        title = " ".join(str(row["title"] or "").split())
        # "For the sauce:" is a heading, not an ingredient
        ingredients = [line for line in as_list(row["ingredients"], "ingredients") if line[-1] != ":"]
        steps = as_list(row["steps"], "steps")
        if not title or title.lower() in ("nan", "none"):
            drop(report, "no title")
        elif not ingredients:
            drop(report, "no ingredients")
        elif len(ingredients) < LEAST_INGREDIENTS:
            drop(report, f"fewer than {LEAST_INGREDIENTS} ingredients")
        elif not steps:
            drop(report, "no steps")
        elif len(steps) < LEAST_STEPS:
            drop(report, f"fewer than {LEAST_STEPS} steps")
        else:
            rows.append(
                {
                    "id": str(row["id"] if row["id"] not in (None, "") else number),
                    "title": title,
                    "category": str(row["category"] or "") or guess_course(title, "", ingredients),
                    "ingredients": ingredients,
                    "steps": steps,
                }
            )
    return with_ids(rows, "#")


def _without_duplicates(rows: list[Row], report: LoadReport) -> list[Row]:
    """First of every group of equal or nearly equal recipes, in order; removals are added to the report."""
    kept, exact, near = without_copies(rows, recipe_text, NEAR_DUPLICATE)
    report.duplicates_removed += exact
    report.near_duplicates_removed += near
    return kept
