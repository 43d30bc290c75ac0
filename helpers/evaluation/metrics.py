"""Metrics as sums: each example contributes a row of numbers, a metric is a function of the column sums.

That one form gives the value, its bootstrap interval and the paired test (see ``statistics``), for corpus
BLEU and macro F1 just as for a mean. All metrics lie on 0–1 except perplexity.

=============  =====================================================================================
accuracy       share of right choices; an answer that could not be read as an option is wrong
macro_f1       F1 per class, plain mean over the classes that occur (scikit-learn's default labels)
valid_rate     share of answers that could be read as one of the options
perplexity     exp(sum of negative log-likelihoods in nats / number of tokens), over all tokens
bleu           sacrebleu corpus BLEU / 100: 13a tokens, case kept, "exp" smoothing, up to 4-grams
bleu1          the same with 1-grams only: unigram precision × brevity penalty
bleu4          another name for ``bleu``, for tables beside papers that report BLEU-1 and BLEU-4
rouge1/2/L     rouge-score F-measure without stemming, mean over examples
meteor         nltk METEOR, mean over examples; synonyms only where WordNet is installed
cosine         cosine of sentence embeddings, negative values counted as 0, mean over examples
=============  =====================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from helpers.errors import DataError, ParameterError
from helpers.evaluation import text_stats
from helpers.evaluation.aggregates import MAX_ORDER, aggregate, bleu_from_stats, perplexity_from_stats, with_count
from helpers.evaluation.embeddings import Embedder
from helpers.evaluation.statistics import (
    DRAWS,
    LEVEL,
    Estimate,
    FloatArray,
    TestResult,
    bootstrap,
    mcnemar_exact,
    newcombe,
    paired_bootstrap,
    wilson,
)
from helpers.hints import nearest_and_all

TEXT_METRICS = ("bleu", "bleu1", "bleu4", "rouge1", "rouge2", "rougeL", "meteor", "cosine")
CHOICE_METRICS = ("accuracy", "macro_f1", "valid_rate")
# Everything that a run may record, in the order of its tables; the last ones are scored where they are defined.
METRICS = (
    "perplexity", *CHOICE_METRICS, *TEXT_METRICS, "clip_score", "slot_accuracy", "harmonic_mean", "auc",
)  # fmt: skip
PROPORTIONS = frozenset({"accuracy", "valid_rate"})


@dataclass(frozen=True, eq=False)
class Part:
    """One metric of one system.

    Attributes:
        stats: (n, k) sufficient statistics, row i about example i.
        per_example: (n,) values; None where a single example has none (macro_f1).
        n: examples that count (rows; for perplexity, rows with at least one token).
        key: fingerprint of what was scored against; two systems compare only if it agrees.
        note: how it was computed, where that may differ between machines.
    """

    metric: str
    stats: FloatArray
    per_example: FloatArray | None
    n: int
    key: str
    note: str = ""


class Scores:
    """Metrics of one system. ``a | b`` joins two groups, such as text scores and perplexity."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts: dict[str, Part] = {p.metric: p for p in parts}

    def __or__(self, other: Scores) -> Scores:
        return Scores({**self.parts, **other.parts}.values())

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.parts)

    @property
    def per_example(self) -> dict[str, FloatArray]:
        """Metric → (n,) values of single examples; perplexity is NaN where no token was scored.

        BLEU's are sentence scores: their mean is not corpus BLEU.
        """
        return {m: p.per_example for m, p in self.parts.items() if p.per_example is not None}

    @property
    def notes(self) -> dict[str, str]:
        """Metric → how it was computed, for the run's record."""
        return {m: p.note for m, p in self.parts.items() if p.note}

    def value(self, metric: str) -> float:
        """The metric without an interval."""
        return float(aggregate(metric)(self.parts[metric].stats.sum(axis=0, keepdims=True))[0])

    def estimates(self, seed: int = 0, level: float = LEVEL, draws: int = DRAWS) -> dict[str, Estimate]:
        """Every metric with its interval: Wilson for proportions, percentile bootstrap otherwise."""
        return {
            metric: wilson(int(part.stats[:, 0].sum()), part.n, level)
            if metric in PROPORTIONS
            else replace(bootstrap(part.stats, aggregate(metric), level, draws, seed), n=part.n)
            for metric, part in self.parts.items()
        }


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    names: Sequence[str] | None = None,
    embedder: Embedder | None = None,
) -> Scores:
    """Score generated texts against one reference each.

    Args:
        names: of TEXT_METRICS; by default BLEU, ROUGE and METEOR, and cosine if there is an embedder.
        embedder: from ``get_embedder``; needed for cosine only.

    Raises:
        DataError: no texts, lengths differ, or an entry is not a string.
        ParameterError: unknown metric, or cosine without an embedder.
    """
    if names is None:
        names = ("bleu", "rouge1", "rouge2", "rougeL", "meteor", *(("cosine",) if embedder else ()))
    for name in names:
        _check_name(name, TEXT_METRICS)
    if embedder is None and "cosine" in names:
        raise ParameterError("cosine needs an embedder", "Pass embedder=get_embedder('minilm')")
    predictions, references = list(predictions), list(references)
    _check_lengths(len(predictions), len(references))
    for what, texts in (("prediction", predictions), ("reference", references)):
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"{what} {i} is {type(text).__name__}, not text", "Use '' for no answer")
    key, parts = _fingerprint(references), []

    def add_means(metric: str, values: FloatArray, note: str = "") -> None:
        parts.append(Part(metric, with_count(values), values, len(values), key, note))

    if bleu_names := [m for m in names if m.startswith("bleu")]:
        stats = text_stats.bleu_stats(predictions, references)
        for name in bleu_names:
            order = 1 if name == "bleu1" else MAX_ORDER
            sentence = bleu_from_stats(stats, order, effective_order=True)
            parts.append(Part(name, stats, sentence, len(stats), key))
    if rouge_names := [m for m in names if m.startswith("rouge")]:
        for name, values in text_stats.rouge_scores(predictions, references, rouge_names).items():
            add_means(name, values)
    if "meteor" in names:
        how = "exact, stem and WordNet matches" if text_stats.meteor_synonyms() else "exact and stem matches"
        add_means("meteor", text_stats.meteor_scores(predictions, references), how)
    if embedder and "cosine" in names:
        product = (embedder(predictions) * embedder(references)).sum(axis=1, dtype=np.float64)
        empty = np.array([not p.strip() for p in predictions])
        add_means("cosine", np.where(empty, 0.0, np.clip(product, 0.0, 1.0)), f"{embedder.name} embeddings")
    return Scores(sorted(parts, key=lambda p: list(names).index(p.metric)))


