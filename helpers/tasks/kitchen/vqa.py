"""Questions about pictures whose answers stand in a file of their own, as VQA data sets are published.

VQAv2 (Goyal et al., 2017, arXiv:1612.00837), OK-VQA (Marino et al., 2019, arXiv:1906.00067) and the LoRA data set (Gao
et al., 2023) have files of questions (``…questions….json``) and of annotations (``…annotations….json``), joined by
``question_id``, one pair for each split. Pictures are named by ``image_id``: ``COCO_train2014_000000458752.jpg``,
``000000299207.jpg``, ``1000.png``.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.sources.local import RawRows
from helpers.sources.splits import OFFICIAL, has_splits, split_of_path
from helpers.tasks.base import LoadReport, Row
from helpers.tasks.pictures import Unusable
from helpers.tasks.reading import drop, text

UNMATCHED = 0.1  # share of the questions without an annotation above which files do not belong together
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
ALONE = "question without an annotation"
CURE = "Give a folder with the questions and the annotations of one release, and its pictures"


def joined(source: str, limit: int, seed: int, report: LoadReport, official: bool = True) -> RawRows | None:
    """Questions with their annotations, at most ``limit`` of each split; None where a source has no such files.

    Args:
        official: keep the splits that the files are named by.

    Raises:
        DataError: a file is no list of questions or of annotations, or they do not belong together.
    """
    place = Path(source).expanduser()
    if not place.is_dir():
        return None
    files = {kind: _files(place, kind) for kind in ("questions", "annotations")}
    if not all(files.values()):
        return None
    raw = RawRows(source)
    parts = {kind: _by_split(place, found, kind) for kind, found in files.items()}
    for split, questions in parts["questions"].items():
        raw.read += len(questions)
        annotations = parts["annotations"].get(split)
        if annotations is None:
            where = f" of split {split}" if split else ""
            report.notes.append(f"{len(questions):,} questions{where} have no file of annotations: left out")
            continue
        rows = _join(questions, annotations, source, report)
        random.Random(f"reservoir-{seed}-{split}").shuffle(rows)
        raw.rows += rows[:limit]
        raw.splits += [split] * len(rows[:limit])
    if not raw.rows:
        raise DataError(f"{source}: no file of questions has one of annotations beside it", CURE)
    if not official or not has_splits(raw.splits):
        raw.splits = []
    elif outside := [place for place, split in enumerate(raw.splits) if split not in OFFICIAL]:
        report.notes.append(f"{len(outside):,} rows stand in no split: left out")
        raw.keep([place for place, split in enumerate(raw.splits) if split in OFFICIAL])
    raw.files = [""] * len(raw.rows)
    raw.columns = list(dict.fromkeys(name for row in raw.rows for name in row))
    raw.rows = [{name: row.get(name) for name in raw.columns} for row in raw.rows]
    return raw


def _files(place: Path, kind: str) -> list[Path]:
    return sorted(path for path in place.rglob("*.json") if kind in path.name.lower())


def _by_split(place: Path, files: Iterable[Path], kind: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for path in files:
        found[split_of_path(path.relative_to(place).as_posix())] += _rows(path, kind)
    return dict(found)


def _rows(path: Path, kind: str) -> list[Row]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", "Download it again") from error
    rows = whole.get(kind) if isinstance(whole, dict) else whole
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "question_id" in row for row in rows):
        raise DataError(f"{path} is no list of {kind} with a question_id each", CURE)
    return rows


def _join(questions: Sequence[Row], annotations: Sequence[Row], source: str, report: LoadReport) -> list[Row]:
    """Each question with its annotation; counts what has no partner, and refuses files that do not belong together."""
    twice = Counter(text(row["question_id"]) for row in annotations)
    known = {text(row["question_id"]): row for row in annotations}
    rows, met = [], set()
    for question in questions:
        key = text(question["question_id"])
        found = known.get(key)
        if key in met or twice[key] > 1:
            drop(report, "question_id that stands twice", row=question)
        elif found is None:
            drop(report, ALONE, row=question)
        elif "image_id" in found and text(found["image_id"]) != text(question.get("image_id", found["image_id"])):
            drop(report, "question and annotation about different pictures", row=question)
        else:
            rows.append({**question, **found})
        met.add(key)
    if left := len(known.keys() - met):
        drop(report, "annotation without a question", left)
    alone = report.dropped.get(ALONE, 0)
    if alone > UNMATCHED * len(questions):
        raise DataError(
            f"{source}: questions and annotations do not match: {alone:,} of {len(questions):,} questions have no "
            f"annotation with their question_id",
            CURE,
        )
    return rows


class PictureFiles:
    """The pictures of some folders by the number at the end of their names, which is their ``image_id``."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._found: dict[int, set[Path]] = defaultdict(set)
        for folder in folders:
            for path in folder.rglob("*"):
                number = re.search(r"(\d+)$", path.stem) if path.suffix.lower() in PICTURES else None
                if number:
                    self._found[int(number[1])].add(path.resolve())

    def find(self, image_id: Any, split: str) -> Path:
        """The picture with that id; of several, the one whose folder or name says its split.

        Raises:
            Unusable: there is none, or several.
        """
        written = text(image_id).removesuffix(".0")
        number = re.search(r"(\d+)$", written)
        found = self._found.get(int(number[1]), set()) if number else set()
        if len(found) > 1 and split:
            found = {
                path for path in found if split in (split_of_path(path.name), split_of_path(path.parent.name))
            } or found
        if not found:
            raise Unusable("image file missing")
        if len(found) > 1:
            raise Unusable("image_id that fits several files")
        return next(iter(found))


def answers_of(value: Any) -> list[str]:
    """The annotators' answers in a cell: objects with ``answer``, texts, or one text.

    One text with commas, as in the LoRA data set, is a single answer that names several things.
    """
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",") if part.strip()]
        return [", ".join(parts)] if parts else []
    said = [item.get("answer", item.get("raw_answer", "")) if isinstance(item, dict) else item for item in value or ()]
    return [text(one) for one in said if text(one)]


def agreed(answers: Sequence[str], single: str = "") -> str:
    """The answer to train on: ``single`` where the annotators gave it or there are none, else the most frequent one.

    Of equally frequent answers the first counts. "" where there is none.
    """
    if single and (not answers or single in answers):
        return single
    return Counter(answers).most_common(1)[0][0] if answers else ""
