"""Rows that belong together: what is said of one of them is known of the others in part, so they are no independent
examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

LARGEST = 0.1  # share of the rows in one group, above which what links them says nothing any more
FEW = 9  # rows that may be one group in a small set too


def linked(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """A number for each row, the same where rows share a key, or are linked by other rows that do.

    Keys are compared column by column. One that very many rows share, such as "A man is outside.", can link nearly all
    of them. Where one group would hold more than ``LARGEST`` of the rows, and more than ``FEW``, the last column is
    left out, and so on: the first one always counts.

    Args:
        keys: of each row, as many for every row; the one that says most comes first.
    """
    columns = len(keys[0]) if keys else 0
    for used in range(columns, 0, -1):
        numbers = _components([row[:used] for row in keys])
        sizes = Counter(numbers).values()
        if used == 1 or (max(sizes) <= max(LARGEST * len(keys), FEW) and len(sizes) > 1):
            return numbers
    return list(range(len(keys)))


def _components(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[int, Hashable], int] = {}
    for i, row in enumerate(keys):
        for column, key in enumerate(row):
            parent[root(i)] = root(first.setdefault((column, key), i))
    return [root(i) for i in range(len(keys))]
