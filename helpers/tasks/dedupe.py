"""Near-duplicates by Jaccard similarity of word shingles, exact and fast.

Candidates come from prefix filtering: order every text's shingles from rare to common; two texts whose
Jaccard similarity reaches the threshold must share a shingle among the first ``n - ceil(t * n) + 1``.
Those prefixes are joined by a sparse matrix product, which also counts the shared ones. Of two prefixes the
one that ends earlier has no match beyond the other's, so that count plus what follows it bounds the overlap
and drops most candidates; the rest are checked exactly. The result equals that of comparing all pairs.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from helpers.errors import DataError

if TYPE_CHECKING:  # pragma: no cover
    from helpers.tasks.base import LoadReport

T = TypeVar("T")
_WORD = re.compile(r"[^\W_]+")


def shingles(text: str, size: int = 3) -> frozenset[str]:
    """Runs of ``size`` lower-case words; a text shorter than that is one shingle, an empty one none."""
    words = _WORD.findall(text.lower())
    if len(words) < size:
        return frozenset([" ".join(words)]) if words else frozenset()
    return frozenset(" ".join(words[i : i + size]) for i in range(len(words) - size + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared over all shingles, 0 when both are empty."""
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def near_duplicate_pairs(texts: Sequence[str], threshold: float = 0.7, size: int = 3) -> list[tuple[int, int]]:
    """All pairs ``i < j`` with Jaccard similarity of at least ``threshold``, sorted.

    Args:
        texts: the documents.
        threshold: in (0, 1].
        size: words per shingle.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold must be in (0, 1], not {threshold}")
    import numpy as np
    from scipy.sparse import csr_matrix

    sets = [shingles(text, size) for text in texts]
    counts = Counter(shingle for group in sets for shingle in group)
    # A shingle seen once cannot be shared; ids from rare to common make the sorted ids the prefix order.
    shared = sorted((s for s, c in counts.items() if c > 1), key=lambda s: (counts[s], s))
    ids = {shingle: number for number, shingle in enumerate(shared)}
    known = [sorted(ids[s] for s in group if s in ids) for group in sets]

    indptr, indices = [0], []
    last = np.full(len(sets), -1)  # highest id in the prefix
    rest = np.zeros(len(sets), dtype=np.int64)  # shingles behind the prefix
    for row, (group, numbers) in enumerate(zip(sets, known, strict=True)):
        total = len(group)
        prefix = total - math.ceil(threshold * total - 1e-9) + 1 if total else 0
        unseen = total - len(numbers)  # these come first in rarity order and use up part of the prefix
        head = numbers[: max(0, prefix - unseen)]
        indices.extend(head)
        indptr.append(len(indices))
        last[row], rest[row] = head[-1] if head else -1, total - prefix
    matrix = csr_matrix(
        (np.ones(len(indices), dtype=np.int32), np.array(indices, dtype=np.int64), np.array(indptr)),
        shape=(len(sets), max(1, len(shared))),
    )
    lengths = np.array([len(group) for group in sets])
    pairs: list[tuple[int, int]] = []
    block = 2000
    for start in range(0, len(sets), block):
        product = (matrix[start : start + block] @ matrix.T).tocoo()
        left, right = product.row + start, product.col
        short, long = np.minimum(lengths[left], lengths[right]), np.maximum(lengths[left], lengths[right])
        need = threshold / (1 + threshold) * (short + long) - 1e-9
        bound = product.data + np.where(last[left] <= last[right], rest[left], rest[right])
        keep = (left < right) & (short >= threshold * long - 1e-9) & (bound >= need)
        for i, j in zip(left[keep].tolist(), right[keep].tolist(), strict=True):
            both = len(sets[i] & sets[j])
            if both >= threshold * (lengths[i] + lengths[j] - both) - 1e-9:
                pairs.append((i, j))
    return sorted(pairs)


def keep_first(texts: Sequence[str], threshold: float) -> list[int]:
    """Indices to keep, in order: a text goes when it is a near-duplicate of an earlier *kept* one.

    No two kept texts are near-duplicates, and what is kept of a prefix does not depend on what follows.
    """
    earlier = defaultdict(set)
    for i, j in near_duplicate_pairs(texts, threshold):
        earlier[j].add(i)
    kept: dict[int, None] = {}
    for j in range(len(texts)):
        if earlier[j].isdisjoint(kept):
            kept[j] = None
    return list(kept)


def without_copies(rows: Sequence[T], text: Callable[[T], str], threshold: float, report: LoadReport) -> list[T]:
    """First of every group of equal or nearly equal rows, in order; the report gets how many of each went.

    Args:
        text: what a row is judged by; case and spaces do not matter.
    """
    exact: dict[str, T] = {}
    for row in rows:
        exact.setdefault(" ".join(text(row).lower().split()), row)
    distinct = list(exact.values())
    kept = [distinct[index] for index in keep_first([text(row) for row in distinct], threshold)]
    report.duplicates_removed, report.near_duplicates_removed = len(rows) - len(distinct), len(distinct) - len(kept)
    return kept


def check_disjoint(
    parts: Mapping[str, Sequence[T]], what: str, key: Callable[[T], Hashable], shown: Callable[[T], Any] | None = None
) -> None:
    """DataError if a row of one split has the same key as a row of another.

    Args:
        parts: rows by split.
        what: what the key is, for the message.
        shown: what the message shows of a row; the key itself if left out.
    """
    owner: dict[Hashable, str] = {}
    for name, rows in parts.items():
        for row in rows:
            first = owner.setdefault(key(row), name)
            if first != name:
                raise DataError(f"{what} {(shown or key)(row)!r} is in both {first} and {name}")
