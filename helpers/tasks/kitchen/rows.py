"""Questions about pictures from files: the course's own columns, A-OKVQA, VQAv2, OK-VQA, the LoRA data set.

Needed are a question, an answer, and a picture (a column ``image``, or files named by ``image_id``), or the scene as
``objects``. Questions without choices get three wrong answers of other questions of the same type, split by split.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources import kaggle
from helpers.sources.files.kinds import SUFFIXES
from helpers.sources.local import RawRows
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT
from helpers.tasks import base, columns, official
from helpers.tasks.base import LoadReport, Row, Task, refuse_unusable
from helpers.tasks.cells import one_text, opened
from helpers.tasks.choices import Question, balanced_choices
from helpers.tasks.dedupe import check_disjoint
from helpers.tasks.given_answers import read_answers
from helpers.tasks.given_choices import read_choices
from helpers.tasks.kitchen import logic, scenes
from helpers.tasks.kitchen.plans import YES_NO
from helpers.tasks.kitchen.vqa import PictureFiles, agreed, answers_of, joined
from helpers.tasks.pictures import Unusable, image_bytes, picture_digest
from helpers.tasks.reading import begin, carried, drop, folded, read, text, with_ids

if TYPE_CHECKING:  # pragma: no cover
    from helpers.tasks.kitchen.task import KitchenTask

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("question_id", "qid", "pid", "index"),
    "question": ("query", "question_text"),
    "choices": ("options", "candidates", "multiple_choices"),
    "answer": ("correct_choice_idx", "answer_index", "answer_idx", "correct_answer", "label", "multiple_choice_answer"),
    "answers": ("direct_answers",),
    "image": ("picture", "img", "image_path", "image_name", "file_name", "filename"),
    "image_id": ("img_id", "picture_id"),
    "objects": (),
    "knowledge": ("facts_in_words",),
    "form": ("question_type", "answer_type", "type"),
    "logic": ("logical_form",),
    "solution": ("rationales", "rationale", "explanation", "proof"),
    "split": (),
}
NEEDED = ("question",)
POOL = 5_000  # most rows read from a large source, unless more are asked for: pictures take memory


def load(
    task: KitchenTask, source: str, n_train: int | None, n_eval: int, seed: int, pictures: bool, report: LoadReport
) -> dict[str, list[Row]]:
    """Usable rows by split; see ``KitchenTask.load``."""
    limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
    raw, folders = _read(task, source, limit, seed, report)
    rows = usable(raw, folders, report, Source.of(source).labels)
    if not pictures:
        kept = [{**row, "image": None} for row in rows if row["scene"] or not row["needs_picture"]]
        report.dropped["with a picture and no scene in words"] = len(rows) - len(kept)
        rows = kept
    report.usable = len(rows)
    if raw.splits:
        parts = official.cut(rows, n_train, n_eval, "questions", seed, report, Source.of(source), same=same)
    else:
        parts = _cut(rows, n_train, n_eval, f"questions in {source}", seed, report)
    made = sum(_give_choices(part, random.Random(f"choices-{seed}-{name}")) for name, part in parts.items())
    if made:
        report.notes.append(f"{made:,} questions have no choices: they get answers of others of the same type")
    return parts


def _read(task: Task, source: str, limit: int, seed: int, report: LoadReport) -> tuple[RawRows, list[Path]]:
    located = kaggle.locate(source) if kaggle.is_source(source) else None
    place = str(located.path) if located else str(source)
    raw = joined(place, limit, seed, report, Source.of(source).splits != "random")
    raw = raw or read(task, Source.of(source).at(place), limit, seed, report)
    path = Path(place).expanduser()
    files = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES) if path.is_dir() else ()
    folders = dict.fromkeys([path if path.is_dir() else path.parent, *sorted(file.parent for file in files)])
    return raw, [folder for folder in folders if folder.exists()]


def usable(raw: RawRows, folders: Sequence[Path], report: LoadReport, said: Mapping[str, str]) -> list[Row]:
    """Rows with clean columns, no two the same; fills the report.

    Raises:
        DataError: a needed column is absent, or not one row can be used (says why).
    """
    begin(raw, report)
    picked = columns.pick(raw, ALIASES, report, [name for name in ALIASES if name not in NEEDED], coded="answer")
    choices = [read_choices(row["choices"]) for row in picked]
    offered = any(given.texts for given in choices)
    found = [-1] * len(picked)
    if offered:
        found, how = read_answers([row["answer"] for row in picked], choices, raw.name, said)
        report.notes.append(how)
    files = PictureFiles(folders[:1]) if any(text(row["image_id"]) for row in picked) else None
    rows: list[Row] = []
    seen: set[Any] = set()
    for number, (given, texts, answer) in enumerate(zip(picked, choices, found, strict=True)):
        try:
            row = _clean(given, texts.texts, answer, number, folders, files, report)
        except Unusable as why:
            drop(report, str(why), row=given)
            continue
        if (key := (same(row), folded(row["answers"][0]))) in seen and not raw.splits:
            report.duplicates_removed += 1
            continue
        seen.add(key)
        rows.append(row | carried(given))
    refuse_unusable(rows, report, f"rows of {raw.name}", "a question, an answer, and a picture or the scene as objects")
    if not any(row["depth"] for row in rows):
        report.notes.append("no row has a logical form: depth is 0 and needs_ontology False, which means not known")
    return with_ids(rows)


def same(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same question: its words, its choices and its picture or scene."""
    seen = picture_digest(row["image"]) or row["scene"]
    return folded(row["question"]), tuple(sorted(map(folded, row["choices"]))), seen


