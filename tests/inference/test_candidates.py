"""Likelihoods of many candidates against full forward passes, and exposures against a brute-force count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from helpers import inference, models
from helpers.errors import DataError
from helpers.evaluation import memorization
from helpers.inference import candidates
from helpers.inference.batching import encode


@pytest.fixture(scope="module", params=["none", "nf4"])
def loaded(request: pytest.FixtureRequest) -> models.LoadedModel:
    return models.load("tiny/llama", quant=request.param, dtype="float32")


PROMPTS = [[{"role": "user", "content": text}] for text in ("What is the number?", "Say it:\n- now", "How many?")]


def plain_logp(loaded: models.LoadedModel, prompt: list[dict[str, str]], text: str) -> float:
    """One whole forward pass; the end of turn is no part of it."""
    talk = {"prompt": prompt, "completion": [{"role": "assistant", "content": text}]}
    read, answer = encode(loaded.tokenizer, talk)
    answer = answer[:-1]
    with torch.no_grad():
        logp = loaded.model(input_ids=torch.tensor([read + answer])).logits[0].double().log_softmax(-1)
    return sum(logp[len(read) - 1 + i, token].item() for i, token in enumerate(answer))


@pytest.mark.parametrize("rows", [2, 128])
def test_equal_to_one_pass_for_each(loaded: models.LoadedModel, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "ROWS", rows)
    texts = ["481", "482", "4", "77", "red onion", "red", "x", "9"]  # of several lengths, some the start of others
    found = inference.candidate_logp(loaded.model, loaded.tokenizer, PROMPTS, texts)
    expected = [[plain_logp(loaded, prompt, text) for text in texts] for prompt in PROMPTS]
    assert found.shape == (3, 8) and np.allclose(found, expected, rtol=1e-4, atol=1e-4)
    alone = inference.candidate_logp(loaded.model, loaded.tokenizer, PROMPTS[1:2], texts[2:3])
    assert alone[0, 0] == pytest.approx(found[1, 2], abs=1e-4)


def test_nothing_to_score(loaded: models.LoadedModel) -> None:
    for none in ([], ["a", ""]):
        with pytest.raises(DataError, match="no candidates"):
            inference.candidate_logp(loaded.model, loaded.tokenizer, PROMPTS, none)


def test_exposure_is_a_brute_force_count(loaded: models.LoadedModel) -> None:
    """All hundred numbers of two digits, each read on its own, counted one by one."""
    texts = [f"{a}{b}" for a in range(10) for b in range(10)]
    logp = inference.candidate_logp(loaded.model, loaded.tokenizer, PROMPTS[:1], texts)[0]
    plain = [plain_logp(loaded, PROMPTS[0], text) for text in texts]
    for secret in range(0, 100, 9):
        rank = 0
        for other in plain:
            if other >= plain[secret] - 1e-9:
                rank += 1
        assert memorization.exposure(logp, secret) == pytest.approx(math.log2(100 / rank))
