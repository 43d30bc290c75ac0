"""Task ``snli``: does a premise make a hypothesis certain (entailment), leave it open (neutral) or rule it
out (contradiction)?

Sources: ``generator`` (see ``generator``), ``stanfordnlp/snli`` on the Hub (label -1, where annotators
did not agree, is dropped and counted), or a local file with columns premise, hypothesis, label. How labels are
read: see ``labels``.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError
from helpers.sources.local import RawRows
from helpers.sources.source import Source
from helpers.tasks import base, columns, official
from helpers.tasks.base import LoadReport, Row, Task
from helpers.tasks.cells import one_text
from helpers.tasks.dedupe import check_disjoint
from helpers.tasks.groups import linked
from helpers.tasks.protocols import Protocol, every_nth
from helpers.tasks.reading import begin, carried, drop, example, folded, read, text, with_ids
from helpers.tasks.snli import generator
from helpers.tasks.snli.labels import read_labels

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.splits import TaskSplits

ALIASES = {
    "premise": ("sentence1", "text1", "sentence_a", "context"),
    "hypothesis": ("sentence2", "text2", "sentence_b"),
    "label": ("gold_label", "labels", "target", "entailment_judgment", "entailment_label", "relation"),
    "id": ("pairID", "pair_id", "index"),
    "language": ("lang",),
}
# First sentence: the premise, second: the hypothesis. The question comes before them, as in the other tasks:
# a tiny Phi trained through label words stays at chance when it follows.
QUESTION = "Does the first sentence make the second one true? Answer yes, maybe or no."
VERBALISERS = ("yes", "maybe", "no")  # what a model answers for labels 0, 1, 2
POOL = 20_000  # most rows read from a large source, unless more are asked for


E_SIZES = {"train": 1000, "validation": 100, "test": 100}


class SnliTask(Task):
    name = "snli"
    forms = {"nli": "choice"}
    main_form = "nli"
    bare_questions = {"nli": QUESTION}
    columns = ("id", "premise", "hypothesis", "label")
    sources = {"smoke": "generator", "cpu": "generator", "full": "stanfordnlp/snli"}
    # Rows without an agreed label are dropped after the choice, as there.
    protocol = Protocol("E", E_SIZES, "rows at equal distances through each official split", every_nth(E_SIZES))

    def load(
        self, n_train: int | None = None, n_eval: int = 150, source: str = "generator", seed: int = 0
    ) -> TaskSplits:
        """See ``Task.load``. Columns: id, premise, hypothesis and label: 0 entailment, 1 neutral,
        2 contradiction.

        No premise stands in two splits, unless they are official ones, which are kept as they are. Generated splits
        hold whole triples, so every hypothesis comes with all three labels (but for the last triple when a size is no
        multiple of 3).
        """
        base.check_sizes(n_train, n_eval)
        report = LoadReport(self.name, source)
        if source == "generator":
            report.licence = "synthetic, part of this repository (Apache-2.0)"
            groups = _generated(n_train, n_eval, seed, report)
        else:
            limit = max(POOL, int(1.5 * base.wanted(n_train, n_eval)))
            raw = read(self, source, limit, seed, report)
            rows = _usable(raw, report, Source.of(source).labels)
            if raw.splits:
                report.usable = len(rows)
                parts = official.cut(rows, n_train, n_eval, "pairs", seed, report, Source.of(source), same=premise_of)
                return base.make_splits(parts, self.columns, report)
            groups = _grouped(rows, seed)
        report.usable = sum(map(len, groups))
        parts = _cut_groups(groups, n_train, n_eval, f"pairs in {source}", seed, report)
        check_no_leak(parts)
        return base.make_splits(parts, self.columns, report)

    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """Each pair as a question answered by yes (entailment), maybe (neutral) or no (contradiction)."""
        form = form or self.main_form
        self.form_kind(form)
        made = []
        for row in map(dict, rows):
            prompt = f"{QUESTION}\n{row['premise']}\n{row['hypothesis']}"
            made.append(example(row, form, prompt, VERBALISERS[row["label"]], VERBALISERS, row["label"]))
        return base.make_examples(made)

    def groups(self, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Pairs that share a premise or a hypothesis, or are linked by others; see ``linked`` for shared phrases."""
        return linked([(premise_of(row), folded(row["hypothesis"])) for row in rows])


