"""A model that cannot tell two words apart has no gap between them; one that can, has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from helpers import inference, models
from helpers.evaluation import counterfactuals


@pytest.fixture(scope="module")
def loaded() -> models.LoadedModel:
    return models.load("tiny/llama", dtype="float32")


def pieces(loaded: models.LoadedModel, text: str) -> list[int]:
    return list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def made_alike(loaded: models.LoadedModel, pairs: list[tuple[list[int], list[int]]]) -> Any:
    """A copy of the model in which the two tokens at each place of a pair are read and written alike."""
    model = models.load("tiny/llama", dtype="float32").model
    read, write = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        for a, b in pairs:
            for x, y in zip(a, b, strict=True):
                read[y] = read[x]
                write[y] = write[x]
    return model


def gaps(model: Any, loaded: models.LoadedModel, options: list[list[str]]) -> np.ndarray:
    prompts = [[{"role": "user", "content": one.question}] for one in counterfactuals.who_cooks()[: len(options)]]
    logp, _ = inference.score_options(model, loaded.tokenizer, prompts, options)
    return np.array([row[0] - row[1] for row in logp])


def test_gap_in_likelihood(loaded: models.LoadedModel) -> None:
    woman, man = pieces(loaded, " woman"), pieces(loaded, " man")
    assert len(woman) == len(man) and woman != man
    options = [one.options[:2] for one in counterfactuals.who_cooks()[:4]]
    assert np.abs(gaps(loaded.model, loaded, options)).min() > 1e-3, "the model tells them apart"
    symmetric = made_alike(loaded, [(woman, man)])
    assert np.abs(gaps(symmetric, loaded, options)).max() < 1e-5


def test_gap_and_answers_between_names(loaded: models.LoadedModel) -> None:
    """Two names of as many tokens, none of them shared at a place: the right answer is as likely for both."""
    names = sum(counterfactuals.NAMES.values(), [])
    a, b = next(
        (x, y)
        for x in names
        for y in names
        if x != y and len(pieces(loaded, f" {x}")) == len(pieces(loaded, f" {y}"))
        and not set(pieces(loaded, f" {x}")) & set(pieces(loaded, f" {y}"))
    )  # fmt: skip
    symmetric = made_alike(loaded, [(pieces(loaded, f" {a}"), pieces(loaded, f" {b}"))])
    options = [["salt", "leek", "cream", "red onion"]] * 3

    def scored(model: Any, name: str) -> np.ndarray:
        prompts = [[{"role": "user", "content": f"My name is {name}.\n\nQuestion {i}?"}] for i in range(3)]
        return np.array(inference.score_options(model, loaded.tokenizer, prompts, options)[0])

    assert np.abs(scored(loaded.model, a) - scored(loaded.model, b)).max() > 1e-3
    first, second = scored(symmetric, a), scored(symmetric, b)
    assert np.abs(first - second).max() < 1e-5 and (first.argmax(1) == second.argmax(1)).all()
