"""Metrics, intervals and paired tests. ``hf`` (evaluate.Metric classes) is imported only when asked for."""

from helpers.evaluation.embeddings import get_embedder
from helpers.evaluation.intervals import Estimate, wilson
from helpers.evaluation.metrics import compare, score_choices, score_nll, score_texts, score_values
from helpers.evaluation.statistics import TestResult, difference_of_draws, holm
