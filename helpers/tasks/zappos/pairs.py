"""Compositional zero-shot splits: some pairs of state and object are never seen in training, their parts are.

A state is what a shoe is made of, an object what kind of shoe it is, as in the field's split of UT-Zappos50K, which has
finer words for materials (16 states, 12 objects, 116 pairs): figures do not compare with published ones. As there,
validation and test show different unseen pairs, so that nothing is chosen on a pair that is tested. In the closed
world a model chooses among the pairs that exist, seen and unseen; in the open world among all combinations
(Mancini et al., 2021, "Open World Compositional Zero-Shot Learning").
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from helpers.errors import DataError

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

T = TypeVar("T")
Pair = tuple[str, str]  # state, object
EVAL_SHARE = 0.1  # of the seen pairs' rows, for validation and for test


@dataclass(frozen=True)
class CompositionalSplit:
    """Rows and pairs.

    Attributes:
        train: rows of seen pairs only, at least one of each.
        validation, test: other rows of seen pairs, and all rows of half of the unseen pairs each.
        seen_pairs, unseen_pairs: (state, object), sorted; every state and object of an unseen pair is in a seen one.
        tested_pairs: those of the unseen pairs that test shows; validation shows the others.
        left_out: rows without a state or object.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    seen_pairs: tuple[Pair, ...]
    unseen_pairs: tuple[Pair, ...]
    tested_pairs: tuple[Pair, ...]
    left_out: int

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(sorted({state for state, _ in self.seen_pairs}))

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(sorted({thing for _, thing in self.seen_pairs}))


def compositional(
    rows: Dataset, unseen_share: float = 0.25, seed: int = 0, state: str = "material"
) -> CompositionalSplit:
    """Hold out pairs of state and object.

    Args:
        rows: rows of the task, no picture twice; those without state or type are left out.
        unseen_share: unseen pairs among all pairs, above 0 and below 1.
        seed: which pairs are unseen, and which rows go where.
        state: column of the states.

    Raises:
        DataError: a share out of range, or too few pairs or rows to hold that many out.
    """
    if not 0 < unseen_share < 1:
        raise DataError(f"unseen_share must lie between 0 and 1, not {unseen_share!r}")
    pairs = list(zip(rows[state], rows["type"], strict=True))
    where: dict[Pair, list[int]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        if all(pair):
            where[pair].append(i)
    rng = random.Random(f"pairs-{seed}")
    unseen = _held_out(sorted(where), unseen_share, rng)
    tested = set(rng.sample(sorted(unseen), (len(unseen) + 1) // 2))
    shuffled = {pair: rng.sample(found, len(found)) for pair, found in sorted(where.items())}
    parts = _parts(shuffled, unseen, tested, rng)
    for name in ("validation", "test"):
        kinds = {pairs[i] in unseen for i in parts[name]}
        if len(kinds) < 2:
            lacks = "seen" if True in kinds else "unseen"
            raise DataError(
                f"{len(rows):,} rows are too few: {name} gets none of {lacks} pairs",
                "Give more rows, or another unseen_share",
            )
    return CompositionalSplit(
        **{name: rows.select(sorted(part)) for name, part in parts.items()},
        seen_pairs=tuple(sorted(set(where) - unseen)),
        unseen_pairs=tuple(sorted(unseen)),
        tested_pairs=tuple(sorted(tested)),
        left_out=len(rows) - sum(map(len, where.values())),
    )


def _held_out(pairs: Sequence[Pair], share: float, rng: random.Random) -> set[Pair]:
    """Pairs taken out one by one, evenly over states and objects, each of which keeps a pair that is seen."""
    want = max(1, round(share * len(pairs)))
    left = {part: Counter(pair[part] for pair in pairs) for part in (0, 1)}
    gone: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
    order = rng.sample(pairs, len(pairs))
    unseen: set[Pair] = set()
    while len(unseen) < want:
        free = [p for p in order if p not in unseen and all(left[part][p[part]] > 1 for part in (0, 1))]
        if not free:
            raise DataError(
                f"{want} of {len(pairs)} pairs cannot be unseen: after {len(unseen)} every other pair is the last one "
                "seen of its state or object",
                "Lower unseen_share, or give rows with more combinations",
            )
        taken = min(
            free,
            key=lambda p: sum(gone[part][p[part]] / (left[part][p[part]] + gone[part][p[part]]) for part in (0, 1)),
        )
        unseen.add(taken)
        for part in (0, 1):
            left[part][taken[part]] -= 1
            gone[part][taken[part]] += 1
    return unseen


def _parts(
    where: dict[Pair, list[int]], unseen: set[Pair], tested: set[Pair], rng: random.Random
) -> dict[str, list[int]]:
    """Rows by split: stratified by pair, one row of every seen pair kept for train."""
    train = [found[0] for pair, found in where.items() if pair not in unseen]
    seen = in_turn(
        [(pair, i) for pair, found in where.items() if pair not in unseen for i in found[1:]], itemgetter(0), rng
    )
    size = round(EVAL_SHARE * (len(seen) + len(train)))

    def shows(pairs: set[Pair]) -> list[int]:
        return [i for pair, found in where.items() if pair in pairs for i in found]

    return {
        "train": train + [i for _, i in seen[2 * size :]],
        "validation": [i for _, i in seen[size : 2 * size]] + shows(unseen - tested),
        "test": [i for _, i in seen[:size]] + shows(tested),
    }


def in_turn(items: Sequence[T], group: Callable[[T], object], rng: random.Random) -> list[T]:
    """Items in an order in which every stretch has its fair share of every group: a stratified random order."""
    groups: dict[object, list[T]] = defaultdict(list)
    for item in items:
        groups[group(item)].append(item)
    placed: list[tuple[float, float, T]] = []
    for members in groups.values():
        rng.shuffle(members)
        start = rng.random()
        placed += [((i + start) / len(members), rng.random(), item) for i, item in enumerate(members)]
    return [item for *_, item in sorted(placed, key=lambda entry: entry[:2])]
