"""Task ``dialogsum``: summarise a dialogue of two people in a sentence or two.

Sources: ``generator`` (see ``generator``), ``knkarthick/dialogsum`` on the Hub (Chen et al., 2021,
arXiv:2105.06762; 12,460 training dialogues), or a local file with columns dialogue and summary, and topic where it
is known. Which shapes a dialogue may have: see ``turns``.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import RawRows
from helpers.tasks import base, columns
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.cells import one_text, opened
from helpers.tasks.choices import Question, balanced_choices
from helpers.tasks.dedupe import without_copies
from helpers.tasks.dialogsum import generator
from helpers.tasks.dialogsum.turns import dialogue_text, summaries
from helpers.tasks.leaks import refuse_leaks
from helpers.tasks.reading import as_text, begin, drop, example, text, with_ids

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

ALIASES = {
    "dialogue": (
        "dialog", "dialogues", "conversation", "conversations", "utterances", "turns", "messages", "transcript", "chat",
        "text", "input",
    ),
    "speakers": ("speaker", "roles"),
    "summary": ("summaries", "target", "output", "highlights"),
    "topic": ("subject", "title", "label", "topic1"),
    "instruction": (),
    "id": ("fname", "dialogue_id", "index"),
}  # fmt: skip
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
    several = _settle_columns(raw, report)
    optional = ("topic", "id", "speakers", "instruction")
    picked = columns.pick(raw, ALIASES, report, optional, prompt="dialogue", completion="summary")
    _refuse_turns_in_rows(picked, raw.name)
    rows: list[Row] = []
    shapes: Counter[str] = Counter()
    for number, (row, given) in enumerate(zip(picked, raw.rows, strict=True)):
        dialogue, shape = dialogue_text(row["dialogue"], row["speakers"])
        if not dialogue and as_text(row["instruction"]):  # instruction data, where some rows have no input
            dialogue, shape = dialogue_text(row["instruction"])[0], "the instruction, where there is no input"
        shapes[shape] += bool(dialogue)
        written = summaries([given.get(name) for name in several] or [row["summary"]])
        if not dialogue:
            drop(report, "no dialogue", row=row)
        elif not written:
            drop(report, "no summary", row=row)
        else:
            key, topic = text(row["id"], "id") or str(number), one_text(row["topic"], "topic")
            made = {"id": key, "dialogue": dialogue, "summary": written[0], "topic": topic}
            rows.append({**made, "references": written})
    report.notes += [f"dialogue: {shape} in {count:,} rows, read as one line a turn" for shape, count in shapes.items()
                     if shape and count]  # fmt: skip
    if many := sum(len(row["references"]) > 1 for row in rows):
        report.notes.append(f"{many:,} rows have several summaries: the first is learnt, all are references")
    needed = "dialogue (text, or a list of turns) and summary (text)"
    base.refuse_unusable(rows, report, f"dialogues in {raw.name}", needed)
    pairs = ((row["dialogue"], said) for row in rows for said in row["references"])
    refuse_leaks(pairs, ("dialogue", "summary"), raw.name, report)
    return with_ids(rows)


def _settle_columns(raw: RawRows, report: LoadReport) -> list[str]:
    """The columns of several summaries, where there are such; settles what stands in place of dialogue and summary."""
    fit = {own: columns.fitting(raw.columns, own, ALIASES[own]) for own in ("dialogue", "summary", "instruction")}
    several = []
    if "summary" not in raw.chosen and not fit["summary"]:
        several = columns.numbered(raw.columns, "summary", "reference", "target", "highlights")
        if several:
            raw.chosen = {"summary": several[0], **raw.chosen}
    if fit["instruction"] and "instruction" not in raw.chosen:
        if "dialogue" not in raw.chosen and not fit["dialogue"]:
            raw.chosen = {"dialogue": fit["instruction"][0], **raw.chosen}
            report.notes.append(f"column {fit['instruction'][0]!r} is read as dialogue: there is no other")
        else:
            report.notes.append(
                f"column {fit['instruction'][0]!r} is read only where there is no other text: the lesson asks itself"
            )
    return several


def _refuse_turns_in_rows(rows: Sequence[Row], where: str) -> None:
    """DataError for a file with a row for each turn instead of each dialogue."""
    alone = sum(
        bool(as_text(row["speakers"])) and isinstance(opened(row["speakers"]), str)
        and bool(said := as_text(row["dialogue"])) and "\n" not in said and ":" not in said
        for row in rows
    )  # fmt: skip
    if alone * 2 > len(rows):
        what = f"{where} has one speaker and one turn a row, in {alone:,} of {len(rows):,} rows"
        raise DataError(what, "Join the turns of each dialogue in one row, a line a turn")