def premise_of(row: Mapping[str, Any]) -> str:
    """What rows of two splits must not share."""
    return folded(row["premise"])


def check_no_leak(parts: dict[str, list[Row]]) -> None:
    """DataError if a premise or an id stands in two splits."""
    check_disjoint(parts, "premise", premise_of, itemgetter("premise"))
    check_disjoint(parts, "id", itemgetter("id"))


def _generated(n_train: int | None, n_eval: int, seed: int, report: LoadReport) -> list[list[Row]]:
    n_train = 3000 if n_train is None else n_train
    need = sum(math.ceil(size / 3) for size in (n_train, n_eval, base.validation_size(n_eval)))
    groups = list(islice(generator.triples(seed), need))
    report.rows_read = sum(map(len, groups))
    return groups


def _grouped(rows: Sequence[Row], seed: int) -> list[list[Row]]:
    """Pairs by premise, in an order drawn by ``seed``."""
    by_premise: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_premise[premise_of(row)].append(row)
    groups = list(by_premise.values())
    random.Random(f"split-{seed}").shuffle(groups)
    return groups


def _cut_groups(
    groups: list[list[Row]], n_train: int | None, n_eval: int, what: str, seed: int, report: LoadReport
) -> dict[str, list[Row]]:
    """Fill test, validation, train with whole groups; what overhangs in a split's last group is unused."""
    sizes = {"test": n_eval, "validation": base.validation_size(n_eval), "train": n_train}
    rest = iter(groups)
    parts: dict[str, list[Row]] = {}
    for name, size in sizes.items():
        rows: list[Row] = []
        while (size is None or len(rows) < size) and (group := next(rest, None)):
            rows += group
        if len(rows) < (1 if size is None else size):
            pairs = list(chain(*groups))
            base.cut(pairs, n_train, n_eval, what, report)  # raises when there are too few pairs outright
            raise DataError(
                f"there are {len(pairs):,} usable {what}, but splitting them by premise leaves too few for "
                f"n_train {n_train}",
                f"Lower n_train or n_eval; there are {len(groups):,} different premises",
            )
        parts[name] = rows[:size]
        random.Random(f"order-{seed}-{name}").shuffle(parts[name])
    return {name: parts[name] for name in base.SPLITS}


def _usable(raw: RawRows, report: LoadReport, mapping: Mapping[str, str]) -> list[Row]:
    begin(raw, report)
    picked = columns.pick(raw, ALIASES, report, ("id", "language"), coded="label" if mapping else "")
    labels, said = read_labels([row["label"] for row in picked], raw.name, mapping)
    report.notes.append(said)
    languages = {text(row["language"], "language") for row in picked}
    if len(languages) > 1:
        report.notes.append(
            f"column language has {len(languages)} values: translations of one pair may stand in two splits"
        )
    rows: list[Row] = []
    pairs: dict[tuple[str, str], int] = {}
    differ = 0
    for number, (row, label) in enumerate(zip(picked, labels, strict=True)):
        premise, hypothesis = (one_text(row[key], key) for key in ("premise", "hypothesis"))
        pair = (premise.lower(), hypothesis.lower())
        if label < 0:
            drop(report, "without an agreed label", row=row)
        elif not premise or premise.lower() == "nan":
            drop(report, "no premise", row=row)
        elif not hypothesis or hypothesis.lower() in ("nan", "n/a"):
            drop(report, "no hypothesis", row=row)
        elif pair in pairs and not raw.splits:  # official splits are kept as they are
            report.duplicates_removed += 1
            differ += pairs[pair] != label
        else:
            pairs[pair] = label
            key = text(row["id"], "id") or str(number)
            found = {"id": key, "premise": premise, "hypothesis": hypothesis, "label": label}
            rows.append(found | carried(row))
    if differ:
        report.notes.append(f"{differ:,} pairs occur again with another label: the first one counts")
    needed = "premise, hypothesis and a label that is entailment, neutral or contradiction"
    base.refuse_unusable(rows, report, f"pairs in {raw.name}", needed)
    return with_ids(rows)
