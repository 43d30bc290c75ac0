"""Task ``zappos``: what kind of shoe is in the picture, in which colour, of which material?

Sources: ``generator`` (see ``shoes``), the folder of UT-Zappos50K (Yu and Grauman, 2014, "Fine-grained visual
comparisons with local learning"), ``kaggle:steer01/ut-zap50k-images``, a folder of pictures with a table, or one with
a folder for each kind of shoe (see ``folder``).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from helpers.sources.source import Source
from helpers.sources.splits import SPLIT
from helpers.tasks import base, official
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.dedupe import check_disjoint
from helpers.tasks.pictures import as_rgb, picture_digest, undecoded, vision_messages
from helpers.tasks.protocols import Protocol, every_row
from helpers.tasks.reading import example
from helpers.tasks.zappos import folder as zappos_folder
from helpers.tasks.zappos import rows as zappos_rows
from helpers.tasks.zappos.pairs import in_turn
from helpers.tasks.zappos.words import COLOURS, MATERIALS, SLOTS, caption, read_caption, slots_of

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

QUESTIONS = {
    "type": "What kind of shoe is this?",
    "colour": "What colour is this shoe?",
    "material": "What material is this shoe made of?",
}
GENERATED = 2_000  # training rows when the generator is asked for all it has
POOL = 5_000  # most rows read from a file or Hub data set that brings its pictures along: they take memory


PROTOCOL = Protocol(
    "C",
    {"train": 1_000},
    "the first pictures of the sorted list for training; what was tested on is not published, so here it is a random "
    "part of the rest",
    every_row,
)


class ZapposTask(Task):
    name = "zappos"
    forms = {"caption": "generation", "type": "choice", "colour": "choice", "material": "choice"}
    main_form = "caption"
    bare_questions = QUESTIONS
    columns = ("id", "image", "category", "subcategory", "brand", "colour", "material", "type", "materials")
    built_in = ("generator", "kaggle:steer01/ut-zap50k-images")
    label_column = "type"
    sources = {"smoke": "generator", "cpu": "generator", "full": "kaggle:steer01/ut-zap50k-images"}
    reads_pictures = True
    protocol = PROTOCOL

    def load(
        self, n_train: int | None = None, n_eval: int = 150, source: str = "generator", seed: int = 0
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, image (PIL, decoded when read), and as text, "" where unknown: category,
        subcategory, brand, colour, material, type (the phrase of a caption) and materials (as the source lists them).

        Splits are random and stratified by type, and no picture is in two of them; official ones are kept as they
        are. Rows from folders name their file, which is read when the row is. A picture that is missing, damaged or a
        copy is dropped and counted; only as many are opened as are asked for.
        """
        base.check_sizes(n_train, n_eval)
        report = LoadReport(self.name, source)
        if source == "generator":
            from helpers.tasks.zappos import generator

            report.licence = "synthetic, part of this repository (Apache-2.0)"
            n_train = GENERATED if n_train is None else n_train
            rows = list(islice(generator.rows(seed), base.wanted(n_train, n_eval)))
            report.rows_read = report.usable = len(rows)
            hashes = {row["id"]: picture_digest(row["image"]) for row in rows}
        else:
            limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
            found = zappos_folder.find(source, limit, seed, report, self.built_in)
            if Source.of(source).protocol:
                rows, hashes = _published(found, n_eval, seed, report)
                n_train = PROTOCOL.sizes["train"]
            elif any(SPLIT in row for row in found):
                return self._official(found, n_train, n_eval, Source.of(source), seed, report)
            else:
                rows, hashes = _usable(found, None if n_train is None else base.wanted(n_train, n_eval), seed, report)
        parts = base.cut(rows, n_train, n_eval, f"pictures in {source}", report)
        check_no_leak(parts, hashes)
        return self._made(parts, hashes, report)

    def _official(
        self, found: list[Row], n_train: int | None, n_eval: int, source: Source, seed: int, report: LoadReport
    ) -> TaskSplits:
        """Splits as the source has them; pictures are opened as in ``load``, split by split."""
        rows: list[Row] = []
        hashes: dict[str, str] = {}
        sizes = {"train": None if n_train is None else base.wanted(n_train, n_eval), "test": n_eval}
        for name in base.SPLITS:
            part = [row for row in found if row.get(SPLIT) == name]
            kept, marks = _usable(part, sizes.get(name, base.validation_size(n_eval)), seed, report)
            rows += kept
            hashes |= marks
        report.usable = len(rows)
        parts = official.cut(
            rows, n_train, n_eval, "pictures", seed, report, source, same=lambda row: hashes[row["id"]]
        )
        return self._made(parts, hashes, report)

    def _made(self, parts: Mapping[str, list[Row]], hashes: Mapping[str, str], report: LoadReport) -> TaskSplits:
        from datasets import Image, Value

        types = {name: Image() if name == "image" else Value("string") for name in self.columns}
        splits = base.make_splits(parts, self.columns, report, types)
        # The pictures count, not where they lie.
        marked = {name: [row | {"image": hashes[row["id"]]} for row in part] for name, part in parts.items()}
        report.fingerprint = base.fingerprint(marked)
        return splits

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """Each row as a picture to describe, or as a question about one word of its description.

        Beside the usual columns there are ``image``, ``type``, ``colour`` and ``material``. The caption says "an
        unspecified" where a word is unknown; a question leaves out rows where the word it asks for is. Options are
        all colours, all materials, or all types that occur in ``rows``.
        """
        from datasets import Image, Value

        form = form or self.main_form
        self.form_kind(form)
        given = undecoded(rows)
        types = sorted({row["type"] for row in given if row["type"]})
        options = list({"type": types, "colour": COLOURS, "material": MATERIALS}.get(form, ()))
        made = [
            example(
                row, form, QUESTIONS.get(form, ""),
                row[form] if options else caption(*(row[name] for name in SLOTS)), options,
                options.index(row[form]) if options else -1, image=row["image"], **{name: row[name] for name in SLOTS},
            )
            for row in given
            if form == "caption" or row[form]
        ]  # fmt: skip
        return base.make_examples(made, {"image": Image(), **dict.fromkeys(SLOTS, Value("string"))})

    def to_vision_messages(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """The example as chat turns for a model that sees: prompt, completion, and the list of ``images``.

        A caption is asked for by the picture alone.
        """
        return vision_messages(example, [as_rgb(example["image"])])


def slots_right(prediction: str | None, reference: str | Mapping[str, Any]) -> dict[str, bool]:
    """For each slot that the reference fills, whether the caption says the same there. An empty one says nothing."""
    said = read_caption(prediction)
    return {name: said[name] == word for name, word in slots_of(reference).items() if word}


def check_no_leak(parts: Mapping[str, Sequence[Row]], hashes: Mapping[str, str]) -> None:
    """DataError if two splits share an id or a picture."""
    check_disjoint(parts, "id", itemgetter("id"))
    check_disjoint(parts, "picture", lambda row: hashes[row["id"]], itemgetter("id"))


def _usable(found: list[Row], need: int | None, seed: int, report: LoadReport) -> tuple[list[Row], dict[str, str]]:
    """Rows in a stratified random order, as many as are needed, with the hashes of their pictures."""
    order = in_turn(found, lambda row: row["type"], random.Random(f"split-{seed}"))
    before = sum(report.dropped.values())
    rows, hashes = zappos_rows.usable(order, need, report)
    report.usable = len(rows)
    looked_at = len(rows) + report.duplicates_removed + sum(report.dropped.values()) - before
    if looked_at < len(order):
        report.notes.append(f"{looked_at:,} pictures were opened, a random part of {len(order):,}, stratified by type")
    return rows, hashes


def _published(found: list[Row], n_eval: int, seed: int, report: LoadReport) -> tuple[list[Row], dict[str, str]]:
    """Rows in the order in which ``base.cut`` deals them out: test and validation, then the first ones of the list."""
    size = PROTOCOL.sizes["train"]
    order = sorted(found, key=lambda row: (row["image"]["path"] or "", row["id"]))
    train, hashes = zappos_rows.usable(order, size, report)
    rest = [row for row in order if row["id"] not in hashes]
    need = n_eval + base.validation_size(n_eval)
    tested, marks = _usable(rest, need, seed, report)
    known = set(hashes.values())
    tested = [row for row in tested if marks[row["id"]] not in known]
    report.usable = len(train) + len(tested)
    report.notes.append(PROTOCOL.told({"train": len(train)}))
    return tested + train, hashes | marks
