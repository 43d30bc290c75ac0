"""Which row of one file of predictions belongs to which row of another: by id, else by input; never by order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError, ParameterError
from helpers.evaluation.verdicts import canonical
from helpers.sources.reader import plain

if TYPE_CHECKING:
    import pandas as pd

# Best first; case, spaces, "_" and "-" do not matter.
ID_COLUMNS = (
    "id", "pid", "qid", "questionid", "exampleid", "sampleid", "pairid", "itemid", "uid", "uuid", "guid", "index",
    "idx",
)  # fmt: skip


def id_texts(values: Sequence[Any]) -> list[str]:
    """Ids as text, so that 7, "7" and 7.0 are the same and "007" stays another; "" for none."""
    kept = ["" if value is None or value != value else str(value).strip() for value in values]
    whole = [re.sub(r"^(-?\d+)\.0+$", r"\1", text) for text in kept]
    return whole if len(set(whole)) == len(set(kept)) else kept  # "1" and "1.0" in one file are two ids


def matched(
    before: pd.DataFrame, after: pd.DataFrame, *, only_common: bool = False, by: str | None = None
) -> tuple[list[int], list[int], str]:
    """Positions of the rows that belong together, in the order of ``before``.

    Both frames come from ``read_predictions``. By id, within a ``form`` where both have one; where no file has ids, by
    ``input``. Two readings of one file without either are matched by the row of the file, which is their index.

    Args:
        only_common: leave out rows that only one of them has; says how many.
        by: name of the column to match by, in place of the one that would be found.

    Returns:
        Positions in ``before``, positions in ``after``, and the name of the column.

    Raises:
        DataError: nothing says which rows belong together (empty, repeated), rows without a partner, or partners
            that are about different questions.
        ParameterError: no column ``by`` in both.
    """
    if by is not None and not (by in before and by in after):
        raise ParameterError(f"there is no column {by!r} in both", f"Both have {', '.join(_shared(before, after))}")
    same_file = before.attrs.get("file") is not None and before.attrs.get("file") == after.attrs.get("file")
    names = ((by, by) if by is not None else _id_columns(before, after, same_file)) or ("input", "input")
    keys, what = [_keys(before, names[0], after), _keys(after, names[1], before)], f"{names[0]!r}"
    if same_file and by is None and not all(map(_usable, keys)):
        keys, what = [[str(line) for line in frame.index] for frame in (before, after)], "row of the file"
    for which, found in zip(("first", "second"), keys, strict=True):
        _refuse_unusable(found, what, which)
    where = {key: i for i, key in enumerate(keys[1])}
    left = [i for i, key in enumerate(keys[0]) if key in where]
    right = [where[keys[0][i]] for i in left]
    if not left or (len(left) < max(map(len, keys)) and not only_common):
        cure = "Compare runs of one task with the same n_eval, dataset and seed"
        raise DataError(
            f"the two systems were not asked the same: {len(before)} and {len(after)} examples, {len(left)} in common "
            f"by {what} (for example {_shortened(keys[0][0])} and {_shortened(keys[1][0])})",
            cure + (", or pass only_common=True to compare those in common" if left else ""),
        )
    _refuse_different(before, after, left, right, what)
    if out := [n - len(left) for n in map(len, keys) if n > len(left)]:
        print(f"paired by {what}: {len(left)} examples in common, {' and '.join(map(str, out))} left out")
    return left, right, what.strip("'")


def _id_columns(before: pd.DataFrame, after: pd.DataFrame, same_file: bool) -> tuple[str, str] | None:
    """The column with ids in each file, the same in both if there is one; None where neither has any."""
    found = [
        sorted((c for c in f.columns if plain(c) in ID_COLUMNS), key=lambda c: ID_COLUMNS.index(plain(c)))
        for f in (before, after)
    ]
    for name in found[0]:
        for other in found[1]:
            if plain(name) == plain(other):
                return name, other
    if found[0] and found[1]:
        return found[0][0], found[1][0]
    if any(found) and not same_file and not (_usable(before["input"]) and _usable(after["input"])):
        with_ids = "first" if found[0] else "second"
        raise DataError(
            f"only the {with_ids} system's file has ids ({(found[0] or found[1])[0]!r}), and the inputs are empty or "
            "the same for several rows", "Add the ids to the other file"
        )  # fmt: skip
    return None


def _keys(frame: pd.DataFrame, name: str, other: pd.DataFrame) -> list[str]:
    keys = id_texts(list(frame[name])) if name != "input" else list(frame[name])
    if "form" in frame and "form" in other and name != "form":
        return [f"{form} {key}" if key else "" for form, key in zip(frame["form"], keys, strict=True)]
    return keys


def _usable(keys: Sequence[Any]) -> bool:
    return all(str(key).strip() for key in keys) and len(set(keys)) == len(keys)


def _refuse_unusable(keys: Sequence[str], what: str, which: str) -> None:
    if _usable(keys):
        return
    if empty := sum(not key.strip() for key in keys):
        why = f"{what} is empty in {empty} of {len(keys)} rows"
    else:
        key, count = Counter(keys).most_common(1)[0]
        why = f"{what} is the same for several rows: {_shortened(key)} stands {count} times"
    raise DataError(
        f"the predictions of the {which} system cannot be paired: {why}, so nothing says which rows belong together",
        'Give both files a column "id" that is unique to each question, or name the question: read_predictions(path, '
        'input="name of a column")',
    )


def _refuse_different(
    before: pd.DataFrame, after: pd.DataFrame, left: Sequence[int], right: Sequence[int], what: str
) -> None:
    """Partners with other references, or whose inputs belong to other rows, are not the same questions."""
    for column in ("reference", "input"):
        x, y = ([canonical(frame[column].iloc[i]) for i in rows] for frame, rows in ((before, left), (after, right)))
        known = set(x)
        # Two systems may have been prompted in different words; the same words at another id are another question.
        bad = [
            i for i, (one, two) in enumerate(zip(x, y, strict=True))
            if one and two and one != two and (column == "reference" or two in known)
        ]  # fmt: skip
        if bad:
            i = bad[0]
            raise DataError(
                f"rows with the same {what} have different {column}s in {len(bad)} of {len(x)} cases, for example "
                f"{_shortened(x[i])} and {_shortened(y[i])}",
                "Compare predictions about the same questions; spellings of one label are made equal with labels={...}",
            )


def _shared(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    return [str(c) for c in before.columns if c in after.columns]


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
