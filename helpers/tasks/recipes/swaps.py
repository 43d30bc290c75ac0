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
from collections.abc import Container, Mapping, Sequence
from itertools import combinations

from helpers.tasks.base import Row
from helpers.tasks.recipes.forms import PANTRY, names_of
from helpers.tasks.recipes.text import WORDS, ingredient_name


def written_alternatives(line: str, known: Container[str]) -> list[str]:
    """Bare names that a line offers instead of each other; fewer than two means none.

    Args:
        known: names that exist. "chicken or vegetable stock" offers chicken stock if that is one of them,
            while "honey or maple syrup" offers honey, there being no honey syrup.
    """
    text = re.sub(r"\(\s*or\s+([^()]*)\)", r" or \1", line.lower())
    text = re.sub(r"\([^()]*\)", " ", text).split(",")[0]
    parts = re.split(r"\s+or\s+", text)
    if not 2 <= len(parts) <= 3:
        return []
    names = [ingredient_name(part) for part in parts]
    if not all(names):
        return []
    head = names[-1].split()[-1]
    if head in WORDS["alternative_heads"] and " " in names[-1]:
        whole = [f"{name} {head}" for name in names]
        names = [w if " " not in n and w in known else n for n, w in zip(names, whole, strict=True)]
    return list(dict.fromkeys(names))


def mine_swaps(rows: Sequence[Row], least: int = 2) -> dict[str, set[str]]:
    """Ingredient name → names that can replace it.

    Args:
        rows: recipes with category and ingredients; the more, the better.
        least: different twin pairs needed for a swap without written evidence.
    """
    sets = [frozenset(names_of(row)) for row in rows]
    seen = Counter(name for names in sets for name in names)
    swaps: dict[str, set[str]] = defaultdict(set)

    def add(a: str, b: str) -> None:
        words = set(a.split()), set(b.split())
        # "cream" and "sour cream" are kinds of one another, not replacements
        if not {a, b} & PANTRY and not words[0] <= words[1] and not words[1] <= words[0]:
            swaps[a].add(b)
            swaps[b].add(a)

    for row in rows:
        for line in row["ingredients"]:
            known = [name for name in written_alternatives(line, seen) if seen[name] >= 2]
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


def row_swaps(row: Row, swaps: Mapping[str, set[str]]) -> list[str]:
    """The swaps that concern one recipe, as ``"cream => milk"``, sorted."""
    return sorted(f"{name} => {other}" for name in names_of(row) for other in swaps.get(name, ()))


def from_column(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Undo ``row_swaps``: the table of all swaps written in the rows' ``swaps`` column."""
    swaps: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for item in row["swaps"]:
            name, _, other = item.partition(" => ")
            swaps[name].add(other)
    return dict(swaps)
