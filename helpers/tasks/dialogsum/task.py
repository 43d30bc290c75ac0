"""Task ``dialogsum``: summarise a dialogue of two people in a sentence or two.

Sources: ``generator`` (see ``generator``), ``knkarthick/dialogsum`` on the Hub (Chen et al., 2021,
arXiv:2105.06762; 12,460 training dialogues), or a local file with columns dialogue and summary, and topic where it
is known.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import RawRows
from helpers.tasks import base
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.choices import Question, balanced_choices
from helpers.tasks.dedupe import without_copies
from helpers.tasks.dialogsum import generator
from helpers.tasks.reading import begin, drop, example, text, with_ids

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


class DialogsumTask(Task):
    name = "dialogsum"
    forms = {"summary": "generation", "topic": "choice"}
    main_form = "summary"
    bare_questions = {"topic": TOPIC_QUESTION}
    columns = ("id", "dialogue", "summary", "topic")
    label_column = "topic"
    sources = {"smoke": "generator", "cpu": "generator", "full": "knkarthick/dialogsum"}

    def load(
        self, n_train: int | None = None, n_eval: int = 150, source: str = "generator", seed: int = 0
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, dialogue (one line a turn), summary, topic ("" where none is known)."""
        base.check_sizes(n_train, n_eval)
        report = LoadReport(self.name, source)
        if source == "generator":
            report.licence = "synthetic, part of this repository (Apache-2.0)"
            need = base.wanted(1000 if n_train is None else n_train, n_eval)
            rows = list(islice(generator.dialogues(seed), need + need // 2))
            report.rows_read = len(rows)
        else:
            limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
            rows = _usable(reader.read(source, limit, seed, self.built_in), report)
            random.Random(f"split-{seed}").shuffle(rows)
        # Copies of a dialogue would put the same conversation into training and test.
        rows = without_copies(rows, itemgetter("dialogue"), NEAR_DUPLICATE, report)
        report.usable = len(rows)
        parts = base.cut(rows, n_train, n_eval, f"dialogues in {source}", report)
        return base.make_splits(parts, self.columns, report)

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """``summary``: the dialogue → its summary. ``topic``: which of four topics it is about; the wrong ones are
        topics of other dialogues that share no word with the right one."""
        form = form or self.main_form
        self.form_kind(form)
        items: list[Row] = [dict(row) for row in rows]
        if form == "topic":
            made = _topic(items, seed)
        else:
            made = [example(r, form, f"{SUMMARY_QUESTION}\n\n{r['dialogue']}", r["summary"]) for r in items]
        if not made and items:
            raise DataError(
                f"none of the {len(items)} dialogues can be asked about in form {form!r}",
                "Form topic needs a column topic with at least four different topics",
            )
        return base.make_examples(made)


def _topic(rows: Sequence[Row], seed: int) -> list[Row]:
    words = [_words(row["topic"]) for row in rows]
    questions = [Question(i, "all", row["topic"]) for i, row in enumerate(rows) if row["topic"]]

    def unlike(row: int, text: str) -> bool:
        return not words[row] & _words(text)

    made = []
    for choice in balanced_choices(questions, unlike, random.Random(f"topic-{seed}")):
        row = rows[choice.row]
        prompt = f"{TOPIC_QUESTION}\n\n{row['dialogue']}"
        made.append(example(row, "topic", prompt, row["topic"], choice.options, choice.answer))
    return made


def _words(text: str) -> frozenset[str]:
    """Content words: of four letters and more, without a plural s."""
    return frozenset(word.removesuffix("s") for word in re.findall(r"\w{4,}", text.lower()))


def _usable(raw: RawRows, report: LoadReport) -> list[Row]:
    begin(raw, report)
    rows: list[Row] = []
    for number, row in enumerate(reader.pick_columns(raw, ALIASES, optional=("topic", "id"))):
        dialogue = "\n".join(line.strip() for line in text(row["dialogue"], "dialogue").splitlines() if line.strip())
        summary = " ".join(text(row["summary"], "summary").split())
        if not dialogue:
            drop(report, "no dialogue", row=row)
        elif not summary:
            drop(report, "no summary", row=row)
        else:
            key, topic = text(row["id"]) or str(number), " ".join(text(row["topic"]).split())
            rows.append({"id": key, "dialogue": dialogue, "summary": summary, "topic": topic})
    base.refuse_unusable(rows, report, f"dialogues in {raw.name}", "dialogue and summary, both with text")
    return with_ids(rows)