def score_choices(predicted: ArrayLike, gold: ArrayLike, n_classes: int | None = None) -> Scores:
    """Score chosen options.

    Args:
        predicted: (n,) indices; −1 (any negative) where the answer could not be read as an option.
        gold: (n,) indices ≥ 0.
        n_classes: number of options; by default the highest index seen + 1.

    Raises:
        DataError: no examples, lengths differ, or indices that are not integers or out of range.
    """
    p, g = _as_indices(predicted, "predicted"), _as_indices(gold, "gold")
    _check_lengths(len(p), len(g))
    top = int(max(p.max(), g.max()))
    classes = top + 1 if n_classes is None else n_classes
    if g.min() < 0 or top >= classes:
        raise DataError(f"Option indices run from {g.min()} to {top}, not 0 to {classes - 1}")
    correct, valid = (p == g).astype(np.float64), (p >= 0).astype(np.float64)
    counts = np.zeros((len(p), classes, 3))
    rows = np.arange(len(p))
    counts[rows, g, 0] = correct
    counts[rows[p >= 0], p[p >= 0], 1] = 1
    counts[rows, g, 2] = 1
    key = _fingerprint([str(i) for i in g])
    return Scores(
        [
            Part("accuracy", with_count(correct), correct, len(p), key),
            Part("macro_f1", counts.reshape(len(p), -1), None, len(p), key),
            Part("valid_rate", with_count(valid), valid, len(p), key),
        ]
    )


def score_values(metric: str, values: ArrayLike, references: Sequence[str]) -> Scores:
    """Scores of a metric that is the mean of a value for each example, such as the slots that a caption has right.

    Args:
        values: (n,) finite numbers.
        references: what was scored against; two systems compare only if it is the same.
    """
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    _check_lengths(len(found), len(references))
    if not np.isfinite(found).all():
        raise DataError(f"{metric} has values that are not finite", "Score an answer that cannot be judged as 0")
    return Scores([Part(metric, with_count(found), found, len(found), _fingerprint(list(references)))])


