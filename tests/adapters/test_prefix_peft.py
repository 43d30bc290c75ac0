"""PEFT's prefix tuning behind the same interface: the same mathematics where it runs, one clear error where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PrefixTuningConfig, TaskType, get_peft_model
from prefix_cases import CASES, TEXT, Case, real

from helpers.adapters.prefix import KeyValuePrefix, PeftPrefix, load_prefix
from helpers.errors import ModelError

CLOSE = {"atol": 1e-5, "rtol": 0}
RUNS = [case for case in CASES if case.name != "qwen2_vl"]
each_family = pytest.mark.parametrize("case", RUNS, ids=lambda c: c.name)


def pair(case: Case, hidden: int | None = None) -> tuple[KeyValuePrefix, PeftPrefix]:
    """The same prefix twice: ours with PEFT's table."""
    torch.manual_seed(1)
    theirs = PeftPrefix(case.model(), 4, hidden=hidden)
    ours = KeyValuePrefix(case.model(), 4)
    table = theirs.encoder(torch.arange(4)).detach()
    ours.load_state_dict({"encoder.values": table.clone()})
    return ours, theirs


def without_kinds(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """PEFT drops PaliGemma's token types; the comparison is made where ours has none either."""
    return {name: value for name, value in inputs.items() if name != "token_type_ids"}


@pytest.mark.parametrize("hidden", [None, 16])
def test_our_prefix_gives_what_plain_peft_gives_on_llama(hidden: int | None) -> None:
    case = CASES[0]
    torch.manual_seed(1)
    settings = PrefixTuningConfig(
        task_type=TaskType.CAUSAL_LM, num_virtual_tokens=4, prefix_projection=hidden is not None,
        encoder_hidden_size=hidden,
    )  # fmt: skip
    plain = get_peft_model(case.model(), settings)
    ours = KeyValuePrefix(case.model(), 4)
    encoder = plain.prompt_encoder["default"]
    ours.load_state_dict({"encoder.values": encoder(torch.arange(4)).detach().clone()})
    inputs = case.batch([0, 1, 2], side="right", suffix=2)
    labels = case.labels(inputs, 2)
    with torch.no_grad():
        expected, found = plain(**inputs, labels=labels), ours(**inputs, labels=labels)
    pairs = zip(*(real(o.logits, inputs["attention_mask"]) for o in (found, expected)), strict=True)
    assert all(torch.allclose(a, b, **CLOSE) for a, b in pairs)
    assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-5)


@each_family
def test_both_wrappers_start_from_the_same_text(case: Case) -> None:
    ours, theirs = KeyValuePrefix(case.model(), init=TEXT), PeftPrefix(case.model(), init=TEXT)
    inputs = without_kinds(case.batch([0, 1, 2]))
    with torch.no_grad():
        found = [real(w(**inputs).logits, inputs["attention_mask"]) for w in (ours, theirs)]
    assert all(torch.allclose(a, b, **CLOSE) for a, b in zip(*found, strict=True))


@each_family
@pytest.mark.parametrize("side", ["left", "right"])
def test_both_wrappers_agree_on_logits_with_padding(case: Case, side: str) -> None:
    ours, theirs = pair(case)
    inputs = without_kinds(case.batch([0, 1, 2], side=side))
    mask = inputs["attention_mask"]
    with torch.no_grad():
        for given in ({}, {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}):
            logits = [real(w(**inputs, **given).logits, mask) for w in (ours, theirs)]
            assert all(torch.allclose(a, b, **CLOSE) for a, b in zip(*logits, strict=True))


@each_family
def test_both_wrappers_agree_on_greedy_answers(case: Case) -> None:
    ours, theirs = pair(case, hidden=8)
    inputs = without_kinds(case.batch([0, 1, 2]))
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
    assert torch.equal(ours.generate(**inputs, **options), theirs.generate(**inputs, **options))
    plain = theirs.base.generate(**inputs, **options)
    assert torch.equal(plain, case.model().generate(**inputs, **options))  # the model is as it was


@each_family
def test_both_wrappers_agree_on_a_cache_that_continues(case: Case) -> None:
    ours, theirs = pair(case)
    inputs = without_kinds(case.batch([0, 1, 2]))
    owner, more = torch.tensor([2, 0, 1, 0]), torch.tensor([[4, 44], [9, 17], [22, 3], [30, 31]])
    mask = inputs["attention_mask"]
    full = torch.cat([mask[owner], torch.ones_like(more)], dim=1)
    found = []
    with torch.no_grad():
        for wrapped in (ours, theirs):
            cache = wrapped(**inputs, use_cache=True).past_key_values
            cache.batch_select_indices(owner)
            found.append(wrapped(input_ids=more, attention_mask=full, past_key_values=cache).logits)
        assert torch.allclose(*found, **CLOSE)
        foreign = theirs.base(**inputs, use_cache=True).past_key_values
        with pytest.raises(ModelError, match="holds no prefix of this model"):
            theirs(input_ids=more[:3], past_key_values=foreign)


@pytest.mark.parametrize("hidden", [None, 16])
def test_it_is_saved_and_loaded(hidden: int | None, tmp_path: Path) -> None:
    case = CASES[0]
    theirs = PeftPrefix(case.model(), 4, hidden=hidden)
    inputs = case.batch([0, 1, 2])
    again = load_prefix(case.model(), theirs.save(tmp_path / "prefix"))
    assert isinstance(again, PeftPrefix)
    with torch.no_grad():
        assert torch.equal(theirs(**inputs).logits, again(**inputs).logits)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ModelError, match="does not run on Qwen2VLForConditionalGeneration.*kind='key_value'"):
        PeftPrefix(CASES[4].model(), 4)
    with pytest.raises(ModelError, match="network cannot start from a text"):
        PeftPrefix(CASES[0].model(), hidden=8, init=TEXT)
    with pytest.raises(ModelError, match="at least one token"):
        PeftPrefix(CASES[0].model(), 0)
    with pytest.raises(ModelError, match="only when it saves"):
        PeftPrefix(CASES[0].model(), 4).merge()
