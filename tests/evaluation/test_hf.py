"""The metrics behind the interface of evaluate.Metric."""

from __future__ import annotations

import socket

import pytest
from text_cases import random_pairs

from helpers.errors import ParameterError
from helpers.evaluation.metrics import (
    CHOICE_METRICS,
    TEXT_METRICS,
    score_choices,
    score_nll,
    score_texts,
)

PREDICTIONS, REFERENCES = random_pairs()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a metric tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_evaluate_metrics_equal_ours(no_network: None) -> None:
    import evaluate

    from helpers.evaluation import hf
    from helpers.evaluation.embeddings import get_embedder

    embedder = get_embedder("hashing")
    texts = score_texts(PREDICTIONS, REFERENCES, TEXT_METRICS, embedder)
    choices = score_choices([0, 1, 2, -1], [0, 1, 1, 2])
    nll = score_nll([3.0, 4.0], [2, 3])
    inputs = {
        **dict.fromkeys(texts.metrics, ((PREDICTIONS, REFERENCES), texts)),
        **{m: (([0, 1, 2, -1], [0, 1, 1, 2]), choices) for m in choices.metrics},
        "perplexity": (([3.0, 4.0], [2, 3]), nll),
    }
    assert set(inputs) == {*CHOICE_METRICS, "perplexity", *TEXT_METRICS}
    for name, ((predictions, references), ours) in inputs.items():
        metric = hf.load(name)
        assert isinstance(metric, evaluate.Metric)
        extra = {"embedder": embedder} if name == "cosine" else {}
        assert metric.compute(predictions=predictions, references=references, **extra) == {
            name: pytest.approx(ours.value(name))
        }
    with pytest.raises(ParameterError):
        hf.load("f1")


def test_evaluate_metrics_take_batches() -> None:
    from helpers.evaluation import hf

    metric = hf.load("bleu")
    for start in range(0, 200, 50):
        metric.add_batch(predictions=PREDICTIONS[start : start + 50], references=REFERENCES[start : start + 50])
    expected = score_texts(PREDICTIONS, REFERENCES, ["bleu"]).value("bleu")
    assert metric.compute() == {"bleu": pytest.approx(expected)}
