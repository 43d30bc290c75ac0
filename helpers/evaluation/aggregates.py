"""From summed statistics to metrics: every function maps (m, k) column sums to (m,) values at once."""

from __future__ import annotations

import numpy as np

from helpers.evaluation.statistics import Aggregate, FloatArray

MAX_ORDER = 4  # of n-grams in BLEU


def with_count(values: FloatArray) -> FloatArray:
    """(n,) scores → (n, 2) statistics of their mean: the score and 1."""
    return np.stack([values, np.ones_like(values)], axis=1)


def mean_from_stats(stats: FloatArray) -> FloatArray:
    """(m, 2) sums of score and of 1 → their ratio (m,)."""
    return stats[:, 0] / stats[:, 1]


def perplexity_from_stats(stats: FloatArray) -> FloatArray:
    """(m, 2) sums of negative log-likelihood (nats) and of tokens → (m,); NaN without tokens."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(stats[:, 1] > 0, np.exp(stats[:, 0] / stats[:, 1]), np.nan)


def macro_f1_from_stats(stats: FloatArray) -> FloatArray:
    """(m, 3·classes) sums of (hit, predicted, gold) class after class → (m,).

    F1 = 2·hits / (predicted + gold). A class that neither occurs nor is predicted is left out.
    """
    hit, predicted, gold = np.moveaxis(stats.reshape(len(stats), -1, 3), 2, 0)
    seen = (predicted + gold) > 0
    f1 = np.divide(2 * hit, predicted + gold, out=np.zeros_like(hit), where=seen)
    return f1.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def bleu_from_stats(stats: FloatArray, order: int = MAX_ORDER, effective_order: bool = False) -> FloatArray:
    """BLEU on 0–1 for each row of summed statistics (m, 10): sacrebleu's formula, over all rows at once.

    Brevity penalty times the geometric mean of the n-gram precisions up to ``order``; a precision without
    a match is smoothed to 1 / (2^k × count) at its k-th occurrence (sacrebleu's default, "exp").

    Args:
        effective_order: average only over orders the prediction is long enough for (sentence scores).
    """
    system, reference = stats[:, 0], stats[:, 1]
    correct, total = stats[:, 2 : 2 + order], stats[:, 2 + MAX_ORDER : 2 + MAX_ORDER + order]
    halvings = np.cumsum((correct == 0) & (total > 0), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(correct > 0, correct, 0.5**halvings) / total
        log_precision = np.where(total > 0, np.log(precision), 0.0)
        brevity = np.where(system < reference, np.exp(1 - reference / system), 1.0)
    used = (total > 0).sum(axis=1)
    mean = log_precision.sum(axis=1) / np.maximum(used if effective_order else order, 1)
    defined = correct.any(axis=1) & (system > 0)
    if not effective_order:
        defined &= used == order
    return np.where(defined, brevity * np.exp(mean), 0.0)


def bleu1_from_stats(stats: FloatArray) -> FloatArray:
    return bleu_from_stats(stats, order=1)


_AGGREGATES: dict[str, Aggregate] = {
    "macro_f1": macro_f1_from_stats,
    "perplexity": perplexity_from_stats,
    "bleu": bleu_from_stats,
    "bleu4": bleu_from_stats,
    "bleu1": bleu1_from_stats,
}


def aggregate(metric: str) -> Aggregate:
    """The function from summed statistics (m, k) to values (m,)."""
    return _AGGREGATES.get(metric, mean_from_stats)
