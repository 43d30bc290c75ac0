"""Predictions of one system from a file: a run's own, or a table of yours."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_predictions(
    path: Path | str,
    *,
    input: str = "input",
    reference: str = "reference",
    prediction: str = "prediction",
    score: str = "score",
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Predictions of one system from a run's ``predictions.jsonl`` or a CSV file of your own.

    A column whose cells are dict literals (``{'premise': ..., 'label': 1}``) is spread into columns of its own,
    where these names are not taken yet.

    Args:
        input, reference, prediction: names of the columns in the file. A missing ``input`` becomes all spread
            columns, joined, so that two files can still be paired.
        score: column with 1 for a right answer and 0 for a wrong one; where there is none, an answer is right
            when it equals the reference (as text, or as a number).
        where: keep only rows with these values, e.g. ``{"form": "missing"}``.

    Returns:
        One row an example: ``input, reference, prediction`` (text), ``right`` (bool), then the other columns.

    Raises:
        DataError: no such file, unreadable, empty, or without a named column (says which columns there are).
    """
    import pandas as pd

    path = Path(path)
    rows = _read_rows(path)
    if not rows:
        raise DataError(f"{path} holds no predictions", "Give a predictions.jsonl, or a CSV file with a header")
    rows = [_spread(row) for row in rows]
    if where:
        rows = [row for row in rows if all(row.get(key) == value for key, value in where.items())]
        if not rows:
            raise DataError(f"{path} holds no predictions with {dict(where)}", "Look at its columns and their values")
    wanted = {"reference": reference, "prediction": prediction}
    for what, column in wanted.items():
        if column not in rows[0]:
            raise DataError(
                f"{path.name} has no column {column!r} for the {what}; it has {', '.join(rows[0])}",
                f"Name the right one with {what}=...",
            )
    own = {"input", "reference", "prediction", "right"}
    made = []
    for row in rows:
        rest = {k: v for k, v in row.items() if k not in {reference, prediction, input, *own}}
        text = row[input] if input in row else "\n".join(str(v) for k, v in rest.items() if isinstance(v, str))
        right = _is_right(row.get(score), row[prediction], row[reference], path)
        fixed = {"input": str(text), "reference": _text(row[reference]), "prediction": _text(row[prediction])}
        made.append(fixed | {"right": right} | rest)
    return pd.DataFrame(made)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    import pandas as pd

    try:
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines if line.strip()]
        return list(pd.read_csv(path, keep_default_na=False).to_dict("records"))
    except FileNotFoundError:
        raise DataError(
            f"there is no file {path}", "Finish a run that saves predictions, or correct the path"
        ) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error})", "It has to be JSON lines or CSV with a header") from None


def _spread(row: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(row)
    for value in row.values():
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                inner = ast.literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(inner, dict):
                out |= {str(k): v for k, v in inner.items() if str(k) not in out}
    return out


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _is_right(score: Any, prediction: Any, reference: Any, path: Path) -> bool:
    if score is None or score == "":
        return _text(prediction).strip().lower() == _text(reference).strip().lower()
    if float(score) not in (0.0, 1.0):
        raise DataError(
            f"{path.name} has a score of {score}, which is neither right (1) nor wrong (0)",
            "This analysis is about answers that are right or wrong; name such a column with score=...",
        )
    return float(score) == 1.0
