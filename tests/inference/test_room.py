"""The cache with room: the library's own numbers, without its copies."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer

from helpers import inference, models
from helpers.inference import generation
from helpers.inference.room import ROOM, RoomyLayer, roomy

HELD = 50


def _begun() -> DynamicCache:
    generator = torch.Generator().manual_seed(0)
    cache = DynamicCache()
    for layer in range(2):
        cache.update(*torch.randn(2, 3, 2, HELD, 4, generator=generator), layer)
    return cache


def _select(cache: DynamicCache) -> None:
    cache.batch_select_indices(torch.tensor([2, 0]))


@pytest.mark.parametrize(
    "change",
    [
        lambda _cache: None,
        _select,
        lambda cache: cache.batch_repeat_interleave(2),
        lambda cache: cache.crop(-3),
        lambda cache: cache.reorder_cache(torch.tensor([1, 1, 0])),
    ],
    ids=["none", "select", "repeat", "crop", "reorder"],
)
@pytest.mark.parametrize("when", [0, 1, 5])
def test_it_holds_what_the_library_s_own_holds(change: Callable[[DynamicCache], None], when: int) -> None:
    theirs = _begun()
    ours = roomy(copy.deepcopy(theirs))
    assert all(type(layer) is RoomyLayer for layer in ours.layers)
    generator = torch.Generator().manual_seed(1)
    for step in range(2 * ROOM):
        if step == when:
            change(theirs), change(ours)
        if step == when + 2:  # a copy shares nothing with what it was taken from
            spare, ours = ours, copy.deepcopy(ours)
            spare.update(*torch.randn(2, *spare.layers[0].keys.shape[:2], 1, 4, generator=generator), 0)
        rows = theirs.layers[0].keys.shape[0]
        for layer in range(2):
            new = torch.randn(2, rows, 2, 1 + step % 3, 4, generator=generator)
            expected, found = theirs.update(*new, layer), ours.update(*new, layer)
            assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        assert theirs.get_seq_length() == ours.get_seq_length()


def test_a_token_more_copies_no_other_token() -> None:
    ours, theirs = roomy(_begun()), _begun()
    one = torch.zeros(2, 3, 2, 1, 4)
    ours.update(*one, 0)  # makes room
    held = ours.layers[0].keys.data_ptr()
    for _ in range(ROOM - 1):
        ours.update(*one, 0)
        assert ours.layers[0].keys.data_ptr() == held
    before = theirs.layers[0].keys.data_ptr()
    theirs.update(*one, 0)
    assert theirs.layers[0].keys.data_ptr() != before, "the library copies no more: this file can go"


def test_gradients_flow_through_it() -> None:
    cache, new = roomy(_begun()), torch.randn(2, 3, 2, 1, 4, requires_grad=True)
    keys, values = cache.update(new[0], new[1], 0)
    (keys.sum() + 2 * values.sum()).backward()
    assert torch.equal(new.grad[0], torch.ones_like(new[0])) and torch.equal(new.grad[1], 2 * torch.ones_like(new[1]))


def test_layers_that_forget_stay_as_they_are() -> None:
    sliding = roomy(DynamicCache(config=MistralConfig(num_hidden_layers=2, sliding_window=8)))
    assert not any(isinstance(layer, RoomyLayer) for layer in sliding.layers)
    assert all(
        type(layer) is RoomyLayer for layer in roomy(DynamicCache(config=LlamaConfig(num_hidden_layers=2))).layers
    )


@pytest.mark.parametrize("shots", [0, 6])
def test_answers_are_the_same_without_it(monkeypatch: pytest.MonkeyPatch, shots: int) -> None:
    loaded = models.load("tiny/llama", dtype="float32")
    asked = [[{"role": "user", "content": f"Name {n} things:\n" + "- salt\n" * n}] for n in range(9)]
    shown = [{"role": role, "content": f"say {role}"} for _ in range(shots) for role in ("user", "assistant")]
    seen: list[type] = []
    update = RoomyLayer.update
    monkeypatch.setattr(RoomyLayer, "update", lambda self, *a, **k: (seen.append(type(self)), update(self, *a, **k))[1])
    size = {"max_new_tokens": 40, "batch_size": 4, "shots": shown}
    ours = inference.generate(loaded.model, loaded.tokenizer, asked, **size)
    assert seen and len(set(ours)) > 1
    monkeypatch.setattr("helpers.inference.room.roomy", lambda cache: cache)
    before = len(seen)
    assert inference.generate(loaded.model, loaded.tokenizer, asked, **size) == ours
    assert len(seen) == before and generation.STAGE < 40 and issubclass(RoomyLayer, DynamicLayer)
