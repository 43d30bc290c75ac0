"""The record of a deep model from those of two shallow ones, exactly: its layers are alike.

A record is a sequence of births and deaths of storages. One layer more adds a block at several places of it: where
weights are made, in the forward pass, in the backward pass, in the update. Each block repeats the one before it. Two
records of a few layers show where the blocks are and what is in them; a deep model's has them as often as it has
layers. Where the two do not show that, there is no answer, and the deep model is recorded itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch

from helpers.memory.ledger import Ledger

LOOKED_AHEAD = 600  # tokens that are compared behind a block to find where it ends


class Kind(NamedTuple):
    """Storages that are alike: cause, shape, format and operation of the tensor it was made for, and bytes."""

    cause: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    operation: str
    size: int


class Token(NamedTuple):
    """A birth, or the death of one of the storages of a kind that are there.

    Attributes:
        newer, older: how many others of the kind are there that began later, and earlier; ``None`` for a birth.
    """

    kind: Kind
    newer: int | None = None
    older: int | None = None


class Said(NamedTuple):
    """A token with one of the two ranks, the one that does not depend on the number of layers: -1 is the newest."""

    kind: Kind
    rank: int | None


def canonical(ledger: Ledger) -> list[tuple[int, int]]:
    """Events with storages numbered as they begin; those that end with nothing in between end in that order.

    The order in which a cache is emptied is an accident of addresses.
    """
    numbers: dict[int, int] = {}
    events = [(numbers.setdefault(key, len(numbers)), size) for key, size in ledger.events]
    groups = groupby(events, key=lambda event: event[1] < 0)
    return [event for ends, group in groups for event in (sorted(group) if ends else group)]


def tokens(ledger: Ledger) -> list[Token]:
    """A record in words that do not depend on which layer it is."""
    names = list(dict.fromkeys(key for key, _ in ledger.events))
    found: list[Token] = []
    alive: dict[Kind, list[int]] = {}
    kinds: dict[int, Kind] = {}
    for key, size in canonical(ledger):
        if size >= 0 and key not in kinds:
            shape, dtype, operation = ledger.shapes[names[key]]
            kind = kinds[key] = Kind(ledger.causes[names[key]], shape, dtype, operation, size)
            alive.setdefault(kind, []).append(key)
            found.append(Token(kind))
        else:
            kind = kinds[key]
            there = alive[kind]
            place = bisect_left(there, key)
            found.append(Token(kind, len(there) - 1 - place, place))
            del there[place]
    return found


def deepened(short: Ledger, longer: Ledger, more: int) -> Ledger | None:
    """The record with `more` layers than `short` has; ``None`` where it does not follow from the two.

    Args:
        short, longer: of the same step, the second with one layer more.
    """
    parts = _aligned(tokens(short), tokens(longer))
    if parts is None:
        return None
    deep = _played(_with_layers(parts, more))
    same = [_played(_with_layers(parts, n)) for n in (0, 1)]
    known = [canonical(short), canonical(longer)]
    if deep is None or [ledger and ledger.events for ledger in same] != known:
        return None
    return deep


# ("same", what both say), ("scaled", a token of both) or ("block", what one layer adds)
Part = tuple[str, Any]


def _aligned(short: list[Token], longer: list[Token]) -> list[Part] | None:
    """The second sequence as the first with blocks added, each a repetition of what is before it."""
    parts: list[Part] = []
    i = j = 0
    while i < len(short) or j < len(longer):
        if run := _common(short, i, longer, j, len(longer), _same):
            parts.append(("same", _said(short[i : i + run], longer[j : j + run])))
            i, j = i + run, j + run
        elif period := _block(short, i, longer, j):
            parts.append(("block", _said(longer[j - period : j], longer[j : j + period])))
            j += period
        elif i < len(short) and j < len(longer) and _scaled(short[i], longer[j]):
            parts.append(("scaled", (short[i], longer[j])))
            i, j = i + 1, j + 1
        else:
            return None
    return parts


def _common(
    a: Sequence[Token], i: int, b: Sequence[Token], j: int, most: int, alike: Callable[[Token, Token], bool]
) -> int:
    """How many tokens are alike from there on."""
    n, most = 0, min(most, len(a) - i, len(b) - j)
    while n < most and alike(a[i + n], b[j + n]):
        n += 1
    return n


def _block(short: list[Token], i: int, longer: list[Token], j: int) -> int:
    """Length of the block that was added here: it repeats the one before, and most is alike behind it. 0: none."""
    best = length = 0
    for period in range(1, min(j, len(longer) - j, len(longer) - len(short)) + 1):
        if _common(longer, j - period, longer, j, period, _same) < period:
            continue
        if i == len(short) and j + period < len(longer):
            continue  # all the rest is one block
        behind = _common(short, i, longer, j + period, LOOKED_AHEAD, _alike)
        if behind == min(LOOKED_AHEAD, len(short) - i):
            return period
        if behind > best:
            best, length = behind, period
    return length


def _same(a: Token, b: Token) -> bool:
    return a == b or (a.kind == b.kind and a.newer is not None and (a.newer == b.newer or a.older == b.older))


def _alike(a: Token, b: Token) -> bool:
    return _same(a, b) or _scaled(a, b)


def _scaled(a: Token, b: Token) -> bool:
    """Whether two tokens differ only in how large one dimension is: a tensor with a number for each layer, say."""
    if (a.newer, a.older) != (b.newer, b.older) or a.kind.size >= b.kind.size:
        return False
    if a.kind._replace(shape=(), size=0) != b.kind._replace(shape=(), size=0):
        return False
    same_rank = len(a.kind.shape) == len(b.kind.shape)
    return same_rank and sum(m != n for m, n in zip(a.kind.shape, b.kind.shape, strict=True)) == 1


def _said(before: list[Token], now: list[Token]) -> list[Said]:
    return [Said(b.kind, b.newer if b.newer is None else _rank(a, b)) for a, b in zip(before, now, strict=True)]


def _rank(a: Token, b: Token) -> int:
    """Index of a storage among those of its kind that are there, from the end that gives the same for both."""
    assert b.newer is not None and b.older is not None
    return -1 - b.newer if a.newer == b.newer else b.older


def _with_layers(parts: list[Part], more: int) -> Iterator[Said]:
    for name, what in parts:
        if name == "scaled":
            a, b = what
            shape = tuple(m + more * (n - m) for m, n in zip(a.kind.shape, b.kind.shape, strict=True))
            size = a.kind.size + more * (b.kind.size - a.kind.size)
            kind = a.kind._replace(shape=shape, size=size)
            yield Said(kind, b.newer if b.newer is None else _rank(a, b))
        else:
            yield from what * (more if name == "block" else 1)


def _played(said: Iterator[Said]) -> Ledger | None:
    """A record from words; ``None`` where one ends a storage that is not there."""
    ledger = Ledger()
    alive: dict[Kind, list[int]] = {}
    for kind, rank in said:
        there = alive.setdefault(kind, [])
        if rank is None:
            key = len(ledger.causes)
            ledger.events.append((key, kind.size))
            ledger.causes[key], ledger.shapes[key] = kind.cause, (kind.shape, kind.dtype, kind.operation)
            there.append(key)
        elif -len(there) <= rank < len(there):
            ledger.events.append((there.pop(rank), -kind.size))
        else:
            return None
    return ledger
