"""A teacher's labels: the file is read whole or refused, joined by index, and a simulated one is as good as said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.scienceqa import task as scienceqa
from helpers.tasks.teacher import Teacher, TeacherRow, read_teacher, relabel, simulated_teacher, write_teacher

TASK = tasks.get("scienceqa")


@pytest.fixture(scope="module")
def rows() -> Any:
    return TASK.load(n_train=180, n_eval=12, seed=2)["train"]


def made(rows: Any, answer: Any = None, **change: Any) -> list[dict[str, str]]:
    """Lines of a file in Project B's columns: the gold answers, counted from 0."""
    return [
        {
            "index": r["id"], "input": scienceqa.prompt(r, "QTCH"),
            "answer": str(r["answer"]) if answer is None else answer(r), "explanation": f"Because of {r['id']}.",
        }
        | change
        for r in rows.remove_columns("image")
    ]  # fmt: skip


def tsv(path: Path, lines: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(lines)
    return path


def test_a_teachers_file_labels_its_rows(rows: Any, tmp_path: Path) -> None:
    lines = made(rows)
    lines[0]["explanation"] = 'Two lines,\n"quoted"\tand a tab.'
    teacher = read_teacher(tsv(tmp_path / "teacher.tsv", lines[::-1]))  # by index, not by order
    assert not teacher.simulated and len(teacher.rows) == 180
    done = relabel(rows, teacher)
    assert done.dropped == {} and done.agreement == 1.0 and list(done.rows["answer"]) == list(rows["answer"])
    assert done.rows[0]["solution"] == lines[0]["explanation"]
    assert done.rows.column_names == rows.column_names and done.rows.features == rows.features
    example = TASK.examples(done.rows)[1]
    assert json.loads(example["completion"])["solution"] == f"Because of {rows[1]['id']}."
    for row, gold in zip(done.rows, rows, strict=True):
        assert (row["image"] is None) == (gold["image"] is None) and row["lecture"] == gold["lecture"]
        if gold["image"] is not None:
            assert row["image"].tobytes() == gold["image"].tobytes()


def test_wrong_answers_stay_wrong_and_unusable_ones_are_counted(rows: Any, tmp_path: Path) -> None:
    lines = made(rows, answer=lambda r: "ABCDE"[(r["answer"] + 1) % len(r["choices"])])
    for line in lines[:60]:
        line["answer"] = "I cannot say."
    for line in lines[60:70]:
        line["explanation"] = ""
    lines[75]["input"] = "Something else?"
    done = relabel(rows, read_teacher(tsv(tmp_path / "t.tsv", lines)))
    assert done.dropped == {"unparsable answer": 60, "no explanation": 10, "asked about something else": 1}
    assert len(done.rows) == 109 and done.agreement == 0.0
    kept = [r["id"] for i, r in enumerate(rows.remove_columns("image")) if i >= 70 and i != 75]
    assert list(done.rows["id"]) == kept
    assert all(
        r["answer"] == (g["answer"] + 1) % len(g["choices"])
        for r, g in zip(done.rows, rows.select([i for i in range(70, 180) if i != 75]), strict=True)
    )
    lines = made(rows, lambda r: str(r["answer"] + 1))
    counted = relabel(rows, Teacher("t", tuple(TeacherRow(**line) for line in lines)), first_number=1)
    assert counted.agreement == 1.0 and len(counted.rows) == 180


def test_files_that_do_not_fit_are_refused(rows: Any, tmp_path: Path) -> None:
    lines = made(rows)
    with pytest.raises(DataError, match="no column 'explanation'"):
        read_teacher(tsv(tmp_path / "a.tsv", [{k: v for k, v in line.items() if k != "explanation"} for line in lines]))
    with pytest.raises(DataError, match="answers 1 rows more than once, for example index gen-2-"):
        read_teacher(tsv(tmp_path / "b.tsv", [*lines, lines[3]]))
    with pytest.raises(DataError, match="1 of 181 rows have no index"):
        read_teacher(tsv(tmp_path / "c.tsv", [*lines, lines[3] | {"index": ""}]))
    with pytest.raises(DataError, match="does not exist"):
        read_teacher(tmp_path / "none.tsv")
    with pytest.raises(DataError, match=f"no answer for 2 of 180 rows, for example index {lines[4]['index']}"):
        relabel(rows, read_teacher(tsv(tmp_path / "d.tsv", lines[:4] + lines[5:-1])))
    moved = [line | {"index": other["index"]} for line, other in zip(lines, lines[1:] + lines[:1], strict=True)]
    with pytest.raises(DataError, match="about other questions: in 1[678]. of 180 rows"):
        relabel(rows, read_teacher(tsv(tmp_path / "e.tsv", moved)))
    with pytest.raises(DataError, match="labels none of the 180 rows: 180 unparsable answer"):
        relabel(rows, read_teacher(tsv(tmp_path / "f.tsv", made(rows, answer="?".format))))


@pytest.mark.parametrize("accuracy", [0.0, 0.506, 0.816, 1.0])
def test_a_simulated_teacher_is_as_good_as_said_and_marked(rows: Any, tmp_path: Path, accuracy: float) -> None:
    teacher = simulated_teacher(rows, accuracy, seed=5)
    assert teacher.simulated and "simulated" in str(teacher)
    again, other = simulated_teacher(rows, accuracy, seed=5), simulated_teacher(rows, accuracy, seed=6)
    assert teacher == again and (teacher != other) == (accuracy < 1)
    path = write_teacher(teacher, tmp_path / "new" / "t.tsv")
    assert path.read_text().splitlines()[0].split("\t") == ["index", "input", "answer", "explanation", "teacher"]
    read = read_teacher(path)
    assert read.simulated and read.rows == teacher.rows
    done = relabel(rows, read)
    assert done.dropped == {} and done.agreement == round(accuracy * 180) / 180
    real = write_teacher(Teacher("t", teacher.rows), tmp_path / "real.tsv")
    assert real.read_text().splitlines()[0].split("\t") == ["index", "input", "answer", "explanation"]
    assert not read_teacher(real).simulated


def test_explanations_follow_the_teachers_own_answer(rows: Any) -> None:
    done = relabel(rows, simulated_teacher(rows, 0.0)).rows
    for row, gold in zip(done.remove_columns("image"), rows.remove_columns("image"), strict=True):
        chosen, right = row["choices"][row["answer"]], gold["choices"][gold["answer"]]
        conclusion, given = row["solution"].rpartition(", so ")[2], gold["solution"].rpartition(", so ")[2]
        assert chosen != right and chosen in conclusion and right in given
        assert row["solution"].partition(", so ")[0] == gold["solution"].partition(", so ")[0]
        assert "a exclamation" not in conclusion and "an question" not in conclusion and "an state" not in conclusion
    # Where the solution does not name the answer there is nothing to turn.
    odd = rows.select([0]).map(lambda row: {"solution": "See the lecture."})
    assert simulated_teacher(odd, 0.0).rows[0].explanation == "See the lecture."
    for wrong in (-0.1, 1.5):
        with pytest.raises(DataError, match="accuracy must lie between 0 and 1"):
            simulated_teacher(rows, wrong)
    with pytest.raises(DataError, match="no rows"):
        simulated_teacher(rows.select([]), 0.5)
