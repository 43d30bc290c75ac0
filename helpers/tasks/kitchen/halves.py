"""The two halves of a question, each on its own: what a text says is to be seen, and what follows from it.

With these a model's half can be replaced by one that makes no mistakes, and an error counted for the half that made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from helpers.tasks.kitchen import logic
from helpers.tasks.kitchen.logic import Is, Replaces
from helpers.tasks.kitchen.scenes import LAYOUTS, Item, read_description
from helpers.tasks.kitchen.wording import positive


def seen(written: str) -> tuple[list[Item], list[str]]:
    """The foods that a description names, all in places of one layout, and the parts that cannot be read.

    ``scenes.describe`` writes these foods again: a reader then gets a scene in its usual form, whatever was written.
    Where a text names places of several layouts, the one with most of the foods counts (the first, of equals).
    """
    items, strange = read_description(written)
    sizes = Counter(_layout(item) for item in items)
    if len(sizes) > 1:
        ((usual, _),) = sizes.most_common(1)
        strange = strange + [f"{item.place}: {item.food}" for item in items if _layout(item) != usual]
        items = [item for item in items if _layout(item) == usual]
    return items, strange


def _layout(item: Item) -> str:
    return next(name for name, places in LAYOUTS.items() if item.place in places)


def conclude(row: Mapping[str, Any], items: Sequence[Item]) -> int:
    """The choice that the logical form of a question gives for these foods, by its index; −1: none, or several.

    Of a question that asks after a food only the choices count. One without a picture is asked about its choices.

    Args:
        row: of task ``kitchen``, with ``logic``, ``choices`` and ``needs_picture``.
        items: what is in the picture, or is said to be; not looked at where a question has no picture.

    Raises:
        DataError: the row has no logical form.
    """
    query, choices = logic.parse(row["logic"]), list(row["choices"])
    if not row["needs_picture"]:
        items = [Item(name, "", "") for name in (*choices, *_named(query))]
    if query.kind == "which":
        fits = logic.fits(query.concepts[0], items)
        found = {item.food for item, fit in zip(items, fits, strict=True) if fit} & set(choices)
        return choices.index(found.pop()) if len(found) == 1 else -1
    said = logic.evaluate(query, items)
    if query.kind == "more":
        return ("first", "second", "equal").index(said)
    return choices.index(said) if said in choices else -1


def _named(query: logic.Query) -> list[str]:
    """Foods that a question names as those to be replaced."""
    inner = [concept.of.parts for concept in query.concepts if isinstance(concept, Replaces)]
    atoms: list[Is] = [positive(part) for parts in inner for part in parts]
    return [atom.value for atom in atoms if atom.attribute == "food"]
