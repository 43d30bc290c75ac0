"""Key/value prefixes: whatever a text's keys and values do in front of the input, the prefix does to 1e-5."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from prefix_cases import CASES, IMAGE, PAD, SIZES, TEXT, Case, one_way, real
from transformers import (
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    StaticCache,
)

from helpers.adapters.prefix import KeyValuePrefix
from helpers.errors import ModelError

CLOSE = {"atol": 1e-5, "rtol": 0}
each_family = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
each_side = pytest.mark.parametrize("side", ["left", "right"])


def prepended(case: Case, model: Any, index: int, suffix: int = 0) -> torch.Tensor:
    """Logits of one row's own tokens with TEXT in front, in one plain pass of the model."""
    inputs = case.batch([index], before=TEXT, suffix=suffix)
    del inputs["attention_mask"]
    if case.name == "paligemma":  # the text is read before the rest comes, as a prefix is
        own = inputs["input_ids"].shape[1] - len(TEXT)
        inputs["attention_mask"] = one_way(len(TEXT), own - suffix, suffix)
        del inputs["token_type_ids"]
    with torch.no_grad():
        return model(**inputs).logits[0, len(TEXT) :]


def greedy(case: Case, model: Any, index: int, count: int) -> list[int]:
    """Greedy tokens after TEXT + row, each from one plain pass over everything so far."""
    inputs = case.batch([index], before=TEXT)
    del inputs["attention_mask"]
    prompt = inputs["input_ids"].shape[1] - len(TEXT)
    new: list[int] = []
    for _ in range(count):
        step = dict(inputs)
        step["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([new], dtype=torch.long)], dim=1)
        if case.name == "paligemma":
            step["attention_mask"] = one_way(len(TEXT), prompt, len(new))
            del step["token_type_ids"]
        if case.name == "qwen2_vl":
            step["mm_token_type_ids"] = (step["input_ids"] == IMAGE).int()
        with torch.no_grad():
            new.append(int(model(**step).logits[0, -1].argmax()))
    return new


@each_family
@each_side
def test_a_texts_keys_and_values_are_the_text_in_front(case: Case, side: str) -> None:
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2], side=side)
    with torch.no_grad():
        found = real(wrapped(**inputs).logits, inputs["attention_mask"])
        plain = real(model(**inputs).logits, inputs["attention_mask"])
    for index, logits in enumerate(found):
        expected = prepended(case, model, index)
        assert torch.allclose(logits, expected, **CLOSE)
        assert (logits - plain[index]).abs().max() > 0.05  # the text matters, so a lost prefix would show


@each_family
def test_greedy_answers_are_those_after_the_text(case: Case) -> None:
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2])
    before = inputs["input_ids"].shape[1]
    expected = [greedy(case, model, index, 6) for index in range(3)]
    for _ in range(2):  # a second call finds whatever state the first left on the model
        output = wrapped.generate(**inputs, max_new_tokens=6, do_sample=False)
        assert output[:, before:].tolist() == expected
        assert torch.equal(output[:, :before], inputs["input_ids"])
    alone = wrapped.generate(**case.batch([1]), max_new_tokens=6, do_sample=False)
    assert alone[0, -6:].tolist() == expected[1]


@each_family
def test_without_tokens_it_is_the_model(case: Case) -> None:
    model = case.model()
    for wrapped in (
        KeyValuePrefix(model, 0),
        KeyValuePrefix(model, 0, hidden=8, init="zeros"),
        KeyValuePrefix(model, init=[]),
    ):
        inputs = case.batch([0, 1, 2])
        with torch.no_grad():
            assert torch.equal(wrapped(**inputs).logits, model(**inputs).logits)
        options = {"max_new_tokens": 5, "do_sample": False}
        assert torch.equal(wrapped.generate(**inputs, **options), model.generate(**inputs, **options))


def test_paligemma_text_is_a_prefill_of_its_own() -> None:
    """The identity in words: the text runs first, as a prompt; picture and question follow on its cache."""
    case = CASES[3]
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    text = torch.tensor([TEXT])
    suffix = 2
    rest = case.batch([1], suffix=suffix)
    labels = case.labels(rest, suffix)
    own = rest["input_ids"].shape[1]
    with torch.no_grad():
        cache = model(input_ids=text, token_type_ids=torch.zeros_like(text), use_cache=True).past_key_values
        kinds = torch.cat([torch.zeros_like(text), rest["token_type_ids"]], dim=1)
        expected = model(
            input_ids=rest["input_ids"], pixel_values=rest["pixel_values"], token_type_ids=kinds, labels=labels,
            past_key_values=cache, position_ids=torch.arange(len(TEXT), len(TEXT) + own)[None] + 1,
        )  # fmt: skip
        found = wrapped(**rest, labels=labels)
    assert torch.allclose(found.logits, expected.logits, **CLOSE)
    assert torch.allclose(found.logits[0], prepended(case, model, 1, suffix), **CLOSE)
    assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-5)
    # Without a picture the prompt is still read in both directions.
    blind = {k: v for k, v in rest.items() if k != "pixel_values"}
    with torch.no_grad():
        mask = one_way(len(TEXT), own - suffix, suffix)
        full = model(input_ids=torch.cat([text, rest["input_ids"]], dim=1), attention_mask=mask).logits[:, len(TEXT) :]
        assert torch.allclose(wrapped(**blind).logits, full, **CLOSE)