def _clean(
    given: Row, choices: list[str], answer: int, number: int, folders: Sequence[Path], files: PictureFiles | None,
    report: LoadReport,
) -> Row:  # fmt: skip
    question, key = one_text(given["question"], "question"), text(given["id"], "id") or str(number)
    if not question:
        raise Unusable("no question")
    answers = answers_of(opened(given["answers"]))
    if choices:
        if len(choices) < 2 or not all(choices) or len(set(choices)) < len(choices):
            raise Unusable("empty, equal or fewer than 2 choices")
        if answer < 0:
            raise Unusable("answer that is no choice")
        answers = answers or [choices[answer]]
    elif not (right := agreed(answers, text(opened(given["answer"]), "answer"))):
        raise Unusable("no answer")
    else:
        answers = [right, *(other for other in answers if other != right)]
    objects = _objects(given["objects"])
    split = str(given.get(SPLIT, "")) or text(given["split"], "split")
    path = given["image"] if given["image"] or files is None else str(files.find(given["image_id"], split))
    image = image_bytes(path, key, split, folders, report)
    if image is None and not objects and text(given["image_id"]):
        raise Unusable("image file missing")
    form = _form(given["logic"])
    reasons = opened(given["solution"])
    return {
        "id": key, "question": question, "choices": choices, "answer": answer if choices else -1,
        "image": {"bytes": image, "path": None} if image else None,
        "objects": [item.as_row() for item in objects], "scene": scenes.describe(objects) if objects else "",
        "knowledge": text(given["knowledge"]), "form": text(given["form"]), "depth": logic.depth(form) if form else 0,
        "n_objects": len(objects), "needs_picture": image is not None or bool(objects),
        "needs_ontology": form is not None and logic.needs_ontology(form), "logic": str(form or ""),
        "facts": [], "solution": text((reasons or [""])[0] if isinstance(reasons, list) else reasons),
        "answers": answers,
    }  # fmt: skip


def _objects(cell: Any) -> list[scenes.Item]:
    given = opened(cell)
    if not given:
        return []
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise Unusable("objects that are no list of foods with their attributes")
    try:
        return scenes.from_rows(given)
    except DataError as error:
        raise Unusable(error.what) from error


def _form(cell: Any) -> logic.Query | None:
    if not text(cell):
        return None
    try:
        return logic.parse(text(cell))
    except DataError as error:
        raise Unusable(error.what) from error


def _cut(
    rows: Sequence[Row], n_train: int | None, n_eval: int, what: str, seed: int, report: LoadReport
) -> dict[str, list[Row]]:
    """As ``base.cut``, with all questions about one picture in one split."""
    base.cut(rows, n_train, n_eval, what, report)  # raises when there are too few
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(_scene(row), []).append(row)
    order = list(groups.values())
    random.Random(f"split-{seed}").shuffle(order)
    room = {"test": n_eval, "validation": base.validation_size(n_eval), "train": len(rows)}
    parts: dict[str, list[Row]] = {name: [] for name in base.SPLITS}
    for group in order:
        name = next(name for name, size in room.items() if len(parts[name]) < size)
        parts[name] += group[: room[name] - len(parts[name])]
    parts["train"] = parts["train"][:n_train]
    for name, size in (room | {"train": n_train or 1}).items():
        if len(parts[name]) < size:
            raise DataError(
                f"there are {len(rows):,} usable {what}, but too few pictures: {name} gets {len(parts[name]):,} of "
                f"{size:,} questions",
                f"Lower n_train or n_eval; {len(order):,} pictures are different",
            )
    check_disjoint(parts, "picture", _scene)
    return parts


def _scene(row: Row) -> Any:
    return picture_digest(row["image"]) or row["scene"] or row["id"]


def _give_choices(part: list[Row], rng: random.Random) -> int:
    """Choices for rows without; those for which no three wrong answers are found stay without. How many got some."""
    bare = [number for number, row in enumerate(part) if not row["choices"]]
    asked = []
    for number in bare:
        row = part[number]
        if row["answers"][0].lower() in YES_NO:
            row |= {"choices": list(YES_NO), "answer": YES_NO.index(row["answers"][0].lower())}
        else:
            asked.append(Question(number, row["form"], row["answers"][0]))
    right = {number: set(map(folded, part[number]["answers"])) for number in bare}
    for choice in balanced_choices(asked, lambda number, other: folded(other) not in right[number], rng):
        part[choice.row] |= {"choices": choice.options, "answer": choice.answer}
    return sum(bool(part[number]["choices"]) for number in bare)
