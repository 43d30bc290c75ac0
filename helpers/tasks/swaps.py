"""Which ingredient can stand in for which: references for the ``substitute`` form, mined from recipes.

Two kinds of evidence, both already in the data:

* *written*: an ingredient line that offers an alternative ("1 cup chicken broth or vegetable stock",
  "chicken or vegetable broth", "butter (or margarine)");
* *twin recipes*: two recipes of one category whose ingredients are the same but for one (at least two in
  common). One such pair may be chance, so a swap needs ``least`` different pairs and the two ingredients
  must rarely stand in one recipe together: parsley and pepper come and go, but not in each other's place.

A swap holds both ways. It says that cooks do it, not that the dish tastes the same.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from helpers.tasks.recipes_forms import PANTRY, names_of
from helpers.tasks.recipes_text import ingredient_name

_HEADS = frozenset(
    "oil stock broth vinegar flour sugar sauce cheese onion pepper cream juice milk rice wine bean paste powder "
    "seed extract syrup yogurt mustard salt butter leaf".split()
)


def written_alternatives(line: str) -> list[str]:
    """Bare names that a line offers instead of each other; fewer than two means none."""
    text = re.sub(r"\(\s*or\s+([^()]*)\)", r" or \1", line.lower())
    text = re.sub(r"\([^()]*\)", " ", text).split(",")[0]
    parts = re.split(r"\s+or\s+", text)
    if not 2 <= len(parts) <= 3:
        return []
    names = [ingredient_name(part) for part in parts]
    head = names[-1].split()[-1] if names[-1] else ""
    if head in _HEADS and len(names[-1].split()) > 1:  # "chicken or vegetable stock": both are stock
        names = [f"{name} {head}" if len(name.split()) == 1 and name not in _HEADS else name for name in names]
    return list(dict.fromkeys(names)) if all(names) else []


def mine_swaps(rows: Sequence[Mapping[str, Any]], least: int = 2) -> dict[str, set[str]]:
    """Ingredient name → names that can replace it.

    Args:
        rows: recipes with category and ingredients; the more, the better.
        least: different twin pairs needed for a swap without written evidence.
    """
    sets = [frozenset(names_of(row)) for row in rows]
    seen = Counter(name for names in sets for name in names)
    swaps: dict[str, set[str]] = defaultdict(set)

    def add(a: str, b: str) -> None:
        if a != b and not {a, b} & PANTRY and not (set(a.split()) <= set(b.split()) or set(b.split()) <= set(a.split())):
            swaps[a].add(b)
            swaps[b].add(a)

    for row in rows:
        for line in row["ingredients"]:
            known = [name for name in written_alternatives(line) if seen[name] >= 2]
            for a, b in combinations(known, 2):
                add(a, b)

    # All recipes that agree after leaving one ingredient out share a key.
    twins: dict[tuple[str, frozenset[str]], set[str]] = defaultdict(set)
    for row, names in zip(rows, sets, strict=True):
        if len(names) >= 3:
            for name in names:
                twins[row["category"], names - {name}].add(name)
    support: Counter[tuple[str, str]] = Counter()
    for others in twins.values():
        support.update(combinations(sorted(others), 2))
    strong = {pair for pair, count in support.items() if count >= least}
    partners: dict[str, set[str]] = defaultdict(set)
    for a, b in strong:
        partners[a].add(b)
    together: Counter[tuple[str, str]] = Counter()
    for names in sets:
        for a in names:
            together.update((a, b) for b in partners.get(a, set()) & names)
    for a, b in strong:
        if together[a, b] * 4 <= support[a, b]:
            add(a, b)
    return dict(swaps)


def row_swaps(row: Mapping[str, Any], swaps: Mapping[str, set[str]]) -> list[str]:
    """The swaps that concern one recipe, as ``"cream => milk"``, sorted."""
    return sorted(f"{name} => {other}" for name in names_of(row) for other in swaps.get(name, ()))


def from_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Undo ``row_swaps``: the table of all swaps written in the rows' ``swaps`` column."""
    swaps: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for item in row["swaps"]:
            name, _, other = item.partition(" => ")
            swaps[name].add(other)
    return dict(swaps)
