"""How far do models come that cost seconds and no network? The best of several, chosen on the validation split.

A tuned language model that does no better has shown nothing. With the same options in every question (labels), logistic
regressions and a kernel machine read words, pairs of a word of the first text and one of the second, and what the two
share. With options of its own in each question, every option gets a score: how often it is right, its similarity to the
question, how often its words stand beside those of the question, and a logistic regression on all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

import numpy as np

from helpers.errors import DataError
from helpers.tasks.eda.option_models import option_models
from helpers.tasks.eda.shortcuts import STRENGTHS, Example, Predict, label_index, label_of, same_options, tokens

Reader = Callable[[Example], list[str]]  # an example's features, as words

MOST_ROWS = 10_000  # training examples that are read, the first ones
MOST_COMPARED = 3000  # of them by the kernel machine, whose time grows with their square


@dataclass(frozen=True)
class Classical:
    """The model that was best on the validation split.

    Attributes:
        name: what it is, with its regularisation.
        predicted: its choice for each test example, an index of its ``options``.
        validation: accuracy of every candidate on the validation split, in the order in which they were tried.
    """

    name: str
    predicted: list[int]
    validation: dict[str, float]


def best_classical(
    train: Iterable[Example], validation: Iterable[Example], test: Iterable[Example], *, seed: int = 0
) -> Classical:
    """The best of several models without a network: trained on ``train``, chosen on ``validation``, used on ``test``.

    Of equally good ones the first counts, which is the simplest. Pictures are not looked at, nor more than
    ``MOST_ROWS`` training examples.

    Args:
        train, validation, test: examples of one form, with ``prompt``, ``options`` and ``answer``.

    Raises:
        DataError: a split has no examples, or only one label occurs in ``train``.
    """
    learned, checked, asked = parts = [_read(part) for part in (train, validation, test)]
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if not part:
            raise DataError(f"there are no examples in {name}", "Give every split at least one example")
    candidates = (label_models if same_options(chain(*parts)) else option_models)(learned[:MOST_ROWS], seed)
    answers = np.array([e["answer"] for e in checked])
    found, best, chosen = {}, -1.0, None
    for name, predict in candidates:
        found[name] = float(np.mean(np.array(predict(checked)) == answers))
        if found[name] > best:
            best, chosen, winner = found[name], predict, name
    assert chosen is not None
    return Classical(winner, chosen(asked), found)


def _read(part: Any) -> list[Example]:
    """The columns that count; those of a data set with pictures without decoding them."""
    columns = ["prompt", "options", "answer"]
    return list(part.select_columns(columns) if hasattr(part, "select_columns") else part)


def label_models(train: Sequence[Example], seed: int) -> Iterator[tuple[str, Predict]]:
    """Every model for questions with the same options, with its name, from simple to less so."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    labels = [label_of(e) for e in train]
    if len(set(labels)) == 1:
        raise DataError(f"every training example has the answer {labels[0]!r}", "Give examples of two labels at least")
    split = _two_texts(train)
    readers: dict[str, Reader] = {"bag of words": lambda e: _marked(*split(e))}
    if any(split(e)[0] for e in train):
        readers["word pairs"] = lambda e: _pairs(*split(e))
        readers["word pairs and overlap"] = lambda e: _pairs(*split(e)) + _overlap(*split(e))
    for name, reader in readers.items():
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=500, random_state=seed)
            yield f"{name}, C {strength:g}", _classifier(model, reader, train)
    for strength in (0.1, 1.0, 10.0) if len(readers) > 1 else ():
        # (1 + shared words / 10)^3: every pair and triple of words, without listing them.
        model = SVC(C=strength, kernel="poly", degree=3, gamma=0.1, coef0=1.0, random_state=seed)
        reader = lambda e: _marked(*split(e)) + _overlap(*split(e))  # noqa: E731
        yield f"cubic kernel, C {strength:g}", _classifier(model, reader, train[:MOST_COMPARED])


def _classifier(model: Any, reader: Reader, train: Sequence[Example]) -> Predict:
    from sklearn.feature_extraction.text import CountVectorizer

    # Something is known of texts without words too.
    vectorizer = CountVectorizer(analyzer=lambda e: ["", *reader(e)], binary=True, dtype=np.float64)
    model.fit(vectorizer.fit_transform(train), [label_of(e) for e in train])

    def predict(examples: Sequence[Example]) -> list[int]:
        said = model.predict(vectorizer.transform(examples))
        return [label_index(e, label) for e, label in zip(examples, said, strict=True)]

    return predict


def _two_texts(train: Sequence[Example]) -> Callable[[Example], tuple[list[str], list[str]]]:
    """A function from an example to the words of its last line and of those before it, without lines all have."""
    lines = [set(e["prompt"].split("\n")) for e in train]
    constant = set.intersection(*lines)

    def split(example: Example) -> tuple[list[str], list[str]]:
        own = [line for line in example["prompt"].split("\n") if line.strip() and line not in constant]
        return tokens(" ".join(own[:-1])), tokens(own[-1]) if own else []

    return split


def _marked(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Words and neighbours of both texts, each told apart."""
    sides = (("1", first), ("2", second))
    return [f"{side} {w}" for side, text in sides for w in (*text, *map(" ".join, zip(text, text[1:], strict=False)))]


def _pairs(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return [f"{a}|{b}" for a, b in product(set(first), set(second))]


def _overlap(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """What the second text says that the first does not, in words and as a share; and what it leaves out."""
    new = [w for w in second if w not in first]
    share = round(5 * len(new) / max(1, len(second)))
    left = len(set(first) - set(second))
    return [*(f"new {w}" for w in new), f"new in fifths {share}", f"number new {len(new)}", f"left out {left}"]
