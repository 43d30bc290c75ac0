"""Predictions of one system from a file: a run's own, a table of yours, or another model's answers by id."""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.evaluation.pairing import ID_COLUMNS, id_texts
from helpers.evaluation.verdicts import as_text, canonical, read_scores, relabelled, same_words
from helpers.sources.local import read_local
from helpers.sources.reader import plain

if TYPE_CHECKING:
    import pandas as pd

ANSWER_COLUMNS = ("answer", "text", "prediction", "output", "response", "generated")
# What a question may be made of, where there is no column ``input``; nothing in it may be the system's own.
QUESTION_COLUMNS = (
    "question", "prompt", "instruction", "premise", "hypothesis", "sentence", "sentence1", "sentence2", "context",
    "passage", "dialogue", "document", "article", "title", "choices", "options", "hint",
    "query", "problem", "claim", "statement", "review", "utterance", "story", "paragraph",
)  # fmt: skip

# In the name of a column that a system wrote.
WRITTEN = ("answer", "prediction", "output", "response", "generated", "completion", "baseline")


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
    labels: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Predictions of one system from a run's ``predictions.jsonl`` or a file of your own (CSV, TSV, JSON, parquet).

    A column whose cells are dict literals (``{'premise': ..., 'label': 1}``) is spread into columns of its own,
    where these names are not taken yet; not so what a system wrote. What was taken for granted is printed.

    Args:
        input, reference, prediction: names of the columns in the file. A missing ``input`` becomes the columns that
            ask (question, premise, hypothesis, ...), joined; "" where there is none.
        score: column with 1, true, yes, correct or right for a right answer and 0, false, no, incorrect or wrong for
            a wrong one; where there is none, an answer is right when it equals the reference (as text without case,
            or as a number), or one of several that the cell lists.
        where: keep only rows with these values, e.g. ``{"form": "missing"}``.
        labels: other spellings of the labels, in references and predictions: ``{"0": "entailment", ...}``. ``{}``
            says that they are spelt alike even if no prediction equals any reference.

    Returns:
        One row an example, its index the row in the file: ``input, reference, prediction`` (text), ``right`` (bool),
        then the other columns.

    Raises:
        DataError: no such file, unreadable, empty, or without a named column (says which columns there are); a score
            that is neither right nor wrong; references and predictions that never meet (shows both).
    """
    import pandas as pd

    path = Path(path)
    found, fixed = read_rows(path, prediction), {reference, prediction, input}
    read = [(number, _spread(row, fixed)) for number, row in enumerate(found, 1)]
    if where:
        wanted = {key: as_text(value) for key, value in where.items()}
        read = [(n, row) for n, row in read if all(as_text(row.get(key)) == value for key, value in wanted.items())]
        if not read:
            raise DataError(f"{path} holds no predictions with {dict(where)}", "Look at its columns and their values")
    numbers, rows = [number for number, _ in read], [row for _, row in read]
    names = list(dict.fromkeys(name for row in rows for name in row))
    needed = {"reference": reference, "prediction": prediction} | ({"input": input} if input != "input" else {})
    for what, column in needed.items():
        if column not in names:
            raise DataError(
                f"{path.name} has no column {column!r} for the {what}; it has {', '.join(names)}",
                f"Name the right one with {what}=...",
            )
    said = relabelled([_cell(row.get(prediction)) for row in rows], labels or {})
    cells = [row.get(reference) for row in rows]
    accepted = [relabelled(cell if isinstance(cell, list) else [cell], labels or {}) for cell in cells]
    gold, several = [" | ".join(values) for values in accepted], any(len(values) > 1 for values in accepted)
    scores, note = [row.get(score) for row in rows], ""
    unscored = [i for i, value in enumerate(scores) if not as_text(value).strip()]
    if blank := [numbers[i] for i in unscored if not gold[i].strip()]:
        raise DataError(
            f"{path.name} has neither {reference!r} nor {score!r} in {len(blank)} rows, the first is row {blank[0]}",
            "Fill them in, or remove these rows",
        )
    if unscored and several:
        note = "several references: right where one of them is equal"
    elif unscored and labels != {}:
        gold, said, note = same_words(gold, said, path.name)
        accepted = [[value] for value in gold]
    equal = [canonical(x) in map(canonical, values) for x, values in zip(said, accepted, strict=True)]
    if unscored and (score in names or score != "score"):
        missing = f"{len(unscored)} of {len(rows)} rows have no {score!r}, and are right where they equal the reference"
        note = f"{note}; {missing}" if note else missing
    right = read_scores(scores, equal, f"{path.name}, column {score!r},", numbers)
    if note:
        print(f"{path.name}: {note}")
    own = {"input", "reference", "prediction", "right", reference, prediction, input}
    asking = [name for name in names if plain(name) in QUESTION_COLUMNS and name not in own]
    made = []
    for row, *values in zip(rows, gold, said, right, strict=True):
        text = row.get(input) if input in names else "\n".join(_cell(row.get(name)) for name in asking)
        first = {"input": _cell(text)} | dict(zip(("reference", "prediction", "right"), values, strict=True))
        made.append(first | {name: value for name, value in row.items() if name not in own})
    frame = pd.DataFrame(made, index=numbers)
    frame.attrs["file"] = str(path.resolve())
    return frame


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
        path: CSV, TSV, JSON, JSON lines or parquet with one row a question; rows about other questions do not matter.
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
    rows = read_rows(path, answer)
    names = list(dict.fromkeys(name for row in rows for name in row))
    asked, wanted = id_texts(ids), set(id_texts(ids))
    texts = {name: id_texts([row.get(name) for row in rows]) for name in names}
    usual = [name for name in names if plain(name) in ID_COLUMNS]
    ours = [name for name in usual if wanted & set(texts[name])] or usual
    key = _column(path, names, id, ours, "id")
    told = _column(path, names, answer, [n for n in names if plain(n) in ANSWER_COLUMNS and n != key], "answer")
    counts = Counter(texts[key])
    twice = next((name for name, count in counts.items() if count > 1 and name in wanted), None)
    if twice is not None:
        raise DataError(f"{path.name} answers {twice} {counts[twice]} times", "Keep one row for each id")
    given = {name: row.get(told) for name, row in zip(texts[key], rows, strict=True)}
    missing = [name for name in asked if name not in given]
    if len(missing) == len(asked) or (missing and not allow_missing):
        raise DataError(
            f"{path.name} has no answer for {len(missing)} of {len(ids)} questions, for example {missing[0]}; its own "
            f"ids look like {next(iter(given))!r}",
            "Answer all of them" + (", or set allow_missing=True" if len(missing) < len(ids) else " under our ids"),
        )
    return [_cell(given.get(name)) for name in asked]


def _column(path: Path, names: Sequence[str], given: str | None, usual: Sequence[str], parameter: str) -> str:
    if given is not None and given not in names:
        raise DataError(f"{path.name} has no column {given!r}; it has {', '.join(names)}")
    found = [given] if given is not None else list(usual)
    if len(found) != 1:
        what = f"several columns that may be the {parameter}" if found else f"no column for the {parameter}"
        raise DataError(
            f"{path.name} has {what}: {', '.join(found or names)}", f'Name the right one: {parameter}="..."'
        )
    return found[0]


def read_rows(path: Path, column: str | None = None) -> list[dict[str, Any]]:
    """Every row of a file, as it stands there; prints what was taken for granted.

    Args:
        column: that a JSON file of columns (``{"id": [...], "prediction": [...]}``) has to have.

    Raises:
        DataError: no such file, unreadable, empty.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}", "Finish a run that saves predictions, or correct the path")
    if path.suffix.lower() == ".json" and (rows := _json_columns(path, column)):
        return rows
    raw = read_local(path, sys.maxsize, 0)
    if raw.unreadable:
        raw.notes.append(f"{raw.unreadable} of {raw.read} rows cannot be read and are left out")
    for note in raw.notes:
        print(f"{path.name}: {note}")
    return raw.rows


def _json_columns(path: Path, column: str | None) -> list[dict[str, Any]] | None:
    """Rows of a JSON object of columns, each a list or an object by row; None where it is something else."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None  # what is wrong with it is for the reader to say
    known = (*ID_COLUMNS, *ANSWER_COLUMNS)
    if not isinstance(whole, dict) or not (column in whole if column else any(plain(name) in known for name in whole)):
        return None
    if all(isinstance(values, dict) for values in whole.values()):
        order = list(dict.fromkeys(key for values in whole.values() for key in values))
        return [{name: values.get(key) for name, values in whole.items()} for key in order]
    return rows(**whole) if all(isinstance(values, list) for values in whole.values()) else None


def _spread(row: Mapping[str, Any], kept: set[str]) -> dict[str, Any]:
    """The row with cells that are dict literals spread, but for the columns in ``kept`` and what a system wrote."""
    out = dict(row)
    for name, value in row.items():
        if name in kept or any(word in plain(name) for word in WRITTEN):
            continue
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
        if isinstance(value, dict):
            out |= {str(k): v for k, v in value.items() if str(k) not in out}
    return out


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else as_text(value)
