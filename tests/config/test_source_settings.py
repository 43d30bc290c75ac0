"""Settings of own data: protocol, splits, columns and labels."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.config import settings
from helpers.errors import ParameterError


class Facts:
    """A machine without a GPU."""

    device = "cpu"
    gpu_memory_gb = 0.0


def test_a_published_protocol_sets_data_and_sizes() -> None:
    cfg = settings.resolve("03_qlora_nli", {"profile": "cpu", "protocol": "published"}, Facts())
    assert (cfg.dataset, cfg.n_train, cfg.n_eval) == ("stanfordnlp/snli", 1000, 100)
    assert cfg.source.protocol == "published" and cfg.source == "stanfordnlp/snli"
    assert cfg.origins["n_train"] == "protocol of Project E"


@pytest.mark.parametrize(
    ("notebook", "given", "message"),
    [
        ("03_qlora_nli", {"n_train": 300}, "n_train = 300 is given, but the protocol of Project E sets it"),
        ("04_qlora_instruct", {}, "task 'recipes' has no published protocol"),
        ("03_qlora_nli", {"splits": "random"}, "starts from official splits"),
    ],
)
def test_what_does_not_fit_a_protocol_is_refused(notebook: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        settings.resolve(notebook, {"profile": "smoke", "protocol": "published", **given}, Facts())


def test_columns_and_labels_are_pairs() -> None:
    given = {"profile": "smoke", "columns": "premise=a, hypothesis=b", "labels": "1=entailment"}
    cfg = settings.resolve("03_qlora_nli", given, Facts())
    assert cfg.source.columns == {"premise": "a", "hypothesis": "b"} and cfg.source.labels == {"1": "entailment"}
    with pytest.raises(ParameterError, match="'premise' is no pair"):
        settings.resolve("03_qlora_nli", given | {"columns": "premise"}, Facts())
