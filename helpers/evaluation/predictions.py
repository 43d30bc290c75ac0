"""Predictions of one system from a file: a run's own, a table of yours, or another model's answers by id."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ID_COLUMNS = ("id", "index", "question_id", "qid")
ANSWER_COLUMNS = ("answer", "text", "prediction", "output", "response", "generated")


def rows(**columns: Any) -> list[dict[str, Any]]:
    """Rows of predictions.jsonl from columns: ``rows(input=questions, prediction=answers, form="steps")``.

    Args:
        columns: a text, number or None stands in every row; anything else has one value a row. The names that other
            code reads are input, reference, prediction, score, baseline, baseline_score, form and id.

    Raises:
        DataError: the columns are not equally long (says which is how long).
    """
    single = {name: value for name, value in columns.items() if value is None or isinstance(value, str | int | float)}
    lists = {name: list(value) for name, value in columns.items() if name not in single}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise DataError("columns of different lengths: " + ", ".join(f"{n} {k}" for n, k in lengths.items()))
    count = next(iter(lengths.values()), 0)
    return [{n: single[n] if n in single else lists[n][i] for n in columns} for i in range(count)]


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


def read_answers(
    path: Path | str,
    ids: Sequence[str],
    *,
    id: str | None = None,
    answer: str | None = None,
    allow_missing: bool = False,
) -> list[str]:
    """What some other model wrote about each of our questions, to be read and scored like our own answers.

    Args:
        path: CSV, TSV or JSON lines with one row a question; rows about other questions do not matter.
        ids: of our questions, in order.
        id, answer: names of the columns in the file; None looks for the usual ones.
        allow_missing: a question without an answer gets an empty one, which counts as wrong.

    Returns:
        One text a question. An answer that is no text (a number, a JSON object) is written as one.

    Raises:
        DataError: no such file, unreadable, no such column or several that may be it, an id that is there twice,
            a question without an answer.
    """
    path = Path(path)
    rows = _read_rows(path, as_text=True)
    if not rows:
        raise DataError(f"{path} holds no answers", "Give a CSV, TSV or JSON lines file with a column for the ids")
    names = list(dict.fromkeys(name for row in rows for name in row))
    key, told = _column(path, names, id, ID_COLUMNS, "id"), _column(path, names, answer, ANSWER_COLUMNS, "answer")
    counts = Counter(_text(row.get(key)) for row in rows)
    wanted = set(ids)
    twice = next((name for name, count in counts.items() if count > 1 and name in wanted), None)
    if twice is not None:
        raise DataError(f"{path.name} answers {twice} {counts[twice]} times", "Keep one row for each id")
    given = {_text(row.get(key)): row.get(told) for row in rows}
    missing = [name for name in ids if name not in given]
    if len(missing) == len(ids) or (missing and not allow_missing):
        raise DataError(
            f"{path.name} has no answer for {len(missing)} of {len(ids)} questions, for example {missing[0]}; its own "
            f"ids look like {next(iter(given))!r}",
            "Answer all of them" + (", or set allow_missing=True" if len(missing) < len(ids) else " under our ids"),
        )
    values = (given.get(name) for name in ids)
    return [json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else _text(v) for v in values]


def _column(path: Path, names: Sequence[str], given: str | None, usual: Sequence[str], parameter: str) -> str:
    if given is not None and given not in names:
        raise DataError(f"{path.name} has no column {given!r}; it has {', '.join(names)}")
    found = [given] if given is not None else [name for name in names if name.strip().lower() in usual]
    if len(found) != 1:
        what = f"several columns that may be the {parameter}" if found else f"no column for the {parameter}"
        raise DataError(
            f"{path.name} has {what}: {', '.join(found or names)}", f'Name the right one: {parameter}="..."'
        )
    return found[0]


def _read_rows(path: Path, as_text: bool = False) -> list[dict[str, Any]]:
    import pandas as pd

    try:
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is not a JSON object")
            return rows
        separator = "\t" if path.suffix == ".tsv" else ","
        types = str if as_text else None
        return list(pd.read_csv(path, sep=separator, dtype=types, keep_default_na=False).to_dict("records"))
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
