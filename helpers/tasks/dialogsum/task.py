"""Task ``dialogsum``: summarise a dialogue of two people in a sentence or two.

Sources: ``generator`` (see ``generator``), ``knkarthick/dialogsum`` on the Hub (Chen et al., 2021,
arXiv:2105.06762; 12,460 training dialogues), or a local file with columns dialogue and summary, and topic where it
is known.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import RawRows
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT
from helpers.tasks import base, official
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.choices import Question, balanced_choices
from helpers.tasks.dedupe import without_copies
from helpers.tasks.dialogsum import generator
from helpers.tasks.protocols import Protocol, every_row
from helpers.tasks.reading import begin, carried, drop, example, folded, read, text, with_ids

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

ALIASES = {
    "dialogue": ("dialog", "conversation", "text", "input"),
    "summary": ("summaries", "target", "output", "highlights"),
    "topic": ("subject", "title", "label"),
    "id": ("fname", "dialogue_id", "index"),
}
NEAR_DUPLICATE = 0.5  # Jaccard of word triples of the dialogues
POOL = 20_000  # most rows read from a large source, unless more are asked for
SUMMARY_QUESTION = "Summarise this conversation."
TOPIC_QUESTION = "What is this conversation about?"
MATCH_QUESTION = "Which summary belongs to this conversation?"
ALIKE = 0.5  # Jaccard of the words of two summaries, from which on one may be right for the other's dialogue


D_SIZES = {"train": 12_460, "validation": 500, "test": 1_500}


class DialogsumTask(Task):
    name = "dialogsum"
    forms = {"summary": "generation", "topic": "choice", "match": "choice"}
    main_form = "summary"
    bare_questions = {"topic": TOPIC_QUESTION, "match": MATCH_QUESTION}
    columns = ("id", "dialogue", "summary", "topic", "references")
    label_column = "topic"
    sources = {"smoke": "generator", "cpu": "generator", "full": "knkarthick/dialogsum"}
    protocol = Protocol("D", D_SIZES, "all rows; summaries of one test dialogue are its references", every_row)

    def load(
        self, n_train: int | None = None, n_eval: int = 150, source: str = "generator", seed: int = 0
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, dialogue (one line a turn), summary, topic ("" where none is known), and
        references: all summaries of the dialogue, the first one being ``summary``."""
        base.check_sizes(n_train, n_eval)
        report = LoadReport(self.name, source)
        if source == "generator":
            report.licence = "synthetic, part of this repository (Apache-2.0)"
            need = base.wanted(1000 if n_train is None else n_train, n_eval)
            drawn = islice(generator.dialogues(seed), need + need // 2)
            rows = [row | {"references": [row["summary"]]} for row in drawn]
            report.rows_read = len(rows)
        else:
            limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
            raw = read(self, source, limit, seed, report)
            rows = with_references(_usable(raw, report), report)
            if raw.splits:
                report.usable, wish = len(rows), Source.of(source)
                parts = official.cut(rows, n_train, n_eval, "dialogues", seed, report, wish, same=dialogue_of)
                return base.make_splits(parts, self.columns, report)
            random.Random(f"split-{seed}").shuffle(rows)
        # Copies of a dialogue would put the same conversation into training and test.
        merged = report.duplicates_removed
        rows = without_copies(rows, itemgetter("dialogue"), NEAR_DUPLICATE, report)
        report.duplicates_removed += merged
        report.usable = len(rows)
        parts = base.cut(rows, n_train, n_eval, f"dialogues in {source}", report)
        return base.make_splits(parts, self.columns, report)

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """``summary``: the dialogue → its summary. ``topic``: which of four topics it is about; the wrong ones are
        topics of other dialogues that share no word with the right one. ``match``, which needs no topics: which of
        four summaries is its own; the wrong ones are unlike it."""
        form = form or self.main_form
        self.form_kind(form)
        items: list[Row] = [dict(row) for row in rows]
        if form == "topic":
            made = _topic(items, seed)
        elif form == "match":
            made = _match(items, seed)
        else:
            made = [
                example(r, form, f"{SUMMARY_QUESTION}\n\n{r['dialogue']}", r["summary"], references=r["references"])
                for r in items
            ]
        if not made and items:
            raise DataError(
                f"none of the {len(items)} dialogues can be asked about in form {form!r}",
                f"Form {form} needs at least four different {'topics' if form == 'topic' else 'summaries'}",
            )
        return base.make_examples(made)


def dialogue_of(row: Row) -> str:
    """What rows of two splits must not share."""
    return folded(row["dialogue"])


def with_references(rows: list[Row], report: LoadReport) -> list[Row]:
    """One row a dialogue and split: further summaries of the same dialogue become its references."""
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        own = row.setdefault("references", [row["summary"]])
        kept = first.setdefault((row.get(SPLIT, ""), dialogue_of(row)), row)
        if kept is not row:
            kept["references"] += [text for text in own if text not in kept["references"]]
    several = sum(len(row["references"]) > 1 for row in first.values())
    if several:
        report.notes.append(f"{several:,} dialogues have several summaries: all are kept as references")
    report.duplicates_removed += len(rows) - len(first)
    return list(first.values())


def _topic(rows: Sequence[Row], seed: int) -> list[Row]:
    words = [_words(row["topic"]) for row in rows]
    return _quiz(rows, "topic", "topic", TOPIC_QUESTION, lambda row, text: not words[row] & _words(text), seed)


def _match(rows: Sequence[Row], seed: int) -> list[Row]:
    words = {row["summary"]: frozenset(re.findall(r"\w+", row["summary"].lower())) for row in rows}

    def unlike(row: int, text: str) -> bool:
        own, other = words[rows[row]["summary"]], words[text]
        return len(own & other) < ALIKE * len(own | other)

    return _quiz(rows, "match", "summary", MATCH_QUESTION, unlike, seed)


def _quiz(
    rows: Sequence[Row], form: str, column: str, question: str, unlike: Callable[[int, str], bool], seed: int
) -> list[Row]:
    """Which of four texts of ``column`` belongs to the dialogue? ``unlike(row, text)``: it is wrong for that row."""
    questions = [Question(i, "all", row[column]) for i, row in enumerate(rows) if row[column]]
    made = []
    for choice in balanced_choices(questions, unlike, random.Random(f"{form}-{seed}")):
        row = rows[choice.row]
        made.append(example(row, form, f"{question}\n\n{row['dialogue']}", row[column], choice.options, choice.answer))
    return made


def _words(text: str) -> frozenset[str]:
    """Content words: of four letters and more, without a plural s."""
    return frozenset(word.removesuffix("s") for word in re.findall(r"\w{4,}", text.lower()))


def _usable(raw: RawRows, report: LoadReport) -> list[Row]:
    begin(raw, report)
    rows: list[Row] = []
    for number, row in enumerate(reader.pick_columns(raw, ALIASES, optional=("topic", "id"))):
        said = text(row["dialogue"], "dialogue")
        dialogue = "\n".join(line.strip() for line in re.split(r"[\r\n]+", said) if line.strip())
        summary = " ".join(text(row["summary"], "summary").split())
        if not dialogue:
            drop(report, "no dialogue", row=row)
        elif not summary:
            drop(report, "no summary", row=row)
        else:
            key, topic = text(row["id"]) or str(number), " ".join(text(row["topic"]).split())
            found = {"id": key, "dialogue": dialogue, "summary": summary, "topic": topic}
            rows.append(found | carried(row))
    base.refuse_unusable(rows, report, f"dialogues in {raw.name}", "dialogue and summary, both with text")
    return with_ids(rows)
