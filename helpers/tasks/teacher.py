"""A teacher's answers in place of the gold ones: Project B's file, and a stand-in of a known accuracy.

The file is tab-separated: index, input, answer, explanation. ``index`` is the row's id; where a source has no ids of
its own, that is the row's number in it (from 0). A simulated teacher's file has a fifth column that says so.
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import read_local
from helpers.tasks.explained import FIRST_NUMBER, letter_of, lettered, read_answer
from helpers.tasks.reading import folded, text

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

COLUMNS = ("index", "input", "answer", "explanation")
MARK = "teacher"  # the fifth column
SIMULATED = "simulated"
ELSEWHERE = "asked about something else"
OTHER_INPUTS = 0.1  # a larger share of inputs that do not hold their row's question: the file is about other rows


@dataclass(frozen=True)
class TeacherRow:
    """One line: which row, what the teacher was asked ("" where unknown), and what it wrote."""

    index: str
    input: str
    answer: str
    explanation: str


@dataclass(frozen=True)
class Teacher:
    """A teacher's answers; ``simulated`` where no model gave them."""

    name: str
    rows: tuple[TeacherRow, ...]
    simulated: bool = False

    def __str__(self) -> str:
        return f"{self.name}{' (simulated, no model)' if self.simulated else ''}: {len(self.rows):,} answers"


@dataclass
class Labelled:
    """Rows with a teacher's answers and explanations in place of the gold ones.

    Attributes:
        rows: those with a usable answer, in their own order.
        dropped: how many have none, by reason.
        agreement: share of ``rows`` in which the teacher chose the gold answer.
    """

    teacher: Teacher
    rows: Dataset
    dropped: dict[str, int] = field(default_factory=dict)
    agreement: float = 0.0

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
        return (
            f"{self.teacher}\n  {len(self.rows):,} rows labelled, dropped: {dropped or 'none'}; "
            f"agrees with the gold answer in {self.agreement:.1%}"
        )


def read_teacher(path: str | Path) -> Teacher:
    """A teacher's file: TSV as in Project B, or any file type that tasks read, with the same columns.

    Raises:
        DataError: file missing or unreadable, a column absent, an index absent or there twice.
    """
    raw = read_local(path, 10**9, 0)
    aliases: dict[str, tuple[str, ...]] = {
        "index": ("id", "idx"), "input": ("prompt", "question"), "answer": ("prediction", "output"),
        "explanation": ("solution", "rationale"), MARK: (),
    }  # fmt: skip
    picked = reader.pick_columns(raw, aliases, optional=("input", MARK))
    counts = Counter(_text(row["index"]) for row in picked)
    if counts[""]:
        raise DataError(f"{path}: {counts['']} of {len(picked)} rows have no index", "Number them by the rows' ids")
    twice = [index for index, count in counts.items() if count > 1]
    if twice:
        raise DataError(
            f"{path} answers {len(twice)} rows more than once, for example index {twice[0]}", "Keep one line for each"
        )
    rows = tuple(TeacherRow(*(_text(row[column]) for column in COLUMNS)) for row in picked)
    return Teacher(Path(path).name, rows, any(_text(row[MARK]) == SIMULATED for row in picked))