@each_family
@each_side
def test_labels_and_kept_logits_are_those_of_the_text_in_front(case: Case, side: str) -> None:
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2], side=side, suffix=2)
    labels = case.labels(inputs, 2)
    with torch.no_grad():
        output = wrapped(**inputs, labels=labels)
        losses = []
        for index in range(3):
            logp = prepended(case, model, index, 2).log_softmax(-1)
            ids = case.row(index)["ids"]
            losses += [-logp[-3, ids[-2]], -logp[-2, ids[-1]]]
        assert output.loss.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)
        width = inputs["input_ids"].shape[1]
        assert torch.allclose(wrapped(**inputs, logits_to_keep=3).logits, output.logits[:, -3:], **CLOSE)
        some = torch.tensor([1, width - 2])
        assert torch.allclose(wrapped(**inputs, logits_to_keep=some).logits, output.logits[:, some], **CLOSE)
        states = wrapped(**inputs, output_hidden_states=True).hidden_states
    assert all(s.shape[1] == width for s in states)


@each_family
@pytest.mark.parametrize("positions", [True, False])
def test_a_cache_continues_and_its_rows_can_be_chosen(case: Case, positions: bool) -> None:
    """Prompt once, then its continuations, as option scoring does it; positions given or not."""
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2])
    mask = inputs["attention_mask"]
    first = mask.sum(1, keepdim=True)
    owner, more = torch.tensor([2, 0, 1, 0]), torch.tensor([[4, 44], [9, 17], [22, 3], [30, 31]])
    full = torch.cat([mask[owner], torch.ones_like(more)], dim=1)
    given: dict[str, Any] = {}
    start = 1 if case.name == "paligemma" else 0
    if positions and case.name != "qwen2_vl":
        given = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0) + start}
    with torch.no_grad():
        cache = wrapped(**inputs, **given, use_cache=True).past_key_values
        assert cache.get_seq_length() == inputs["input_ids"].shape[1]
        cache.batch_select_indices(owner)
        if case.name == "qwen2_vl":  # pictures take fewer positions than tokens; the model keeps the difference
            places = first[owner] + model.model.rope_deltas[owner] + torch.arange(2)
            given = {"position_ids": places.expand(3, -1, -1)}
        elif positions:
            given = {"position_ids": first[owner] + torch.arange(2) + start}
        found = wrapped(input_ids=more, attention_mask=full, past_key_values=cache, use_cache=True, **given).logits
        for row, index in enumerate(owner.tolist()):
            alone = case.batch([index], before=TEXT)
            ids = torch.cat([alone["input_ids"], more[row : row + 1]], dim=1)
            step: dict[str, Any] = dict(alone) | {"input_ids": ids}
            del step["attention_mask"]
            if case.name == "paligemma":
                del step["token_type_ids"]
                step["attention_mask"] = one_way(len(TEXT), ids.shape[1] - len(TEXT) - 2, 2)
            if case.name == "qwen2_vl":
                step["mm_token_type_ids"] = (ids == IMAGE).int()
            assert torch.allclose(found[row], model(**step).logits[0, -2:], **CLOSE)


@each_family
def test_the_model_itself_is_as_before(case: Case) -> None:
    model = case.model()
    inputs = case.batch([0, 1, 2])
    with torch.no_grad():
        before = model(**inputs).logits
        wrapped = KeyValuePrefix(model, 4, std=1.0)
        during = wrapped(**inputs, use_cache=False)
        assert torch.equal(model(**inputs).logits, before)
    assert during.past_key_values is None
    assert not torch.allclose(during.logits, before, atol=1e-2)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@each_family
def test_both_attention_implementations_agree(case: Case, attention: str) -> None:
    model = case.model()
    model.set_attn_implementation(attention)
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = case.batch([0, 1, 2])
    with torch.no_grad():
        found = real(wrapped(**inputs).logits, inputs["attention_mask"])
    model.set_attn_implementation("sdpa")
    for index, logits in enumerate(found):
        assert torch.allclose(logits, prepended(case, model, index), **CLOSE)


