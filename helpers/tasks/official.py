"""Official splits kept: a missing one is cut from train; copies across them are counted, and dropped on request."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

from helpers.errors import DataError
from helpers.sources.source import Source
from helpers.sources.splits import OFFICIAL, SPLIT, TEST, TRAIN, VALIDATION
from helpers.tasks.base import LoadReport, Row, validation_size

Key = Callable[[Row], Hashable]


def cut(
    rows: Sequence[Row],
    n_train: int | None,
    n_eval: int,
    what: str,
    seed: int,
    report: LoadReport,
    source: Source,
    *,
    same: Key,
) -> dict[str, list[Row]]:
    """Rows by their official splits, at most as many of each as asked for, drawn by ``seed``.

    Args:
        rows: usable rows, each with the name of its split under ``SPLIT``; in the order of the source.
        what: what the rows are, for messages.
        source: ``official-distinct`` drops from train what validation or test has, and from validation what test has;
            with a protocol, all rows are taken, in their order.
        same: rows with an equal key are copies of each other; they stay together where a split is cut from train.

    Raises:
        DataError: a split has fewer usable rows than asked for.
    """
    parts: dict[str, list[Row]] = {name: [] for name in OFFICIAL}
    for row in rows:
        parts[row.pop(SPLIT)].append(row)
    if not parts[TRAIN] and not source.protocol:
        parts[TRAIN], parts[VALIDATION] = parts[VALIDATION], []
        report.notes.append("the source has no split train that can be used: its validation split is trained on")
    usable = {name: len(part) for name, part in parts.items()}
    report.notes.append("official splits: " + ", ".join(f"{name} {size:,}" for name, size in usable.items() if size))
    _copies(parts, same, source.splits == "official-distinct", report)
    what, published = f"{what} in {source}", bool(source.protocol)
    wanted: dict[str, int | None] = {TEST: n_eval, VALIDATION: validation_size(n_eval), TRAIN: n_train}
    if published:
        wanted = dict.fromkeys(wanted)
    given = len(parts[TRAIN])
    missing = {name: wanted[name] or 0 for name in (TEST, VALIDATION) if not parts[name]}
    if missing and not published:
        _from_train(parts, missing, same, seed, report)
    for name, size in wanted.items():
        if not published:
            random.Random(f"split-{seed}-{name}").shuffle(parts[name])
        parts[name] = _first(parts[name], name, size, what, report, given - len(parts[TRAIN]) if name == TRAIN else 0)
    return parts


def _first(part: list[Row], name: str, size: int | None, what: str, report: LoadReport, cut_off: int) -> list[Row]:
    """The rows of a split that are used; validation may be smaller than usual.

    Args:
        cut_off: rows of this split that a missing one has got.
    """
    if name == VALIDATION and size is not None and 0 < len(part) < size:
        report.notes.append(f"split validation has {len(part):,} rows, all are used (usual would be {size:,})")
        size = len(part)
    if len(part) < (1 if size is None else size):
        parameter = "n_train" if name == TRAIN else "n_eval"
        asked = "at least 1" if size is None else f"{size:,}"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in Counter(report.dropped).most_common())
        raise DataError(
            f"there are {len(part):,} usable {what} in split {name}, but {asked} are asked for"
            + (f"; dropped: {reasons}" if reasons else "")
            + (f"; {cut_off:,} of it were cut off, since other splits are missing" if cut_off else ""),
            f"Lower {parameter}, or cut all rows anew: splits = 'random'",
        )
    return part[:size]


def _copies(parts: dict[str, list[Row]], same: Key, distinct: bool, report: LoadReport) -> None:
    """Count rows of a split that a later one has too, and drop them where asked."""
    counts: dict[str, int] = {}
    later: dict[Hashable, str] = {}
    for name in reversed(OFFICIAL):
        keys = [same(row) for row in parts[name]]
        shared = [later.get(key) for key in keys]
        for other in (VALIDATION, TEST):
            if count := shared.count(other):
                counts[f"{count:,} of {name} are in {other}"] = count
        if distinct:
            parts[name] = [row for row, copy in zip(parts[name], shared, strict=True) if copy is None]
        for key in keys:
            later.setdefault(key, name)
    total = sum(counts.values())
    if distinct:
        report.duplicates_removed += total
    told = ("dropped" if distinct else "kept; splits = 'official-distinct' drops them") if total else "none"
    report.notes.append(f"copies across official splits: {'; '.join([*counts, told])}")


def _from_train(parts: dict[str, list[Row]], missing: dict[str, int], same: Key, seed: int, report: LoadReport) -> None:
    """Fill the missing splits with rows of train; copies of each other go to one split."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in parts[TRAIN]:
        groups[same(row)].append(row)
    order = list(groups.values())
    random.Random(f"split-{seed}").shuffle(order)
    rest = iter(order)
    for name, size in missing.items():
        while len(parts[name]) < size and (group := next(rest, None)):
            parts[name] += group
        parts[name] = parts[name][:size]
    parts[TRAIN] = [row for group in rest for row in group]
    report.notes.append(f"the source has no split {' and no split '.join(missing)} that can be used: cut from train")
