"""Embedding prefixes: vectors that are a text's own embeddings do what the text in front does, to 1e-5."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from prefix_cases import CASES, IMAGE, PAD, TEXT, VOCABULARY, Case, real

from helpers.adapters.prefix import EmbeddingPrefix
from helpers.adapters.prefix.embedding import _ordinary_token
from helpers.errors import ModelError

CLOSE = {"atol": 1e-5, "rtol": 0}
each_family = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
each_side = pytest.mark.parametrize("side", ["left", "right"])


def prepended(case: Case, model: Any, index: int, suffix: int = 0) -> torch.Tensor:
    with torch.no_grad():
        return model(**case.batch([index], before=TEXT, suffix=suffix)).logits[0, len(TEXT) :]


@each_family
@each_side
def test_a_texts_embeddings_are_the_text_in_front(case: Case, side: str) -> None:
    model = case.model()
    wrapped = EmbeddingPrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2], side=side)
    with torch.no_grad():
        found = real(wrapped(**inputs).logits, inputs["attention_mask"])
        plain = real(model(**inputs).logits, inputs["attention_mask"])
    for index, logits in enumerate(found):
        assert torch.allclose(logits, prepended(case, model, index), **CLOSE)
        assert (logits - plain[index]).abs().max() > 0.05
    with torch.no_grad():
        assert torch.equal(real(model(**inputs).logits, inputs["attention_mask"])[0], plain[0])


@each_family
@pytest.mark.parametrize("tokens", [TEXT, TEXT[:1]], ids=len)
def test_greedy_answers_are_those_after_the_text(case: Case, tokens: list[int]) -> None:
    model = case.model()
    wrapped = EmbeddingPrefix(model, init=tokens)
    inputs = case.batch([0, 1, 2])
    before = inputs["input_ids"].shape[1]
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
    expected = [model.generate(**case.batch([i], before=tokens), **options)[0, -6:].tolist() for i in range(3)]
    for extra in ({}, {"use_cache": False}):
        output = wrapped.generate(**inputs, **options, **extra)
        assert output[:, before:].tolist() == expected
        assert torch.equal(output[:, :before], inputs["input_ids"])
    full = wrapped.generate(**inputs, max_length=before + 6, do_sample=False, return_dict_in_generate=True)
    assert full.sequences[:, before:].tolist() == expected


@each_family
def test_without_tokens_it_is_the_model(case: Case) -> None:
    model = case.model()
    inputs = case.batch([0, 1, 2])
    for hidden in (None, 8):
        wrapped = EmbeddingPrefix(model, 0, hidden=hidden)
        with torch.no_grad():
            assert torch.equal(wrapped(**inputs).logits, model(**inputs).logits)
        options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False}
        assert torch.equal(wrapped.generate(**inputs, **options), model.generate(**inputs, **options))


@each_family
@each_side
def test_labels_and_kept_logits_are_those_of_the_text_in_front(case: Case, side: str) -> None:
    model = case.model()
    wrapped = EmbeddingPrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2], side=side, suffix=2)
    labels = case.labels(inputs, 2)
    longer = case.batch([0, 1, 2], side=side, suffix=2, before=TEXT)
    width = inputs["input_ids"].shape[1]
    kept = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    kept[:, [1, width - 2]] = True
    with torch.no_grad():
        expected = model(**longer, labels=case.labels(longer, 2)).loss.item()
        output = wrapped(**inputs, labels=labels)
        assert output.loss.item() == pytest.approx(expected, abs=1e-5)
        assert output.logits.shape[1] == width
        assert torch.allclose(wrapped(**inputs, logits_to_keep=3).logits, output.logits[:, -3:], **CLOSE)
        some = torch.tensor([1, width - 2])
        assert torch.allclose(wrapped(**inputs, logits_to_keep=some).logits, output.logits[:, some], **CLOSE)
        assert torch.allclose(wrapped(**inputs, logits_to_keep=kept).logits, output.logits[kept], **CLOSE)
        states = wrapped(**inputs, output_hidden_states=True).hidden_states
    assert all(s.shape[1] == width for s in states)


@each_family
@pytest.mark.parametrize("positions", [True, False])
def test_a_cache_continues_and_its_rows_can_be_chosen(case: Case, positions: bool) -> None:
    model = case.model()
    wrapped = EmbeddingPrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2])
    mask = inputs["attention_mask"]
    start = 1 if case.name == "paligemma" else 0
    owner, more = torch.tensor([2, 0, 1, 0]), torch.tensor([[4, 44], [9, 17], [22, 3], [30, 31]])
    given: dict[str, Any] = {}
    if positions and case.name != "qwen2_vl":
        given = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0) + start}
    with torch.no_grad():
        cache = wrapped(**inputs, **given, use_cache=True).past_key_values
        cache.batch_select_indices(owner)
        places = mask.sum(1, keepdim=True)[owner] + torch.arange(2) + start
        if case.name == "qwen2_vl":
            given = {"position_ids": (places + model.model.rope_deltas[owner]).expand(3, -1, -1)}
        elif positions:
            given = {"position_ids": places}
        full = torch.cat([mask[owner], torch.ones_like(more)], dim=1)
        found = wrapped(input_ids=more, attention_mask=full, past_key_values=cache, use_cache=True, **given).logits
        for row, index in enumerate(owner.tolist()):
            alone: dict[str, Any] = dict(case.batch([index], before=TEXT))
            alone["input_ids"] = torch.cat([alone["input_ids"], more[row : row + 1]], dim=1)
            del alone["attention_mask"]
            if case.name == "paligemma":
                kinds = alone["token_type_ids"]
                alone["token_type_ids"] = torch.cat([kinds, kinds.new_ones(1, 2)], dim=1)
            if case.name == "qwen2_vl":
                alone["mm_token_type_ids"] = (alone["input_ids"] == IMAGE).int()
            assert torch.allclose(found[row], model(**alone).logits[0, -2:], **CLOSE)


@each_family
def test_input_embeddings_may_be_given_in_place_of_tokens(case: Case) -> None:
    model = case.model()
    wrapped = EmbeddingPrefix(model, init=TEXT)
    ids = torch.tensor([case.row(1)["ids"]])
    if case.pictures:
        ids = ids[:, ids[0] != IMAGE]
    with torch.no_grad():
        if case.name == "qwen2_vl":  # a picture before leaves its positions on the model
            wrapped(**case.batch([0, 2]))
        found = wrapped(inputs_embeds=model.get_input_embeddings()(ids)).logits
        expected = model(input_ids=torch.cat([torch.tensor([TEXT]), ids], dim=1)).logits[:, len(TEXT) :]
    assert torch.allclose(found, expected, **CLOSE)


@each_family
def test_merging_changes_no_output(case: Case) -> None:
    torch.manual_seed(3)
    wrapped = EmbeddingPrefix(case.model(), 4, hidden=16)
    inputs = case.batch([0, 1, 2], suffix=2)
    labels = case.labels(inputs, 2)
    optimizer = torch.optim.Adam(wrapped.trainable_parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        wrapped(**inputs, labels=labels).loss.backward()
        optimizer.step()
    with torch.no_grad():
        before = wrapped(**inputs).logits
        wrapped.merge()
        assert torch.allclose(wrapped(**inputs).logits, before, **CLOSE)
    assert [tuple(p.shape) for p in wrapped.trainable_parameters()] == [(4, 32)]


@pytest.mark.parametrize("hidden", [None, 16])
@each_family
def test_a_random_prefix_has_the_spread_of_the_models_embeddings(case: Case, hidden: int | None) -> None:
    model = case.model()
    torch.manual_seed(0)
    vectors = EmbeddingPrefix(model, 50, hidden=hidden).encoder()
    words = model.get_input_embeddings()(torch.arange(VOCABULARY))
    assert vectors.std().item() == pytest.approx(words.std().item(), rel=0.1)
    assert not EmbeddingPrefix(model, 5, hidden=hidden, init="zeros").encoder().any()


def test_layers_may_be_computed_twice_to_save_memory() -> None:
    case = CASES[0]
    inputs = case.batch([0, 1, 2], suffix=2)
    labels = case.labels(inputs, 2)
    grads = []
    for again in (False, True):
        wrapped = EmbeddingPrefix(case.model(), init=TEXT).train()
        if again:
            wrapped.activation_checkpointing_enable()
        wrapped(**inputs, labels=labels).loss.backward()
        grads.append(wrapped.encoder.values.grad)
    assert grads[0].abs().max() > 1e-3 and torch.allclose(*grads, **CLOSE)


@each_family
def test_placeholders_are_ordinary_tokens(case: Case) -> None:
    token = _ordinary_token(case.model().config)
    assert 0 <= token < VOCABULARY and token not in (PAD, IMAGE)


def test_what_it_cannot_do_is_refused() -> None:
    case = CASES[0]
    model = case.model()
    wrapped = EmbeddingPrefix(model, init=TEXT)
    inputs = case.batch([1])
    with torch.no_grad():
        cache = model(**inputs, use_cache=True).past_key_values
    with pytest.raises(ModelError, match="holds no prefix of this model"):
        wrapped(input_ids=torch.tensor([[5]]), past_key_values=cache)
    with pytest.raises(ModelError, match="give a 2-D mask"):
        wrapped(input_ids=inputs["input_ids"], attention_mask=torch.ones(1, 1, 7, 7))
    with pytest.raises(ModelError, match="give input_ids alone"):
        wrapped.generate(**inputs, past_key_values=cache)
