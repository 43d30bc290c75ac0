"""Gradients against autograd of the model's own loss, and against what a step of training really does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from trainer_cases import conversations

from helpers import models
from helpers.errors import DataError
from helpers.training import influence
from helpers.training.trainers import completion_row


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return models.load_tokenizer("tiny/llama")


@pytest.fixture
def model() -> Any:
    """With an adapter whose B is not zero, so that both factors have gradients, and dropout, which is to be off."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(models.load("tiny/llama", dtype="float32").model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.mul_(0.3)
    return model.train()


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[dict[str, list[int]]]:
    return [completion_row(tokenizer, talk) for talk in conversations()[:8]]


def own_gradient(model: Any, row: dict[str, list[int]]) -> np.ndarray:
    """By the loss that transformers computes."""
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    loss = model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss
    parts = torch.autograd.grad(loss, trained)
    return torch.cat([part.flatten() for part in parts]).double().numpy()


def test_the_gradient_is_that_of_the_models_own_loss(model: Any, rows: list[Any]) -> None:
    expected = own_gradient(model, rows[2])
    model.train()
    found = influence.gradient(model, rows[2]).numpy()
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert model.training and all(p.grad is None for p in model.parameters()), "nothing is left behind"


def test_similarities_are_cosines(model: Any, rows: list[Any]) -> None:
    found = influence.similarities(model, rows[:5], rows[3:6])
    unit = [g / np.linalg.norm(g) for g in (own_gradient(model, row) for row in rows[:6])]
    expected = [[float(q @ z) for z in unit[:5]] for q in unit[3:6]]
    assert found.shape == (3, 5) and found == pytest.approx(np.array(expected), abs=1e-4)
    assert found[0, 3] == pytest.approx(1, abs=1e-5), "a row is most like itself"


def test_a_small_step_on_a_row_moves_the_query_as_the_gradients_say(model: Any, rows: list[Any]) -> None:
    """l(q) changes by −η ∇l(z)·∇l(q): what similarity of gradients means."""

    def loss(row: dict[str, list[int]]) -> float:
        model.eval()
        with torch.no_grad():
            ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
            return float(model(input_ids=ids, labels=labels).loss)

    query, before = rows[6], loss(rows[6])
    of_query, trained = influence.gradient(model, query), [p for p in model.parameters() if p.requires_grad]
    for row in rows[:3]:
        of_row = influence.gradient(model, row)
        step = 1e-3 / float(of_row.norm())
        parts = of_row.split([p.numel() for p in trained])
        with torch.no_grad():
            for p, part in zip(trained, parts, strict=True):
                p -= step * part.view_as(p)
        change = loss(query) - before
        with torch.no_grad():
            for p, part in zip(trained, parts, strict=True):
                p += step * part.view_as(p)
        assert change == pytest.approx(-step * float(of_row @ of_query), rel=0.05, abs=2e-6)


def test_rows_without_a_label_are_refused(model: Any, rows: list[Any]) -> None:
    bare = {"input_ids": rows[0]["input_ids"], "labels": [-100] * len(rows[0]["labels"])}
    with pytest.raises(DataError, match="there is no gradient"):
        influence.gradient(model, bare)
    frozen = models.load("tiny/llama", dtype="float32").model.requires_grad_(False)
    with pytest.raises(DataError, match="nothing is trained"):
        influence.gradient(frozen, rows[0])


def test_labels_stay_only_where_two_rows_differ() -> None:
    def made(ids: list[int]) -> dict[str, list[int]]:
        return {"input_ids": ids, "labels": [-100, *ids[1:]]}

    found = influence.difference(made([1, 2, 3, 8, 9]), made([1, 2, 4, 5, 8, 9]))
    assert found == {"input_ids": [1, 2, 3, 8, 9], "labels": [-100, -100, 3, -100, -100]}
    longer = influence.difference(made([1, 2, 4, 5, 8, 9]), made([1, 2, 3, 8, 9]))
    assert longer["labels"] == [-100, -100, 4, 5, -100, -100]
    doubled = influence.difference(made([1, 7, 7, 9]), made([1, 7, 9]))
    assert doubled["labels"] == [-100, -100, 7, -100], "one of two equal ids is more"
    with pytest.raises(DataError, match="equal"):
        influence.difference(made([1, 2]), made([1, 2]))
