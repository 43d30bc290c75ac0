"""Can a test be passed without reading the question? A bag of words tries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from helpers.tasks.eda.audit import words

Example = Mapping[str, Any]
Reader = Callable[[Example], str]
Predict = Callable[[Sequence[Example]], list[int]]
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # C of a logistic regression, to choose from; small: small weights
_TOKEN = re.compile(r"\w+(?:['’]\w+)*")


def same_options(examples: Iterable[Example]) -> bool:
    """Whether every example offers the same options, in whatever order: then they are labels."""
    return len({tuple(sorted(e["options"])) for e in examples}) <= 1


def label_of(example: Example) -> str:
    """The text of the right option."""
    return str(example["options"][int(example["answer"])])


def label_index(example: Example, label: str) -> int:
    """Where a label stands among the options of an example."""
    return list(example["options"]).index(str(label))


def tokens(text: str) -> list[str]:
    """Lower-cased words and numbers."""
    return _TOKEN.findall(text.lower())


@dataclass(frozen=True)
class Shortcut:
    """Result of a classifier that sees only part of the input, on n test examples."""

    predicted: list[int]
    answers: list[int]
    chance: float
    telling: list[str]  # words with the largest weights

    @property
    def n(self) -> int:
        return len(self.answers)

    @property
    def accuracy(self) -> float:
        return sum(p == a for p, a in zip(self.predicted, self.answers, strict=True)) / max(self.n, 1)


def shortcut(
    train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], partial: Reader | None = None, seed: int = 0
) -> Shortcut:
    """How well do bags of words do on ``test`` without reading the whole question?

    A result clearly above chance means that the data give answers away.

    Args:
        train, test: examples with ``options`` (list of str) and ``answer`` (index).
        partial: the part of the input to read, for example the hypothesis without the premise; the class is
            the text of the right option, so every example must offer the same options. ``None`` reads the
            options alone and picks the one that looks most like the right answers of ``train``.
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = list(train), list(test)
    answers = [int(e["answer"]) for e in test]
    chance = sum(1 / len(e["options"]) for e in test) / max(len(test), 1)
    vectorizer = CountVectorizer(tokenizer=words, token_pattern=None, ngram_range=(1, 2), binary=True)
    model = LogisticRegression(C=1.0, max_iter=2000, random_state=seed)
    if partial is None:
        options = [option for e in train for option in e["options"]]
        right = [i == int(e["answer"]) for e in train for i in range(len(e["options"]))]
        model.fit(vectorizer.fit_transform(options), right)
        predicted = [int(model.decision_function(vectorizer.transform(e["options"])).argmax()) for e in test]
    else:
        if not same_options([*train, *test]):
            raise ValueError("partial needs the same options in every example; use partial=None otherwise")
        labels = [label_of(e) for e in train]
        if len(set(labels)) == 1:  # there is nothing to tell apart
            return Shortcut([label_index(e, labels[0]) for e in test], answers, chance, [])
        vectorizer.fit([partial(e) for e in train])
        model.fit(vstack([vectorizer.transform([partial(e)]) for e in train]), labels)
        guess = model.predict(vectorizer.transform([partial(e) for e in test]))
        predicted = [label_index(e, g) for e, g in zip(test, guess, strict=True)]
    names, weight = vectorizer.get_feature_names_out(), abs(model.coef_).max(axis=0)
    telling = [str(names[i]) for i in sorted(range(len(names)), key=lambda i: (-weight[i], names[i]))[:8]]
    return Shortcut(predicted, answers, chance, telling)


def hypothesis_reader(
    rows: Mapping[str, Iterable[Mapping[str, Any]]], questions: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Reader | None:
    """The part of a question about two sentences that is read blindly: the hypothesis without the premise.

    Args:
        rows, questions: ``{split: rows}`` of a task and the examples made of them, in the same order.

    Returns:
        A function from an example to its hypothesis, for ``shortcut``; None where the rows have no hypothesis.
    """
    if not all("hypothesis" in row for part in rows.values() for row in islice(part, 1)):
        return None
    pairs = ((e, row) for name, part in rows.items() for e, row in zip(questions[name], part, strict=True))
    known = {example["id"]: str(row["hypothesis"]) for example, row in pairs}
    return lambda example: known[example["id"]]
