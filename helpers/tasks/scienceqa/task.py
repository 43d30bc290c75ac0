"""Task ``scienceqa``: multiple-choice questions of school science, about half of them with a picture.

Sources: ``generator`` (see ``generator``), ``derek-thomas/ScienceQA`` on the Hub (Lu et al., 2022,
arXiv:2209.09513), the original release (a folder with ``problems.json`` and pictures in ``train/<id>/image.png``),
or a local file with columns question, choices, answer and, where known, the others. A form is a setting of the
prompt; its letters say what it shows: question, task, choices, hint, lecture, solution.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources import kaggle
from helpers.sources.source import Source
from helpers.tasks import base, official
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.dedupe import check_disjoint
from helpers.tasks.explained import INSTRUCTION, blank_image, completion, lettered
from helpers.tasks.pictures import as_rgb, picture_digest, undecoded, vision_messages
from helpers.tasks.reading import example, read
from helpers.tasks.scienceqa import rows as scienceqa_rows

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

LINES = {
    "Q": ("Question", "question"), "T": ("Task", "task"), "C": ("Choices", "choices"),
    "H": ("Hint", "hint"), "L": ("Lecture", "lecture"), "S": ("Solution", "solution"),
}  # fmt: skip
POOL = 5_000  # most rows read from a large source, unless more are asked for: pictures take memory


class ScienceqaTask(Task):
    name = "scienceqa"
    forms = {"QTCH": "choice", "QTCHL": "choice", "QTCHLS": "choice", "QTCHS": "choice"}
    main_form = "QTCH"
    bare_questions = dict.fromkeys(forms, INSTRUCTION)
    columns = (
        "id", "question", "choices", "answer", "hint", "image", "task", "grade", "subject", "topic", "category",
        "skill", "lecture", "solution",
    )  # fmt: skip
    label_column = "subject"
    described_by = ("subject", "topic", "grade", "skill")
    sources = {"smoke": "generator", "cpu": "generator", "full": "derek-thomas/ScienceQA"}
    reads_pictures = True
    protocol = scienceqa_rows.PROTOCOL

    def load(
        self,
        n_train: int | None = None,
        n_eval: int = 150,
        source: str = "generator",
        seed: int = 0,
        pictures: bool = True,
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, question, choices (list), answer (index), image (PIL, decoded when read,
        or None), and as text, "" where unknown: hint, task, grade, subject, topic, category, skill, lecture,
        solution.

        No two splits ask the same about the same picture, unless they are official ones, which are kept as they are. A
        row whose picture is missing or damaged is dropped and counted.

        Args:
            pictures: False leaves questions with a picture out, for a model that reads text only.
        """
        from datasets import Image, List, Value

        base.check_sizes(n_train, n_eval)
        report = LoadReport(self.name, source)
        if source == "generator":
            from helpers.tasks.scienceqa import generator

            report.licence = "synthetic, part of this repository (Apache-2.0)"
            need = base.wanted(2000 if n_train is None else n_train, n_eval)
            drawn = enumerate(generator.questions(seed))
            asked = list(islice(((i, q) for i, q in drawn if pictures or q.scene.picture is None), need))
            report.rows_read = report.usable = len(asked)
            parts = {  # drawn when it is sure that there are enough
                name: [generator.row(question, f"gen-{seed}-{number}") for number, question in part]
                for name, part in base.cut(asked, n_train, n_eval, "generated questions").items()
            }
        else:
            limit = max(POOL, int((1.5 if pictures else 3) * base.wanted(n_train, n_eval)))
            rows, splits = _read(self, source, limit, seed, report)
            if not pictures:
                seen = sum(row["image"] is not None for row in rows)
                rows = [row for row in rows if row["image"] is None]
                report.dropped["with a picture"] = seen
            report.usable = len(rows)
            if splits:
                wish = Source.of(source)
                parts = official.cut(rows, n_train, n_eval, "questions", seed, report, wish, same=scienceqa_rows.scene)
            else:
                parts = _cut_scenes(rows, n_train, n_eval, f"questions in {source}", seed, report)
                check_no_leak(parts)
        special = {"choices": List(Value("string")), "answer": Value("int64"), "image": Image()}
        types = {name: special.get(name, Value("string")) for name in self.columns}
        return base.make_splits(parts, self.columns, report, types)

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """Each row as a question whose answer is JSON: the solution, and a choice, written out.

        Beside the usual columns there are ``image`` (or None) and ``gold_solution``. ``options`` are the texts of
        the choices.
        """
        from datasets import Image, Value

        form = form or self.main_form
        self.form_kind(form)
        made = [
            example(
                row, form, prompt(row, form), completion(row["choices"][row["answer"]], row["solution"]),
                row["choices"], row["answer"], image=row["image"], gold_solution=row["solution"],
            )
            for row in undecoded(rows)
        ]  # fmt: skip
        return base.make_examples(made, {"image": Image(), "gold_solution": Value("string")})

    def groups(self, rows: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Questions about one picture; without a picture, those that are equal but for the hint."""
        return [picture_digest(row["image"]) or scienceqa_rows.scene(row) for row in undecoded(rows)]

    def with_options(self, example: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
        """As ``to_messages``: the choices are part of every prompt."""
        return self.to_messages(example)

    def to_vision_messages(self, example: Mapping[str, Any], blank: bool = False) -> dict[str, Any]:
        """The example as chat turns for a model that sees: prompt, completion, and the list of ``images``.

        Args:
            blank: put a blank picture where there is none, as published; else such a question has text only.
        """
        image = example["image"]
        images = [as_rgb(image)] if image is not None else [blank_image()] if blank else []
        return vision_messages(example, images)


def prompt(row: Mapping[str, Any], form: str) -> str:
    """The instruction, then a labelled line for each letter of ``form``, as in "Choices: (A) attract (B) repel".

    What a row does not have is left out.
    """
    lines = [INSTRUCTION]
    for letter in form:
        label, column = LINES[letter]
        text = row[column]
        if column == "choices":
            text = lettered(text)
        if text:
            lines.append(f"{label}: {text}")
    return "\n".join(lines)


def check_no_leak(parts: Mapping[str, Sequence[Row]]) -> None:
    """DataError if two splits share an id or ask the same about the same picture."""
    check_disjoint(parts, "question", scienceqa_rows.scene, itemgetter("question"))
    check_disjoint(parts, "id", itemgetter("id"))


def _read(task: Task, source: str, limit: int, seed: int, report: LoadReport) -> tuple[list[Row], bool]:
    """Usable rows, and whether they come in official splits."""
    located = kaggle.locate(source) if kaggle.is_source(source) else None
    place, folders = scienceqa_rows.locate(str(located.path) if located else source)
    own = Source.of(source)
    raw = read(task, own.at(place), limit, seed, report, scienceqa_rows.listed_splits(place))
    rows = scienceqa_rows.usable(raw, folders, report, own.labels)
    if located:
        report.notes.append(located.note)
    return rows, bool(raw.splits)


def _cut_scenes(
    rows: Sequence[Row], n_train: int | None, n_eval: int, what: str, seed: int, report: LoadReport
) -> dict[str, list[Row]]:
    """As ``base.cut``, with rows that ask the same about the same picture kept in one split."""
    base.cut(rows, n_train, n_eval, what, report)  # raises when there are too few
    groups = scienceqa_rows.groups_by_scene(rows)
    random.Random(f"split-{seed}").shuffle(groups)
    room = {"test": n_eval, "validation": base.validation_size(n_eval), "train": len(rows)}
    parts: dict[str, list[Row]] = {name: [] for name in base.SPLITS}
    for group in groups:
        name = next(name for name, size in room.items() if len(parts[name]) + len(group) <= size)
        parts[name] += group
    parts["train"] = parts["train"][:n_train]
    for name, size in (room | {"train": n_train or 1}).items():
        if len(parts[name]) < size:
            raise DataError(
                f"there are {len(rows):,} usable {what}, but too few different ones: {name} gets {len(parts[name]):,} "
                f"of {size:,}",
                f"Lower n_train or n_eval; {len(groups):,} differ in more than the hint",
            )
    return parts
