"""What every task offers: splits with a report, examples in a common shape, chat messages, scoring.

Nothing here imports ``datasets`` before a split is built, so importing the package stays cheap.
"""

from __future__ import annotations

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from helpers.errors import DataError
from helpers.hints import nearest_and_all
from helpers.tasks.report import LoadReport

if TYPE_CHECKING:  # pragma: no cover
    from datasets import Dataset

    from helpers.tasks.protocols import Protocol
    from helpers.tasks.splits import TaskSplits

Row = dict[str, Any]
T = TypeVar("T")
SPLITS = ("train", "validation", "test")


class Task(ABC):
    """One data set and the questions asked of it.

    Attributes:
        forms: name of a form of question → ``"generation"`` or ``"choice"``; ``main_form`` is the default.
        bare_questions: for each choice form, the question without what it is about.
        built_in: names of the sources that are neither a Hub id nor a path.
        sources: profile → what ``dataset="builtin"`` means in it.
        cpu_asset: the asset that profile cpu's source comes from, if any.
        reads_pictures: whether a model has to see pictures to answer.
        in_words: whether the first form of each kind does without them.
        minimal_pairs: whether one changed word makes another question, so that only equal texts are copies.
        label_column: the column that lesson 01 counts and colours by.
        described_by: columns that say what kind of question a row is, the finest last.
        protocol: how the published project chose its rows; None where none is published.
    """

    name: str
    forms: dict[str, str]
    main_form: str
    bare_questions: dict[str, str] = {}
    columns: tuple[str, ...]
    built_in: tuple[str, ...] = ("generator",)
    sources: Mapping[str, str] = {"smoke": "generator", "cpu": "generator", "full": "generator"}
    cpu_asset: str | None = None
    reads_pictures: bool = False
    in_words: bool = False
    minimal_pairs: bool = False
    label_column: str = "label"
    described_by: tuple[str, ...] = ()
    protocol: Protocol | None = None

    @property
    def trained_forms(self) -> str:
        """A text and a choice to train together: the main form, and the first choice form, joined by +."""
        choices = [form for form, kind in self.forms.items() if kind == "choice" and form != self.main_form]
        return "+".join([self.main_form, *choices[:1]])

    @abstractmethod
    def load(
        self, n_train: int | None = None, n_eval: int = 150, source: str = "generator", seed: int = 0
    ) -> TaskSplits:
        """Read ``source``; return train/validation/test with ``.report``.

        Args:
            n_train: rows in train; ``None`` takes all that is left.
            n_eval: rows in test; validation gets ``max(10, n_eval // 3)``.
            source: ``generator``, another built-in name, a Hub id, or a local file or folder.
            seed: which rows go where. Test and validation do not change with ``n_train``.

        Raises:
            DataError: source missing, unreadable, wrongly shaped, or smaller than asked for.
        """

    @abstractmethod
    def examples(self, rows: Dataset, form: str = "", seed: int = 0) -> Dataset:
        """Rows as questions: columns id, form, prompt, completion, references, options, answer.

        ``references`` are the texts that an answer is scored against: the completion, and others where there are any.
        ``options`` is empty and ``answer`` is -1 for generation. A row that a form cannot ask about is
        left out, so the result may be shorter than ``rows``.
        """

    def askable(
        self, splits: TaskSplits, forms: Iterable[str], seed: int = 0
    ) -> Iterator[tuple[str, dict[str, Dataset]]]:
        """Each form with its ``examples`` of every split. One that cannot be asked in some split, because a column is
        not given or too much alike, is left out, with a note in ``splits.report``.

        Raises:
            DataError: none of them can be asked.
        """
        given, asked = list(forms), 0
        for form in given:
            try:
                made = {name: self.examples(rows, form, seed=seed) for name, rows in splits.items()}
            except DataError as error:
                splits.report.notes.append(f"form {form!r} is left out: {error}")
                continue
            if without := [name for name, examples in made.items() if not len(examples)]:
                splits.report.notes.append(f"form {form!r} is left out: no row of {', '.join(without)} can be asked")
                continue
            asked += 1
            yield form, made
        if not asked:
            raise DataError(f"no row can be asked in form {' or '.join(given)}", "; ".join(splits.report.notes[-2:]))

    def groups(self, rows: Iterable[Mapping[str, Any]]) -> list[Any]:
        """A label for each row of a split, the same for rows that share what makes them right or wrong together: a
        premise, a picture. Intervals and tests draw whole groups, see ``Scores.grouped``. Here every row is its own.
        """
        return [row["id"] for row in rows]

    def form_kind(self, form: str) -> str:
        """``"generation"`` or ``"choice"``; DataError for a form this task does not have."""
        if form not in self.forms:
            raise DataError(f"task {self.name!r} has no form {form!r}", nearest_and_all(form, self.forms, "form"))
        return self.forms[form]

    @staticmethod
    def to_messages(example: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
        """The example as chat turns, question and answer apart; ``inference.encode`` makes token ids of them."""
        return {
            "prompt": [{"role": "user", "content": example["prompt"]}],
            "completion": [{"role": "assistant", "content": example["completion"]}],
        }

    def bare_prompt(self, form: str) -> list[dict[str, str]]:
        """The question of a choice form without its subject: what a model answers here, it answers blindly.

        ``inference.context_prior`` calibrates likelihoods with it (Zhao et al., 2021, "Calibrate before use").
        """
        self.form_kind(form)
        return [{"role": "user", "content": self.bare_questions[form]}]

    def with_options(self, example: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
        """``to_messages`` with the options listed in the question, for a model that has to write its choice."""
        options = "; ".join(example["options"])
        question = f"{example['prompt']}\nOptions: {options}\nAnswer with one of the options."
        return self.to_messages({**example, "prompt": question})


def balanced_positions(count: int, n_options: int, rng: random.Random) -> list[int]:
    """``count`` answer positions, each used equally often (to within one), in random order."""
    positions = [index % n_options for index in range(count)]
    rng.shuffle(positions)
    return positions


def validation_size(n_eval: int) -> int:
    return max(10, n_eval // 3)


def check_sizes(n_train: int | None, n_eval: int) -> None:
    """DataError for sizes that can never be served."""
    for name, value in (("n_train", n_train), ("n_eval", n_eval)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise DataError(f"{name} must be a whole number of at least 1, not {value!r}")


def wanted(n_train: int | None, n_eval: int) -> int:
    """Rows needed in all; with ``n_train=None`` at least one training row."""
    return n_eval + validation_size(n_eval) + (1 if n_train is None else n_train)


def refuse_unusable(rows: Sequence[Any], report: LoadReport, what: str, needed: str) -> None:
    """DataError when rows were read and not one can be used: the reasons, a row, what is needed.

    Args:
        what: what the rows are and where from ("recipes in my.csv").
        needed: what a usable row has ("title, ingredients (at least 2) and steps (at least 2)").
    """
    if not rows and (why := report.losses()):
        raise DataError(f"none of the {report.rows_read:,} {what} can be used: {why}", f"Needed are {needed}")


def cut(
    rows: Sequence[T], n_train: int | None, n_eval: int, what: str, report: LoadReport | None = None
) -> dict[str, list[T]]:
    """Cut ordered rows into test, validation, train (in that order, so that ``n_train`` moves neither).

    Args:
        rows: usable rows, already shuffled.
        what: what the rows are and where from, for the error ("recipes in wikibooks").
        report: what became of the rows that are not there, for the error.
    """
    n_val, need = validation_size(n_eval), wanted(n_train, n_eval)
    start = n_eval + n_val
    if len(rows) < need:
        cure = f"Lower n_eval too: test takes n_eval rows, validation {n_val} more"
        if len(rows) > start:
            cure = f"Lower n_train to {len(rows) - start} or less"
        asked = "at least 1" if n_train is None else f"{n_train:,}"
        said = f"there are {len(rows):,} usable {what}, but n_train {asked} + n_eval {n_eval:,} "
        said += f"+ validation {n_val:,} needs {need:,}"
        if report and (why := report.losses()):
            said += f"; of {report.rows_read:,} rows these are not used: {why}"
            cure = f"Repair those rows, or: {cure[0].lower()}{cure[1:]}" if rows else "Repair those rows"
        raise DataError(said, cure)
    train = rows[start : None if n_train is None else start + n_train]
    return {"train": list(train), "validation": list(rows[n_eval:start]), "test": list(rows[:n_eval])}


def fingerprint(parts: Mapping[str, Sequence[Row]]) -> str:
    """16 hex digits that change when any row of any split changes."""
    digest = hashlib.sha256()
    for name in SPLITS:
        digest.update(name.encode())
        for row in parts[name]:
            # The bytes of a picture count by their own digest.
            text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=lambda b: hashlib.sha256(b).hexdigest())
            digest.update(text.encode())
    return digest.hexdigest()[:16]


def make_splits(
    parts: Mapping[str, Sequence[Row]],
    columns: Sequence[str],
    report: LoadReport,
    types: Mapping[str, Any] | None = None,
) -> TaskSplits:
    """Build the DatasetDict, fill the report's sizes and fingerprint.

    Args:
        types: feature types of all columns, where they cannot be told from the values (pictures).
    """
    from datasets import Dataset, Features

    from helpers.tasks.splits import TaskSplits

    report.note_rows()
    report.sizes = {name: len(parts[name]) for name in SPLITS}
    report.fingerprint = fingerprint(parts)
    features = None if types is None else Features(types)
    splits = TaskSplits()
    for name in SPLITS:
        data = {column: [row[column] for row in parts[name]] for column in columns}
        splits[name] = Dataset.from_dict(data, features=features)
    splits.report = report
    return splits


def make_examples(examples: Sequence[Row], extra: Mapping[str, Any] | None = None) -> Dataset:
    """Example dicts to a Dataset with the common columns and types, also when empty.

    Args:
        extra: a task's further columns, with their feature types.
    """
    from datasets import Dataset, Features, List, Value

    types = dict.fromkeys(("id", "form", "prompt", "completion"), Value("string"))
    lists = dict.fromkeys(("references", "options"), List(Value("string")))
    features = Features(types | lists | {"answer": Value("int64")} | dict(extra or {}))
    examples = [{"references": [example["completion"]]} | example for example in examples]
    data = {column: [example[column] for example in examples] for column in features}
    return Dataset.from_dict(data, features=features)