def test_packed_rows_each_see_the_prefix() -> None:
    """Two texts in one row, told apart by positions that start again."""
    case = CASES[0]
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    texts = [case.row(0)["ids"], case.row(1)["ids"]]
    packed = torch.tensor([texts[0] + texts[1]])
    places = torch.tensor([[*range(len(texts[0])), *range(len(texts[1]))]])
    with torch.no_grad():
        found = wrapped(input_ids=packed, position_ids=places, use_cache=False).logits[0]
    expected = torch.cat([prepended(case, model, 0), prepended(case, model, 1)])
    assert torch.allclose(found, expected, **CLOSE)
    # With a cache the model takes the row for one text, and so does the prefix.
    with torch.no_grad():
        found = wrapped(input_ids=packed, position_ids=places, use_cache=True).logits[0]
        longer = torch.cat([torch.arange(len(TEXT))[None], places + len(TEXT)], dim=1)
        ids = torch.cat([torch.tensor([TEXT]), packed], dim=1)
        expected = model(input_ids=ids, position_ids=longer, use_cache=True).logits[0, len(TEXT) :]
    assert torch.allclose(found, expected, **CLOSE)


@each_family
def test_merging_changes_no_output(case: Case) -> None:
    torch.manual_seed(3)
    wrapped = KeyValuePrefix(case.model(), 4, hidden=16, init="random", std=0.5)
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
    assert [tuple(p.shape) for p in wrapped.trainable_parameters()] == [(4, wrapped.shape.numel())]


@pytest.mark.parametrize("hidden", [None, 16])
def test_where_each_initialisation_starts(hidden: int | None) -> None:
    model = CASES[0].model()
    torch.manual_seed(0)
    values = KeyValuePrefix(model, 40, hidden=hidden, init="random", std=0.3).key_values()
    assert values.shape == (2, 2, 2, 40, 8)
    assert values.std().item() == pytest.approx(0.3, rel=0.05)
    assert not KeyValuePrefix(model, 4, hidden=hidden, init="zeros").key_values().any()
    with torch.no_grad():
        cache = model(input_ids=torch.tensor([TEXT]), use_cache=True).past_key_values
    text = KeyValuePrefix(model, init=TEXT, hidden=hidden).key_values()
    for layer, (keys, values) in zip(cache.layers, text, strict=True):
        assert torch.allclose(keys, layer.keys[0], **CLOSE) and torch.allclose(values, layer.values[0], **CLOSE)


def test_zeros_without_a_network_stay_one_token() -> None:
    """All tokens get the same gradient; a network's inputs differ, and so do its tokens after a step."""
    case = CASES[0]
    inputs = case.batch([0, 1, 2], suffix=2)
    labels = case.labels(inputs, 2)
    spread = {}
    for hidden in (None, 16):
        wrapped = KeyValuePrefix(case.model(), 4, hidden=hidden, init="zeros")
        optimizer = torch.optim.Adam(wrapped.trainable_parameters(), lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            wrapped(**inputs, labels=labels).loss.backward()
            optimizer.step()
        tokens = wrapped.encoder()
        assert tokens.abs().max() > 0.01
        spread[hidden] = (tokens - tokens[:1]).abs().max().item()
    assert spread[None] < 1e-6 and spread[16] > 0.01


@pytest.mark.parametrize("name", ["gpt2", "qwen3"])
def test_other_decoders_need_no_entry_of_their_own(name: str) -> None:
    """One passes its inputs by position and adds a table of positions, one has heads of another size."""
    torch.manual_seed(0)
    sizes = SIZES | {"pad_token_id": PAD}
    model = (
        GPT2LMHeadModel(GPT2Config(**sizes, n_positions=64))
        if name == "gpt2"
        else Qwen3ForCausalLM(Qwen3Config(**sizes, intermediate_size=32, num_key_value_heads=2, head_dim=16))
    ).eval()
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = CASES[0].batch([0, 1, 2])
    with torch.no_grad():
        found = real(wrapped(**inputs).logits, inputs["attention_mask"])
        for index, logits in enumerate(found):
            ids = torch.tensor([TEXT + CASES[0].row(index)["ids"]])
            assert torch.allclose(logits, model(input_ids=ids).logits[0, len(TEXT) :], **CLOSE)


def test_foreign_and_static_caches_are_refused() -> None:
    case = CASES[0]
    model = case.model()
    wrapped = KeyValuePrefix(model, init=TEXT)
    inputs = case.batch([1])
    with torch.no_grad():
        plain = model(**inputs, use_cache=True).past_key_values
        other = KeyValuePrefix(model, 3)(**inputs, use_cache=True).past_key_values
        for cache in (plain, other):
            with pytest.raises(ModelError, match="holds no prefix of this model"):
                wrapped(input_ids=torch.tensor([[5]]), past_key_values=cache)
        with pytest.raises(ModelError, match="StaticCache has no place"):
            wrapped(**inputs, past_key_values=StaticCache(config=model.config, max_cache_len=32))
        filled = DynamicCache(config=model.config)
        wrapped(**inputs, past_key_values=filled)
    assert filled.get_seq_length() == inputs["input_ids"].shape[1]
