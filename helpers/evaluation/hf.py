"""The course's metrics as ``evaluate.Metric`` classes, for code that speaks that interface; nothing is fetched.

Importing this module imports ``evaluate``, which takes seconds: import it only where it is used.
"""

from __future__ import annotations

import tempfile
from typing import Any

import datasets
import evaluate

from helpers.errors import ParameterError
from helpers.evaluation.metrics import CHOICE_METRICS, TEXT_METRICS, score_choices, score_nll, score_texts


class LabMetric(evaluate.Metric):
    """One metric, named by ``config_name``; ``compute`` returns ``{name: value}``.

    Text metrics take lists of texts, or of several references each, cosine also ``compute(..., embedder=...)``; choice
    metrics take option indices, −1 for an unreadable answer; perplexity takes summed negative log-likelihoods in nats
    as predictions and numbers of tokens as references.
    """

    def __init__(self, config_name: str, **kwargs: Any) -> None:
        # In memory, and its obligatory folder in the temp directory: works where the home is read-only,
        # and two processes never wait for one another's lock.
        self._folder = tempfile.TemporaryDirectory(prefix="peft-lab-metric-")
        kwargs = {"keep_in_memory": True, "cache_dir": self._folder.name, **kwargs}
        super().__init__(config_name=config_name, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        numbers = {"perplexity": ("float64", "int64"), **dict.fromkeys(CHOICE_METRICS, ("int64", "int64"))}
        types = numbers.get(self.config_name, ("string", "string"))
        columns = dict(zip(("predictions", "references"), map(datasets.Value, types), strict=True))
        features = [datasets.Features(columns)]
        if self.config_name in TEXT_METRICS:  # or several references each
            features.append(datasets.Features(columns | {"references": datasets.Sequence(datasets.Value("string"))}))
        about = f"{self.config_name}, as defined in helpers.evaluation.metrics"
        return evaluate.MetricInfo(about, "", features, inputs_description=self.__doc__ or "")

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        name = self.config_name
        if name in CHOICE_METRICS:
            scores = score_choices(predictions, references)
        elif name == "perplexity":
            scores = score_nll(predictions, references)
        else:
            scores = score_texts(predictions, references, [name], **options)
        return {name: scores.value(name)}


def load(name: str) -> LabMetric:
    """The metric of that name, without a network; ParameterError for another."""
    if name not in (known := (*CHOICE_METRICS, "perplexity", *TEXT_METRICS)):
        raise ParameterError(f"Metric {name!r} is not one of {', '.join(known)}")
    return LabMetric(name)
