"""Science questions as they stand in files and on the Hub → clean rows; what cannot be used is counted.

Which shapes choices and answers may have: see ``choices`` and ``answers``. A picture may be bytes,
``{"bytes", "path"}``, a PIL image or the path of a file; it is kept as it is encoded, and decoded once to see
that it can be.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.sources.files.kinds import SUFFIXES
from helpers.sources.local import RawRows
from helpers.tasks import columns
from helpers.tasks.base import LoadReport, Row, refuse_unusable
from helpers.tasks.cells import one_text
from helpers.tasks.given_answers import agreeing, read_answers
from helpers.tasks.given_choices import KNOWN, from_columns, read_choices
from helpers.tasks.leaks import holds
from helpers.tasks.pictures import Unusable, image_bytes, picture_digest
from helpers.tasks.protocols import Protocol
from helpers.tasks.reading import begin, carried, drop, folded, text, with_ids

TEXTS = ("hint", "task", "grade", "subject", "topic", "category", "skill", "lecture", "solution")
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("pid", "qid", "question_id", "index"),
    "question": ("query", "prompt", "question_stem", "question_text", "sentence", "goal"),
    "choices": ("options", "candidates", "endings"),
    "answer": (
        "label",
        "answer_index",
        "answer_idx",
        "correct",
        "target",
        "answer_key",
        "correct_answer",
        "correct_option",
        "correct_choice",
        "cop",
        "gold",
    ),
    "hint": ("context", "support", "passage"),
    "image": ("picture", "img", "image_path"),
    "solution": ("explanation", "rationale"),
    "split": (),
    **{name: () for name in TEXTS if name not in ("hint", "solution")},
}
ANSWER_TEXTS = ("answer_text", "correct_answer_text", "answer_string", "answer_value", "correct_text", "right_answer")
NEEDED = ("question", "choices", "answer")
MOST = 26  # choices of one question: they are named by letters
LISTED = "pid_splits.json"  # of the original release: lists of questions by split
PROBLEMS = "problems.json"  # of the original release: questions by number, pictures in folders beside it


def locate(source: str) -> tuple[str, list[Path]]:
    """The file or folder to read, and the folders in which its pictures are looked for."""
    path = Path(source).expanduser()
    if not path.exists():
        return source, []
    if (path / PROBLEMS).is_file():  # the release's other JSON files hold captions and lists of numbers
        path = path / PROBLEMS
    if path.is_file():
        return str(path), [path.parent]
    files = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    return str(path), list(dict.fromkeys([path, *sorted(file.parent for file in files)]))


def listed_splits(place: str) -> dict[str, str]:
    """Question → official split, from the list that the original release has beside its questions; {} without one.

    Raises:
        DataError: the list cannot be read.
    """
    path = Path(place).parent / LISTED
    if Path(place).name != PROBLEMS or not path.is_file():
        return {}
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
        named = {"train": "train", "val": "validation", "test": "test"}  # its other lists are parts of these
        return {str(key): own for name, own in named.items() for key in lists.get(name, ())}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no list of questions by split: {error}", "Remove it to cut rows anew") from error


def usable(raw: RawRows, folders: Sequence[Path], report: LoadReport, said: Mapping[str, str]) -> list[Row]:
    """Rows with clean columns, no two the same; fills the report.

    Args:
        said: what the reader has settled about answers, as in ``answers.read_answers``.

    Raises:
        DataError: a needed column is absent, a cell has an unknown shape, answers may be read in two ways, or not one
            row can be used (says why).
    """
    begin(raw, report)
    from_columns(raw, ALIASES["choices"], report)
    optional = [name for name in ALIASES if name not in NEEDED]
    picked = columns.pick(raw, ALIASES, report, optional, coded="answer")
    choices = [read_choices(row["choices"]) for row in picked]
    given_answers = [row["answer"] for row in picked]
    answers, how = read_answers(given_answers, choices, raw.name, said)
    others = columns.fitting(raw.columns, "", [*ALIASES["answer"], *ANSWER_TEXTS])
    beside = {name: [row.get(name) for row in raw.rows] for name in others if name != raw.chosen.get("answer")}
    answers, how = agreeing(given_answers, beside, choices, answers, how, raw.name, said)
    report.notes.append(how)
    rows: list[Row] = []
    seen: set[tuple[Any, ...]] = set()
    for number, (given, offered, answer) in enumerate(zip(picked, choices, answers, strict=True)):
        try:
            row = _clean(given, offered.texts, answer, number, folders, report) | carried(given)
        except Unusable as why:
            drop(report, str(why), row=given)
            continue
        key = (*scene(row), folded(row["hint"]))
        if key in seen and not raw.splits:  # official splits are kept as they are
            report.duplicates_removed += 1
            continue
        seen.add(key)
        rows.append(row)
    needed = f"question, choices ({KNOWN}) and answer (its index, its letter or its text)"
    refuse_unusable(rows, report, f"rows of {raw.name}", needed)
    told = sum(any(holds(row[name], row["solution"]) for name in ("question", "hint", "lecture")) for row in rows)
    if told:
        report.notes.append(f"the solution stands word for word in question, hint or lecture of {told:,} rows")
    return with_ids(rows)


def scene(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same question: question, choices in any order, picture."""
    return folded(row["question"]), tuple(sorted(map(folded, row["choices"]))), picture_digest(row["image"])


def groups_by_scene(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that ask the same about the same picture (and differ in the hint) together, in order."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[scene(row)].append(row)
    return list(groups.values())


def _clean(
    given: Row, choices: list[str], answer: int, number: int, folders: Sequence[Path], report: LoadReport
) -> Row:  # fmt: skip
    question = one_text(given["question"], "question")
    if not question:
        raise Unusable("no question")
    if len(choices) < 2:
        raise Unusable("fewer than 2 choices")
    if len(choices) > MOST:
        raise Unusable(f"more than {MOST} choices")
    if not all(choices) or len(set(choices)) < len(choices):
        raise Unusable("empty or equal choices")
    if answer < 0:
        raise Unusable("answer that is no choice")
    key = text(given["id"], "id") or str(number)
    row = {"id": key, "question": question, "choices": choices, "answer": answer}
    row |= {name: text(given[name], name) for name in TEXTS}
    image = image_bytes(given["image"], key, text(given["split"], "split"), folders, report)
    return row | {"image": {"bytes": image, "path": None} if image else None}


def _explained(split: str, rows: Sequence[Row], places: list[int]) -> list[int]:
    needed = ("solution", "lecture") if split == "test" else ("solution",)
    return [place for place in places if all(text(rows[place].get(name)) for name in needed)]


PROTOCOL = Protocol(
    "B",
    {"train": 11_515, "validation": 3_848, "test": 3_172},
    "questions with a solution, in test those with a lecture too",
    _explained,
)
