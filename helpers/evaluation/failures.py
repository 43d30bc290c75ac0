"""What changed between two systems, example by example: fixed, broken, wrong both times, right both times.

Two accuracies hide which answers changed. This module pairs two systems' predictions, counts the four outcomes, tests
the change, and does the same for slices of the data. ``predictions`` reads the files, ``cases`` shows single examples.

Rows that are related, by a column ``group`` or else by their ``premise``, are drawn together: see ``clusters``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.evaluation.intervals import LEVEL, Estimate
from helpers.evaluation.metrics import compare, score_values
from helpers.evaluation.pairing import matched
from helpers.evaluation.statistics import TestResult, holm
from helpers.evaluation.verdicts import as_text

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("fixed", "broken", "wrong both times", "right both times")
RELATED = ("group", "premise")  # columns whose equal cells mean related rows
Slicer = Callable[[Mapping[str, Any]], str]

# Any of these makes a sentence a negated one; "n't" is part of a longer word.
_NEGATION = re.compile(r"\b(?:no|not|never|nobody|nothing|none|without|neither|nor)\b|n['’]t\b", re.IGNORECASE)


def pair(
    before: pd.DataFrame, after: pd.DataFrame, *, only_common: bool = False, by: str | None = None
) -> pd.DataFrame:
    """Two systems' predictions side by side, in the order of ``before``; ``pairing.matched`` says how rows are matched.

    Args:
        before, after: from ``read_predictions``.
        only_common: leave out examples that only one of them has; says how many.
        by: column to match by, in place of the ids or the input.

    Returns:
        ``input, reference, before, after`` (the two predictions), ``before_right, after_right, outcome`` (one of
        ``OUTCOMES``), then what else ``after`` and ``before`` had, with ``id`` where they were matched by ids.

    Raises:
        DataError: the files are not about the same examples (says how many match), or do not say which row belongs to
            which.
    """
    left, right, how = matched(before, after, only_common=only_common, by=by)
    first, second = (f.iloc[rows].reset_index(drop=True) for f, rows in ((before, left), (after, right)))
    both = first[["input", "reference"]].copy()
    for name, frame in (("before", first), ("after", second)):
        both[name] = frame["prediction"]
    for name, frame in (("before_right", first), ("after_right", second)):
        both[name] = frame["right"]
    both["outcome"] = [outcome(x, y) for x, y in zip(both["before_right"], both["after_right"], strict=True)]
    for frame in (second, first):
        for column in frame.columns.difference([*both.columns, "prediction", "right"], sort=False):
            both[column] = frame[column]
    if "id" not in both and how in first:
        both["id"] = first[how]
    return both


def outcome(before: bool, after: bool) -> str:
    """One of ``OUTCOMES``, from whether an example was answered rightly before and after."""
    if after:
        return OUTCOMES[3] if before else OUTCOMES[0]
    return OUTCOMES[1] if before else OUTCOMES[2]


def outcomes(before: Sequence[bool], after: Sequence[bool]) -> dict[str, int]:
    """How many examples had each of the four outcomes.

    Args:
        before, after: whether each example was answered rightly.

    Raises:
        ValueError: they are not equally long.
    """
    found = [outcome(bool(x), bool(y)) for x, y in zip(before, after, strict=True)]
    return {name: found.count(name) for name in OUTCOMES}


def counts(paired: pd.DataFrame) -> dict[str, int]:
    """How many examples had each of the four outcomes."""
    found = paired["outcome"].value_counts()
    return {outcome: int(found.get(outcome, 0)) for outcome in OUTCOMES}


def test_change(paired: pd.DataFrame, level: float = LEVEL) -> TestResult:
    """After against before: exact McNemar, or sign flips of whole groups where rows are related."""
    return _judged(paired, level)[2]


test_change.__test__ = False  # type: ignore[attr-defined]  # the name would make pytest collect it


def _judged(paired: pd.DataFrame, level: float) -> tuple[Estimate, Estimate, TestResult]:
    """Accuracy before, accuracy after, and the test of their difference."""
    groups = _groups(paired)
    named = {name: score_values("accuracy", paired[f"{name}_right"], groups) for name in ("before", "after")}
    if len(set(groups)) == 1 < len(groups):  # one group is one observation: nothing is known of others
        x, y = (scores.value("accuracy") for scores in named.values())
        unknown = [Estimate(value, 0.0, 1.0, len(groups)) for value in (x, y)]
        return *unknown, TestResult("after", "before", "accuracy", y - x, -1.0, 1.0, 1.0, "none: one group")
    before, after = (scores.grouped(groups) for scores in named.values())
    test = compare(after, before, "after", "before", ["accuracy"], level=level)[0]
    return before.estimates(level=level)["accuracy"], after.estimates(level=level)["accuracy"], test


def _groups(paired: pd.DataFrame) -> list[str]:
    """A label for each row, from the first of the columns that say which rows are related; its own if none does."""
    name = next((name for name in RELATED if name in paired), None)
    told = [as_text(value).strip() for value in paired[name]] if name else [""] * len(paired)
    return [f"{name} {label}" if label else f"row {i}" for i, label in enumerate(told)]


def pair_slices(first: str = "premise", second: str = "hypothesis", label: str = "reference") -> dict[str, Slicer]:
    """Slices for tasks about two texts: label, negation, length of both, share of the second's words in the first."""

    def words(text: Any) -> list[str]:
        return re.findall(r"\w+", str(text).lower())

    def overlap(row: Mapping[str, Any]) -> str:
        asked = words(row[second])
        share = sum(w in set(words(row[first])) for w in asked) / max(1, len(asked))
        return "below 1/2" if share < 1 / 2 else "1/2 to 3/4" if share < 3 / 4 else "3/4 and more"

    def length(row: Mapping[str, Any]) -> str:
        count = len(words(row[first])) + len(words(row[second]))
        return "up to 15 words" if count <= 15 else "16 to 25 words" if count <= 25 else "more than 25 words"

    return {
        "label": lambda row: str(row[label]),
        "negation": lambda row: "negated" if _NEGATION.search(f"{row[first]} {row[second]}") else "not negated",
        "length": length,
        "word overlap": overlap,
    }


def slices(paired: pd.DataFrame, by: Mapping[str, Slicer], level: float = LEVEL) -> pd.DataFrame:
    """Accuracy before and after in each slice, with intervals and a test that knows how many slices there are.

    Args:
        by: name of a property → function from a row to its value; for example ``pair_slices()``.

    Returns:
        One row a slice: ``slice, value, n``; ``before`` and ``after`` (``Estimate``, Wilson); ``fixed, broken``;
        ``difference, low, high`` (Newcombe's paired interval); ``p`` (exact McNemar) and ``p_holm`` (corrected
        for all slices of the table). Where rows are related, what ``clusters`` has in place of each.
    """
    import pandas as pd

    rows = []
    records = paired.to_dict("records")
    for name, slicer in by.items():
        values = [slicer(record) for record in records]
        for value in sorted(set(values)):
            part = paired[[v == value for v in values]]
            before, after, test = _judged(part, level)
            found = outcomes(part["before_right"], part["after_right"])
            rows.append(
                {
                    "slice": name, "value": value, "n": len(part), "before": before, "after": after,
                    "fixed": found["fixed"], "broken": found["broken"], "difference": test.difference,
                    "low": test.low, "high": test.high, "p": test.p_value,
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"].to_numpy()) if len(table) else []
    return table
