"""The course's metrics as ``evaluate.Metric`` classes, for code that speaks that interface.

``evaluate.load("bleu")`` fetches a script from the Hub; ``load("bleu")`` here fetches nothing. Importing
this module imports ``evaluate``, which takes seconds: import it only where it is used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from helpers.errors import ParameterError
from helpers.evaluation.embeddings import Embedder
from helpers.evaluation.metrics import (
    CHOICE_METRICS,
    TEXT_METRICS,
    Scores,
    score_choices,
    score_nll,
    score_texts,
)


class LabMetric(evaluate.Metric):
    """Base: one metric, named by ``config_name``; ``compute`` returns ``{name: value}``.

    ``compute(..., interval=True, seed=0)`` adds ``<name>_low`` and ``<name>_high``, the 95 % interval.
    """

    prediction_type = "string"
    reference_type = "string"
    inputs = "predictions and references: lists of texts."

    def __init__(self, config_name: str, **kwargs: Any) -> None:
        # In memory, and its obligatory folder in the temp directory: works where the home is read-only,
        # and two processes never wait for one another's lock.
        self._folder = tempfile.TemporaryDirectory(prefix="peft-lab-metric-")
        kwargs = {"keep_in_memory": True, "cache_dir": self._folder.name, **kwargs}
        super().__init__(config_name=config_name, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"{self.config_name}, as defined in helpers.evaluation.metrics",
            citation="",
            inputs_description=self.inputs,
            features=datasets.Features(
                {
                    "predictions": datasets.Value(self.prediction_type),
                    "references": datasets.Value(self.reference_type),
                }
            ),
        )

    def _score(self, predictions: Sequence[Any], references: Sequence[Any], **options: Any) -> Scores:
        raise NotImplementedError

    def _compute(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        interval: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> dict[str, float]:
        scores, name = self._score(predictions, references, **options), self.config_name
        if not interval:
            return {name: scores.value(name)}
        found = scores.estimates(seed)[name]
        return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


class TextMetric(LabMetric):
    """BLEU, ROUGE, METEOR and cosine; cosine takes ``compute(..., embedder=get_embedder(...))``."""

    def _score(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        embedder: Embedder | None = None,
        **options: Any,
    ) -> Scores:
        return score_texts(predictions, references, [self.config_name], embedder)


class ChoiceMetric(LabMetric):
    """accuracy, macro_f1, valid_rate over option indices; −1 marks an unreadable answer."""

    prediction_type = "int64"
    reference_type = "int64"
    inputs = "predictions: option indices, -1 for an unreadable answer. references: option indices."

    def _score(self, predictions: Sequence[Any], references: Sequence[Any], **options: Any) -> Scores:
        scores = score_choices(predictions, references, options.get("n_classes"))
        return Scores([scores.parts[self.config_name]])


class Perplexity(LabMetric):
    """``predictions``: summed negative log-likelihoods in nats; ``references``: numbers of tokens."""

    prediction_type = "float64"
    reference_type = "int64"
    inputs = "predictions: summed negative log-likelihood of each text, nats. references: token counts."

    def _score(self, predictions: Sequence[Any], references: Sequence[Any], **options: Any) -> Scores:
        return score_nll(predictions, references)


def load(name: str) -> LabMetric:
    """The metric of that name, without a network.

    Raises:
        ParameterError: unknown name.
    """
    if name in TEXT_METRICS:
        return TextMetric(name)
    if name in CHOICE_METRICS:
        return ChoiceMetric(name)
    if name == "perplexity":
        return Perplexity(name)
    raise ParameterError(f"Metric {name!r} is not one of {', '.join((*CHOICE_METRICS, 'perplexity', *TEXT_METRICS))}")
