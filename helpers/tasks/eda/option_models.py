"""Cheap models for questions with options of their own: each option gets a score, and the highest is chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from helpers.tasks.eda.shortcuts import STRENGTHS, Example, Predict, label_of, tokens

MOST_WORDS = (20, 12)  # rarest words of a question and of an option that are paired
MOST_KNOWN = 3000  # words whose co-occurrences are counted
FOLDS = 5

Scorer = Callable[[Sequence[Example]], list[Any]]  # an array with a score for each option of each example


def option_models(train: Sequence[Example], seed: int) -> Iterator[tuple[str, Predict]]:
    """Every model with its name, from simple to less so, fitted when its turn comes.

    How often an option is right; its similarity to the question; how often its words stand beside those of the
    question; and a logistic regression on all that and on words of both.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    makers = {"option prior": _prior, "TF-IDF similarity": _similarity, "co-occurrence": _beside}
    scorers = {name: make(train) for name, make in makers.items()}
    for name, score in scorers.items():
        yield name, _highest(score)
    right = [i == e["answer"] for e in train for i in range(len(e["options"]))]
    if len(set(right)) == 1:  # questions with one option: there is nothing to learn
        return
    vectorizer = CountVectorizer(analyzer=_paired_with(train), binary=True, min_df=2, dtype=np.float64)
    words = vectorizer.fit_transform(_each_option(train))
    # The scores of training questions come from scorers that have not seen their answers.
    rows = hstack([words, csr_matrix(_centred(_crossed(list(makers.values()), train), train))]).tocsr()

    def features(examples: Sequence[Example]) -> Any:
        scores = np.stack([np.concatenate(score(examples)) for score in scorers.values()], axis=1)
        return hstack([vectorizer.transform(_each_option(examples)), csr_matrix(_centred(scores, examples))]).tocsr()

    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=500, random_state=seed).fit(rows, right)
        yield f"words of question and option, C {strength:g}", _highest(
            lambda examples, model=model: _by_example(model.decision_function(features(examples)), examples)
        )


def _tokens(text: str) -> list[str]:
    """The words of a text, or the empty one, so that something is known of texts without words too."""
    return tokens(text) or [""]


def _highest(score: Scorer) -> Predict:
    return lambda examples: [int(np.argmax(row)) for row in score(examples)]


def _sizes(examples: Sequence[Example]) -> list[int]:
    return [len(e["options"]) for e in examples]


def _by_example(values: Any, examples: Sequence[Example]) -> list[Any]:
    return np.split(values, np.cumsum(_sizes(examples))[:-1])


def _each_option(examples: Sequence[Example]) -> list[tuple[str, str]]:
    return [(question, option) for e in examples for question in [_question(e)] for option in e["options"]]


def _question(example: Example) -> str:
    """The prompt without the options, where it lists them."""
    text = str(example["prompt"])
    if all(option in text for option in example["options"]):
        for option in sorted(example["options"], key=len, reverse=True):
            before, _, after = text.rpartition(option)
            text = f"{before} {after}"
    return text


def _prior(train: Sequence[Example]) -> Scorer:
    """How often an option was right where it was offered; an unknown one counts as an average one."""
    offered = Counter(option for e in train for option in e["options"])
    right = Counter(map(label_of, train))
    mean = len(train) / max(1, offered.total())
    return lambda examples: [
        np.array([(right[option] + mean) / (offered[option] + 1) for option in e["options"]]) for e in examples
    ]


def _similarity(train: Sequence[Example]) -> Scorer:
    """Cosine of the TF-IDF vectors of question and option."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=_tokens, sublinear_tf=True)
    vectorizer.fit([*map(_question, train), *(option for e in train for option in e["options"])])

    def score(examples: Sequence[Example]) -> list[Any]:
        questions = vectorizer.transform(list(map(_question, examples)))
        options = vectorizer.transform([option for e in examples for option in e["options"]])
        owner = np.repeat(np.arange(len(examples)), _sizes(examples))
        return _by_example(np.asarray(questions[owner].multiply(options).sum(axis=1)).ravel(), examples)

    return score


def _beside(train: Sequence[Example]) -> Scorer:
    """Mean pointwise mutual information of an option's words and the question's, in questions with their answers."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=_tokens, binary=True, max_features=MOST_KNOWN, dtype=np.float32)
    documents = vectorizer.fit_transform([f"{_question(e)} {label_of(e)}" for e in train])
    alone = np.asarray(documents.sum(axis=0))
    # One more than observed and than expected: a pair that is too rare to be judged has no information.
    together = np.log((documents.T @ documents).toarray() + 1) - np.log(alone.T @ alone / len(train) + 1)

    def score(examples: Sequence[Example]) -> list[Any]:
        asked = vectorizer.transform(list(map(_question, examples)))
        fit = asked @ together / np.maximum(1, np.asarray(asked.sum(axis=1)))
        options = vectorizer.transform([option for e in examples for option in e["options"]])
        known = np.diff(options.indptr)  # words of each option
        owner = np.repeat(np.repeat(np.arange(len(examples)), _sizes(examples)), known)
        rows = np.repeat(np.arange(len(known)), known)
        total = np.bincount(rows, fit[owner, options.indices], minlength=len(known))
        return _by_example(total / np.maximum(1, known), examples)

    return score


def _crossed(makers: Sequence[Callable[[Sequence[Example]], Scorer]], train: Sequence[Example]) -> Any:
    """(options, scorers) scores of every training example, from scorers that were made of the others."""
    parts = [range(start, len(train), FOLDS) for start in range(min(FOLDS, len(train)))]
    found: list[Any] = [None] * len(train)
    for part in parts:
        held = [train[i] for i in part]
        others = [e for i, e in enumerate(train) if i not in part] or held
        scores = [make(others)(held) for make in makers]
        for place, i in enumerate(part):
            found[i] = np.stack([rows[place] for rows in scores], axis=1)
    return np.concatenate(found)


def _centred(scores: Any, examples: Sequence[Example]) -> Any:
    """Scores without the mean of their question: what counts is which option has more."""
    return np.concatenate([part - part.mean(axis=0) for part in _by_example(scores, examples)])


def _paired_with(train: Sequence[Example]) -> Callable[[tuple[str, str]], list[str]]:
    """A function from (question, option) to their words: those of the option, and pairs of the rarest of both."""
    counted = Counter(w for e in train for w in {*tokens(_question(e)), *tokens(" ".join(e["options"]))})
    common = {w for w, count in counted.items() if count > len(train) / 2}

    def rarest(text: str, most: int) -> list[str]:
        return sorted(set(tokens(text)) - common, key=lambda w: (counted[w], w))[:most]

    def read(pair: tuple[str, str]) -> list[str]:
        question, option = pair
        pairs = product(rarest(question, MOST_WORDS[0]), rarest(option, MOST_WORDS[1]))
        return [*_tokens(option), *(f"{a}|{b}" for a, b in pairs)]

    return read