def score_nll(nll_sums: ArrayLike, token_counts: ArrayLike) -> Scores:
    """Perplexity from per-example sums of negative log-likelihood (nats) and numbers of scored tokens.

    An example without a scored token (its completion was cut off) adds nothing; ``notes`` counts them.

    Raises:
        DataError: no tokens, lengths differ, NaN or infinite sums, negative counts.
    """
    nll = np.asarray(nll_sums, dtype=np.float64).reshape(-1)
    tokens = np.asarray(token_counts, dtype=np.float64).reshape(-1)
    _check_lengths(len(nll), len(tokens))
    if bad := int((~np.isfinite(nll)).sum()):
        raise DataError(
            f"{bad} of {len(nll)} log-likelihoods are NaN or infinite", "Load the model in float32 or bfloat16"
        )
    if not np.isfinite(tokens).all() or tokens.min() < 0 or not tokens.any():
        raise DataError("No token was scored", "Raise max_length so that completions are not cut off")
    stats = np.stack([nll, tokens], axis=1)
    missing = int((tokens == 0).sum())
    note = f"{missing} of {len(nll)} examples had no scored token" if missing else ""
    key = _fingerprint([str(int(t)) for t in tokens])
    return Scores([Part("perplexity", stats, perplexity_from_stats(stats), len(nll) - missing, key, note)])


def compare(
    a: Scores,
    b: Scores,
    name_a: str,
    name_b: str,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> list[TestResult]:
    """Paired tests of two systems on the same examples; ``difference`` = ``a`` − ``b``.

    Proportions (accuracy, valid_rate): exact McNemar test with Newcombe's paired interval. Everything
    else: paired bootstrap. p-values are not adjusted for the number of tests; see ``holm``.

    Args:
        metrics: by default those that both systems have.

    Raises:
        DataError: the systems were not scored on the same examples, or in the same way.
        ParameterError: a metric that one of them lacks.
    """
    chosen = [m for m in a.metrics if m in b.parts] if metrics is None else list(metrics)
    results = []
    for metric in chosen:
        for scores in (a, b):
            _check_name(metric, scores.metrics)
        x, y = a.parts[metric], b.parts[metric]
        if x.key != y.key or len(x.stats) != len(y.stats):
            what = "tokens" if metric == "perplexity" else "examples"
            raise DataError(f"{metric} of {name_a} and {name_b} is not about the same {what}: no paired test")
        if x.note != y.note:
            raise DataError(f"{metric} of {name_a} ({x.note}) and {name_b} ({y.note}) do not compare")
        if metric in PROPORTIONS:
            difference, low, high = newcombe(x.stats[:, 0], y.stats[:, 0], level)
            p, test = mcnemar_exact(x.stats[:, 0], y.stats[:, 0]).p_value, "exact McNemar"
        else:
            # One system may have chosen a class that the other never did: pad macro_f1's columns.
            width = max(x.stats.shape[1], y.stats.shape[1])
            sx, sy = (np.pad(s, ((0, 0), (0, width - s.shape[1]))) for s in (x.stats, y.stats))
            difference, low, high, p = paired_bootstrap(sx, sy, aggregate(metric), level, draws, seed)
            test = f"paired bootstrap, {draws} draws"
        results.append(TestResult(name_a, name_b, metric, difference, low, high, p, test))
    return results


def _fingerprint(texts: Sequence[str]) -> str:
    return hashlib.sha256("\x1e".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _as_indices(values: ArrayLike, what: str) -> np.ndarray:
    data = np.asarray(values).reshape(-1)
    if data.size and not np.issubdtype(data.dtype, np.integer):
        raise DataError(f"{what} choices must be integer indices, got {data.dtype}")
    return data


def _check_lengths(n: int, m: int) -> None:
    if n != m or not n:
        raise DataError(f"{n} predictions for {m} references", "Give one prediction per reference")


def _check_name(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ParameterError(f"there is no metric {name!r}", nearest_and_all(name, known, "metric"))
