"""Prefixes of every kind: parameter counts, saving, refusals, and the course's own functions on a wrapped model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prefix_cases import CASES, SIZES, TEXT, Case
from transformers import (
    BertConfig,
    BertModel,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from helpers import inference, models
from helpers.adapters.prefix import EmbeddingPrefix, KeyValuePrefix, Prefix, load_prefix, wrap_prefix
from helpers.errors import ModelError

each_family = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
OWN = ["embedding", "key_value"]


@each_family
@pytest.mark.parametrize("n_tokens", [1, 6])
def test_parameter_counts_follow_from_the_architecture(case: Case, n_tokens: int) -> None:
    model = case.model()
    text = model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    per_token = 2 * text.num_hidden_layers * heads * size
    assert counted(KeyValuePrefix(model, n_tokens)) == n_tokens * per_token
    assert counted(EmbeddingPrefix(model, n_tokens)) == n_tokens * text.hidden_size
    for kind, width in ((KeyValuePrefix, per_token), (EmbeddingPrefix, text.hidden_size)):
        network = n_tokens * 16 + 16 * 16 + 16 + 16 * width + width
        assert counted(kind(model, n_tokens, hidden=16)) == network
        assert counted(kind(model, n_tokens, hidden=16).merge()) == n_tokens * width
    total = sum(p.numel() for p in model.parameters())
    assert models.count_parameters(KeyValuePrefix(model, n_tokens)).total == total + n_tokens * per_token


def counted(wrapped: Prefix) -> int:
    assert models.count_parameters(wrapped).trainable == sum(p.numel() for p in wrapped.trainable_parameters())
    return models.count_parameters(wrapped).trainable


@pytest.mark.parametrize("kind", OWN)
def test_generating_computes_the_prefix_once_a_call(kind: str) -> None:
    case = CASES[4]
    wrapped = wrap_prefix(case.model(), kind, n_tokens=3, hidden=8)
    calls: list[int] = []
    wrapped.encoder.register_forward_hook(lambda *_: calls.append(1))
    for turn in (1, 2):
        wrapped.generate(**case.batch([0, 1, 2]), max_new_tokens=9, do_sample=False)
        assert len(calls) == turn


@each_family
@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("hidden", [None, 16])
@pytest.mark.parametrize("init", ["random", TEXT], ids=["random", "text"])
def test_it_is_saved_and_loaded(case: Case, kind: str, hidden: int | None, init: Any, tmp_path: Path) -> None:
    wrapped = wrap_prefix(case.model(), kind, n_tokens=5, hidden=hidden, init=init)
    inputs = case.batch([0, 1, 2])
    folder = wrapped.save(tmp_path / "prefix")
    assert sorted(p.name for p in folder.iterdir()) == ["prefix.json", "prefix.safetensors"]
    again = load_prefix(case.model(), folder)
    with torch.no_grad():
        before = wrapped(**inputs).logits
        assert torch.equal(again(**inputs).logits, before)
        merged = load_prefix(case.model(), wrapped.merge().save(tmp_path / "merged"))
        assert torch.allclose(merged(**inputs).logits, before, atol=1e-5)
    assert json.loads((tmp_path / "merged" / "prefix.json").read_text())["settings"] == {"n_tokens": 5, "hidden": None}


def test_a_prefix_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = KeyValuePrefix(CASES[0].model(), 4).save(tmp_path / "prefix")
    with pytest.raises(ModelError, match="architecture LlamaForCausalLM ≠ PhiForCausalLM.*load the model it was"):
        load_prefix(CASES[1].model(), folder)
    other = CASES[0].model()
    other.config.num_key_value_heads = 4
    with pytest.raises(ModelError, match="trained on another model: num_key_value_heads 2 ≠ 4"):
        load_prefix(other, folder)
    with pytest.raises(ModelError, match="there is no prefix in"):
        load_prefix(CASES[0].model(), tmp_path / "nothing")
    (folder / "prefix.safetensors").unlink()
    with pytest.raises(ModelError, match="prefix.safetensors missing"):
        load_prefix(CASES[0].model(), folder)


def test_weights_of_another_prefix_are_refused() -> None:
    wrapped = KeyValuePrefix(CASES[0].model(), 4)
    with pytest.raises(ModelError, match="encoder.values differ"):
        wrapped.load_state_dict(KeyValuePrefix(CASES[0].model(), 3).state_dict(), strict=False)
    with pytest.raises(ModelError, match="encoder.inputs, .*encoder.values differ"):
        wrapped.load_state_dict(KeyValuePrefix(CASES[0].model(), 4, hidden=8).state_dict())


@pytest.mark.parametrize("kind", OWN)
def test_models_that_cannot_take_a_prefix_are_refused(kind: str) -> None:
    with pytest.raises(ModelError, match="a Linear cannot take a prefix"):
        wrap_prefix(torch.nn.Linear(2, 2), kind, n_tokens=2)
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
    with pytest.raises(ModelError, match="a T5ForConditionalGeneration cannot"):
        wrap_prefix(T5ForConditionalGeneration(T5Config(**small)), kind, n_tokens=2)
    with pytest.raises(ModelError, match="no language model head"):
        wrap_prefix(LlamaForSequenceClassification(CASES[0].model().config), kind, n_tokens=2)
    with pytest.raises(ModelError, match="no language model head"):
        wrap_prefix(BertModel(BertConfig(**SIZES, intermediate_size=32)), kind, n_tokens=2)
    with pytest.raises(ModelError, match="cannot take a prefix"):
        wrap_prefix(wrap_prefix(CASES[0].model(), kind, n_tokens=2), kind, n_tokens=2)


def test_layers_that_see_a_window_only_are_refused() -> None:
    window = MistralConfig(**SIZES, intermediate_size=32, num_key_value_heads=2, sliding_window=8)
    for kind in ("key_value", "peft"):
        with pytest.raises(ModelError, match="do not keep every token \\(DynamicSlidingWindowLayer\\)"):
            wrap_prefix(MistralForCausalLM(window), kind, n_tokens=2)
    model = CASES[0].model()
    wrapped = KeyValuePrefix(model, 2)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="attention 'flash_attention_2' cannot see a prefix"):
        wrapped(**CASES[0].batch([0]))


@pytest.mark.parametrize("kind", OWN)
def test_settings_that_make_no_prefix_are_refused(kind: str) -> None:
    model = CASES[0].model()
    for settings, message in (
        ({"n_tokens": 64}, "64 tokens leaves no room in a context of 64"),
        ({"n_tokens": -1}, "leaves no room"),
        ({"n_tokens": 3, "init": TEXT}, "init has 5 tokens and n_tokens is 3"),
        ({"n_tokens": 3, "init": "normal"}, "init='normal' is not known.*'random', 'zeros' or the token ids"),
        ({}, "length of the prefix is not given"),
    ):
        with pytest.raises(ModelError, match=message):
            wrap_prefix(model, kind, **settings)
    with pytest.raises(ModelError, match="no prefix of kind 'lora'.*embedding, key_value, peft"):
        wrap_prefix(model, "lora", n_tokens=2)


@pytest.mark.parametrize("kind", OWN)
def test_a_table_of_positions_ends_with_one_clear_error(kind: str) -> None:
    model = CASES[2].model()  # 64 learned positions
    wrapped = wrap_prefix(model, kind, n_tokens=10)
    ids = torch.arange(54)[None] + 2
    with torch.no_grad():
        assert wrapped(input_ids=ids).logits.shape[1] == 54
        with pytest.raises(ModelError, match="55 tokens and a prefix of 10 do not fit into a context of 64"):
            wrapped(input_ids=torch.cat([ids, ids[:, :1]], dim=1))
    padded = torch.cat([torch.zeros(1, 20, dtype=torch.long), ids[:, :50]], dim=1)
    mask = (torch.arange(70) >= 20).long()[None]
    assert wrapped.generate(padded, attention_mask=mask, max_new_tokens=5).shape[1] == 75
    with pytest.raises(ModelError, match="55 tokens and a prefix"):
        wrapped.generate(padded, attention_mask=mask, max_new_tokens=6)


QUESTIONS = ["Say something.", "Repeat:\n- the soup is warm.", "Choose one:\n- salt\n- red onion\n- cream", "Hello"]
ANSWERS = [["the pan is hot.", "a"], ["1. the soup is warm."], ["red onion", "salt", "x"], ["hello you", "b c d"]]


@pytest.fixture(scope="module", params=["none", "nf4"])
def loaded(request: pytest.FixtureRequest) -> models.LoadedModel:
    return models.load("tiny/llama", quant=request.param, dtype="float32")


@pytest.mark.parametrize("kind", OWN)
def test_the_courses_functions_see_the_text_in_front(loaded: models.LoadedModel, kind: str) -> None:
    model, tokenizer = loaded.model, loaded.tokenizer
    text = tokenizer("a long list of butter, flour and milk. the dog runs.")["input_ids"]
    wrapped: Any = wrap_prefix(model, kind, init=text)
    prompts = [[{"role": "user", "content": q}] for q in QUESTIONS]
    conversations = [
        {"prompt": p, "completion": [{"role": "assistant", "content": a[0]}]}
        for p, a in zip(prompts, ANSWERS, strict=True)
    ]

    def after_text(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=torch.tensor([text + ids])).logits[0, len(text) :].double()

    def logp(prompt: list[dict[str, str]], answer: str) -> float:
        turn = {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}
        question, completion = inference.batching.encode(tokenizer, turn)
        scores = after_text(question + completion).log_softmax(-1)
        return sum(scores[len(question) - 1 + i, token].item() for i, token in enumerate(completion))

    encoded = [inference.batching.encode(tokenizer, c)[0] for c in conversations]
    expected = [
        tokenizer.decode(
            model.generate(torch.tensor([text + ids]), max_new_tokens=8, do_sample=False)[0, len(text) + len(ids) :],
            skip_special_tokens=True,
        ).strip()
        for ids in encoded
    ]
    assert inference.generate(wrapped, tokenizer, prompts, max_new_tokens=8, batch_size=3) == expected
    nll, _ = inference.completion_nll(wrapped, tokenizer, conversations, batch_size=3)
    assert np.allclose(nll, [-logp(p, a[0]) for p, a in zip(prompts, ANSWERS, strict=True)], atol=1e-4, rtol=1e-5)
    scores, _ = inference.score_options(wrapped, tokenizer, prompts, ANSWERS, batch_size=3)
    for prompt, answers, row in zip(prompts, ANSWERS, scores, strict=True):
        assert np.allclose(row, [logp(prompt, a) for a in answers], atol=1e-4, rtol=1e-5)
    words = [5, 9, 300]
    rows = inference.class_logits(wrapped, tokenizer, encoded, label_ids=words, batch_size=3)
    assert np.allclose(rows, [after_text(ids)[-1, words].numpy() for ids in encoded], atol=1e-4)
    plain = inference.class_logits(model, tokenizer, encoded, label_ids=words)
    assert np.abs(rows - plain).max() > 0.1
