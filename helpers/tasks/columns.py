"""Which columns of a source are read: the better one where several fit, codes by their names, columns in numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.sources import reader
from helpers.tasks.leaks import holds
from helpers.tasks.reading import as_text

if TYPE_CHECKING:  # pragma: no cover
    from helpers.sources.local import RawRows
    from helpers.tasks.base import LoadReport, Row

LOOKED_AT = 1_000  # rows in which columns are compared
MOST_CODES = 100  # that names in a column beside them are looked for
_NUMBERED = r"(\d{1,2}|[a-z])"


def pick(
    raw: RawRows, aliases: Mapping[str, Sequence[str]], report: LoadReport, optional: Sequence[str] = (), *,
    prompt: str = "", completion: str = "", coded: str = "",
) -> list[Row]:  # fmt: skip
    """As ``reader.pick_columns``; where several columns fit, the choice is made and noted.

    Codes of a column that names them (``ClassLabel``) become those names.

    Args:
        prompt: the task's column that a model reads; one that holds the completion in most rows is not taken.
        completion: the task's column that a model writes.
        coded: the task's column whose codes the reader has explained: they stay.
    """
    taken = {}
    for own, names in aliases.items():
        fits = fitting(raw.columns, own, names)
        if own in raw.chosen or not fits:
            continue
        exact = reader.plain(fits[0]) == reader.plain(own)
        choice = fits[0]
        if own == prompt and len(fits) > 1:
            written = fitting(raw.columns, completion, aliases[completion])
            written = [raw.chosen[completion]] if completion in raw.chosen else written
            clean = [name for name in fits if not (written and _mostly_holds(raw.rows, name, written[0]))]
            choice = next(iter(clean), choice)
            for name in (name for name in fits if name not in clean and clean):
                report.notes.append(f"column {name!r} holds the text of {written[0]!r}: it is not read as {own}")
            fits = clean or fits
        taken[own] = choice
        if len(fits) > 1 and own not in optional and not exact:
            others = ", ".join(fits[1:])
            report.notes.append(
                f"column {choice!r} is read as {own}; {others} would fit too (-p columns {own}={fits[1]})"
            )
    raw.chosen = {**taken, **raw.chosen}
    beside = {
        name: _names_beside(raw, name, fitting(raw.columns, own, aliases.get(own, ())))
        for own, name in raw.chosen.items()
        if name not in raw.names
    }
    raw.names = {**raw.names, **{name: names for name, names in beside.items() if names}}
    picked = reader.pick_columns(raw, aliases, optional)
    for own, name in raw.chosen.items():
        if name in raw.names and own != coded:
            _use_names(picked, own, raw.names[name], report)
    return picked


def fitting(columns: Sequence[str], own: str, names: Sequence[str]) -> list[str]:
    """The columns that fit a column of the task, best first; case, spaces, ``_`` and ``-`` do not matter."""
    found = {reader.plain(name): name for name in reversed(columns)}
    plains = dict.fromkeys(reader.plain(name) for name in (own, *names))
    return [found[name] for name in plains if name in found]


def numbered(columns: Sequence[str], *stems: str) -> list[str]:
    """Columns such as option1, option2 … or choice_a, choice_b …, in order; the first stem that has two of them.

    The stem "" finds columns that are letters alone: A, B, C, D.
    """
    for stem in stems:
        pattern = re.compile(rf"{re.escape(stem)}{_NUMBERED if stem else '([a-z])'}")
        found = {m[1]: name for name in columns if (m := pattern.fullmatch(reader.plain(name)))}
        order = sorted(found, key=lambda mark: (not mark.isdigit(), int(mark) if mark.isdigit() else 0, mark))
        first = ("0", "1") if order and order[0].isdigit() else ("a",)
        if len(order) > 1 and order[0] in first and len({mark.isdigit() for mark in order}) == 1:
            return [found[mark] for mark in order]
    return []


def _mostly_holds(rows: Sequence[Row], column: str, other: str) -> bool:
    """Whether the cells of one column hold the text of the other in more than half of the rows that have both."""
    pairs = [(as_text(row.get(column)), as_text(row.get(other))) for row in rows[:LOOKED_AT]]
    pairs = [(whole, part) for whole, part in pairs if whole and part]
    return sum(holds(whole, part, least=False) for whole, part in pairs) * 2 > len(pairs)


def _names_beside(raw: RawRows, column: str, others: Sequence[str]) -> list[str]:
    """What another column calls the codes of this one; [] where none does, or not always the same.

    Args:
        others: columns that would fit as well (gold_label beside label); label_text is looked at in any case.
    """
    fits = {reader.plain(column) + end for end in ("text", "name", "str", "string", "word")}
    beside = [name for name in raw.columns if (reader.plain(name) in fits or name in others) and name != column]
    return next((names for name in beside if (names := _called(raw.rows, column, name))), [])


def _called(rows: Sequence[Row], column: str, beside: str) -> list[str]:
    called: dict[int, set[str]] = {}
    for row in rows:
        code, name = _code(row.get(column)), as_text(row.get(beside))
        if code is None or name.isdecimal():
            return []
        if code >= 0:
            called.setdefault(code, set()).add(name)
    if not called or len(called) > MOST_CODES or any(len(names) > 1 or "" in names for names in called.values()):
        return []
    return [next(iter(called.get(code, (str(code),)))) for code in range(max(called) + 1)]


def _code(cell: Any) -> int | None:
    """A code as a number, also where it is text; None for anything else."""
    if isinstance(cell, str):
        cell = int(cell) if re.fullmatch(r"\s*(-1|\d{1,3})\s*", cell) else None
    return cell if isinstance(cell, int) and not isinstance(cell, bool) and cell < 1000 else None


def _use_names(rows: Sequence[Row], own: str, names: Sequence[str], report: LoadReport) -> None:
    """Codes become the names that the source gives them; -1 becomes none."""
    for row in rows:
        code = _code(row[own])
        if code is not None and code < len(names):
            row[own] = names[code] if code >= 0 else None
    said = ", ".join(f"{code} = {name}" for code, name in enumerate(names[:12]))
    report.notes.append(f"codes of {own} have names in the source: {said}{' …' if len(names) > 12 else ''}")
