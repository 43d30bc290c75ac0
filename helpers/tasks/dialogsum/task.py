"""Task ``dialogsum``: summarise a dialogue of two people in a sentence or two.

Sources: ``generator`` (see ``generator``), ``knkarthick/dialogsum`` on the Hub (Chen et al., 2021,
arXiv:2105.06762; 12,460 training dialogues), or a local file with columns dialogue and summary, and topic where it
is known. Which shapes a dialogue may have: see ``turns``.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

from helpers.errors import DataError
from helpers.sources.local import RawRows
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT
from helpers.tasks import base, columns, official
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.cells import one_text, opened
from helpers.tasks.choices import Question, balanced_choices
from helpers.tasks.dedupe import without_copies
from helpers.tasks.dialogsum import generator
from helpers.tasks.dialogsum.turns import dialogue_text, summaries
from helpers.tasks.leaks import refuse_leaks
from helpers.tasks.protocols import Protocol, every_row
from helpers.tasks.reading import as_text, begin, carried, drop, example, folded, read, text, with_ids

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
            rows.append({**made, "references": written} | carried(row))
    report.notes += [f"dialogue: {shape} in {count:,} rows, read as one line a turn" for shape, count in shapes.items()
                     if shape and count]  # fmt: skip
    needed = "dialogue (text, or a list of turns) and summary (text)"
    base.refuse_unusable(rows, report, f"dialogues in {raw.name}", needed)
    pairs = ((row["dialogue"], said) for row in rows for said in row["references"])
    refuse_leaks(pairs, ("dialogue", "summary"), raw.name, report)
    return with_ids(rows)


def _settle_columns(raw: RawRows, report: LoadReport) -> list[str]:
    """The columns of several summaries, where there are such; settles what stands in place of dialogue and summary."""
    fit = {own: columns.fitting(raw.columns, own, ALIASES[own]) for own in ("dialogue", "summary", "instruction")}
    several = []
    if "summary" not in raw.chosen:
        several = columns.numbered(raw.columns, "summary", "reference", "target", "highlights")
    if several and fit["summary"]:  # a test file with several summaries beside a training file with one
        name = fit["summary"][0]
        for row in raw.rows:
            if row.get(name) in (None, ""):
                row[name] = [row[other] for other in several if row.get(other)] or None
        raw.add_columns(name)
        several = []
    elif several:
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
