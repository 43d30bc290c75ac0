"""Metrics, intervals and paired tests. ``hf`` (evaluate.Metric classes) is imported only when asked for."""

from helpers.evaluation.embeddings import EMBEDDERS, Embedder, get_embedder
from helpers.evaluation.metrics import (
    CHOICE_METRICS,
    METRICS,
    TEXT_METRICS,
    Scores,
    compare,
    score_choices,
    score_nll,
    score_texts,
    score_values,
)
from helpers.evaluation.statistics import (
    Estimate,
    TestResult,
    bootstrap,
    difference_of_draws,
    holm,
    mcnemar_exact,
    newcombe,
    paired_bootstrap,
    wilson,
)

__all__ = [
    "CHOICE_METRICS",
    "EMBEDDERS",
    "METRICS",
    "TEXT_METRICS",
    "Embedder",
    "Estimate",
    "Scores",
    "TestResult",
    "bootstrap",
    "compare",
    "difference_of_draws",
    "get_embedder",
    "holm",
    "mcnemar_exact",
    "newcombe",
    "paired_bootstrap",
    "score_choices",
    "score_nll",
    "score_texts",
    "score_values",
    "wilson",
]