def write_teacher(teacher: Teacher, path: str | Path) -> Path:
    """Write a teacher's answers as TSV; a simulated one is marked in every line."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = [SIMULATED] if teacher.simulated else []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([*COLUMNS, *([MARK] if mark else [])])
        for row in teacher.rows:
            writer.writerow([row.index, row.input, row.answer, row.explanation, *mark])
    return path


def relabel(rows: Dataset, teacher: Teacher, first_number: int = FIRST_NUMBER) -> Labelled:
    """Rows as the teacher would label them, to train on; wrong answers stay wrong.

    A row is dropped and counted where the answer names no choice, where a row that has a solution gets none from the
    teacher, or where the teacher was asked something else.

    Args:
        rows: what ``load`` of a task with solutions gives, with the gold answers.
        first_number: what the first choice is called where the teacher answers with numbers.

    Raises:
        DataError: rows without a line in the file, or lines about other questions than the rows.
    """
    given = {row.index: row for row in teacher.rows}
    missing = [key for key in rows["id"] if key not in given]
    if missing:
        raise DataError(
            f"{teacher.name} has no answer for {len(missing):,} of {len(rows):,} rows, for example index {missing[0]}",
            "Its column index must hold the ids of these rows: load the data it was made from, in the same order",
        )
    dropped: Counter[str] = Counter()
    kept, answers, explanations = [], [], []
    agreed = 0
    for number, row in enumerate(rows.select_columns(["id", "question", "choices", "answer", "solution"])):
        line = given[row["id"]]
        found = read_answer(line.answer, row["choices"], first_number)
        if line.input and folded(row["question"]) not in folded(line.input):
            dropped[ELSEWHERE] += 1
        elif found.index is None:
            dropped["unparsable answer"] += 1
        elif row["solution"] and not line.explanation:
            dropped["no explanation"] += 1
        else:
            kept.append(number)
            answers.append(found.index)
            explanations.append(line.explanation)
            agreed += found.index == row["answer"]
    if dropped[ELSEWHERE] > OTHER_INPUTS * len(rows):
        raise DataError(
            f"{teacher.name} is about other questions: in {dropped[ELSEWHERE]:,} of {len(rows):,} rows its input does "
            "not hold the question of the row with that index",
            "Load the data it was made from, in the same order",
        )
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise DataError(f"{teacher.name} labels none of the {len(rows):,} rows: {reasons}")
    labelled = rows.select(kept).remove_columns(["answer", "solution"])
    labelled = labelled.add_column("answer", answers).add_column("solution", explanations)
    labelled = labelled.select_columns(rows.column_names).cast(rows.features)
    return Labelled(teacher, labelled, dict(dropped), agreed / len(kept))


def simulated_teacher(rows: Dataset, accuracy: float, seed: int = 0) -> Teacher:
    """A stand-in for a teacher that is right in ``accuracy`` of the rows (to the nearest whole row).

    Which rows it gets wrong and which wrong choice it takes is random. Its explanation is the gold one with the
    conclusion turned to its own answer, where the gold one names the right choice; else the gold one as it stands.

    Raises:
        DataError: the accuracy is not a share, or there are no rows.
    """
    if not 0 <= accuracy <= 1:
        raise DataError(f"accuracy must lie between 0 and 1, not {accuracy!r}")
    if not len(rows):
        raise DataError("there are no rows for a teacher to answer")
    rng = random.Random(f"teacher-{seed}")
    wrong = set(rng.sample(range(len(rows)), round((1 - accuracy) * len(rows))))
    columns = ["id", "question", "choices", "answer", "solution"]
    made = []
    for number, row in enumerate(rows.select_columns(columns)):
        gold = row["answer"]
        answer = rng.choice([i for i in range(len(row["choices"])) if i != gold]) if number in wrong else gold
        explanation = turned(row["solution"], row["choices"][gold], row["choices"][answer])
        asked = f"Question: {row['question']}\nChoices: {lettered(row['choices'])}"
        made.append(TeacherRow(row["id"], asked, letter_of(answer), explanation))
    return Teacher(f"teacher of accuracy {accuracy:g}", tuple(made), simulated=True)


def turned(solution: str, right: str, chosen: str) -> str:
    """The explanation with the last mention of the right choice exchanged, its article too."""
    mentions = list(re.finditer(rf"(?:\b(an?)(\s))?(?<!\w){re.escape(right)}(?!\w)", solution))
    if right == chosen or not mentions:
        return solution
    last = mentions[-1]
    article = ("an" if chosen[:1].lower() in "aeiou" else "a") + last[2] if last[1] else ""
    return solution[: last.start()] + article + chosen + solution[last.end() :]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return text(value)
