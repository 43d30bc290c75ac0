"""Loading, 4-bit layers, parameter counts and the CPU guard, on the tiny Llama of the repository."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import pytest
import torch
from bitsandbytes.functional import has_avx512bf16
from peft import LoraConfig, get_peft_model

from helpers import models
from helpers.errors import ModelError
from helpers.models.unpacked import dequantised

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def _loaded(quant: str) -> models.LoadedModel:
    return models.load("tiny/llama", quant=quant, dtype="float32")


def _wrapped(quant: str = "nf4") -> torch.nn.Module:
    torch.manual_seed(0)
    model = get_peft_model(
        _loaded(quant).model, LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR, task_type="CAUSAL_LM")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def _gradients(model: torch.nn.Module, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(input_ids=ids, labels=ids).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


IDS = torch.arange(3, 3 + 2 * 24).reshape(2, 24)


def test_four_bit_count_equals_sixteen_bit_count() -> None:
    plain, packed = models.count_parameters(_loaded("none").model), models.count_parameters(_loaded("nf4").model)
    assert packed.total == plain.total == sum(p.numel() for p in _loaded("none").model.parameters())
    assert packed.quantised > 0.8 * (packed.total - _loaded("none").model.get_input_embeddings().weight.numel())
    assert packed.stored_bytes < plain.stored_bytes / 2


def test_lora_trainable_count_follows_from_the_shapes() -> None:
    model = _wrapped()
    config = model.config
    head = config.hidden_size // config.num_attention_heads
    wide, narrow = config.num_attention_heads * head, config.num_key_value_heads * head
    h, i, r = config.hidden_size, config.intermediate_size, 4
    layer = (h + wide) * 2 + (h + narrow) * 2 + (h + i) * 3
    assert models.count_parameters(model).trainable == r * layer * config.num_hidden_layers


def test_gradients_after_an_evaluation_equal_those_before() -> None:
    model = _wrapped()
    before = _gradients(model, IDS)
    model.eval()
    with torch.no_grad():
        model(input_ids=IDS)
    after = _gradients(model, IDS)
    assert before.keys() == after.keys() and len(before) > 0
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert sum(bool(g.abs().sum() > 0) for g in before.values()) == len(before)


@pytest.mark.skipif(not has_avx512bf16(), reason="the trap exists only on CPUs with AVX512-BF16")
def test_without_the_guard_most_gradients_are_lost() -> None:
    """The guard guards against something: switch it off and the gradients change."""
    model = _wrapped()
    before = _gradients(model, IDS)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = True
    model.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(input_ids=IDS)
    after = _gradients(model, IDS)
    assert any(n not in after or not torch.allclose(before[n], after[n], rtol=1e-3) for n in before)


def test_fresh_adapter_changes_nothing() -> None:
    loaded = _loaded("nf4")
    with torch.no_grad():
        base = loaded.model(input_ids=IDS).logits
        model = get_peft_model(loaded.model, LoraConfig(r=8, target_modules=LINEAR, task_type="CAUSAL_LM"))
        assert torch.equal(model.eval()(input_ids=IDS).logits, base)


def test_dequantised_block_gives_the_same_numbers_and_leaves_no_trace() -> None:
    model = _wrapped().eval()
    with torch.no_grad():
        plain = model(input_ids=IDS).logits
        with dequantised(model) as layers:
            assert layers == 7 * model.config.num_hidden_layers
            inside = model(input_ids=IDS).logits
        after = model(input_ids=IDS).logits
    assert torch.allclose(inside, plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(after, plain)
    assert all("forward" not in vars(m) for m in model.modules())


@pytest.mark.filterwarnings("ignore:.lora_bias=True")
@pytest.mark.parametrize("kind", ["plain", "rslora", "two adapters", "disabled", "bias", "dora"])
def test_dequantised_block_adds_the_update_whatever_its_kind(kind: str) -> None:
    extra: dict[str, dict[str, bool]] = {
        "rslora": {"use_rslora": True},
        "bias": {"lora_bias": True},
        "dora": {"use_dora": True},
    }
    config = LoraConfig(r=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", **extra.get(kind, {}))
    loaded = _loaded("nf4")
    with torch.no_grad():
        base = loaded.model(input_ids=IDS).logits
    model = get_peft_model(loaded.model, config)
    if kind == "two adapters":
        model.add_adapter("second", config)
        model.base_model.set_adapter(["default", "second"])
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.eval()
    with torch.no_grad(), model.disable_adapter() if kind == "disabled" else nullcontext():
        plain = model(input_ids=IDS).logits
        with dequantised(model):
            inside = model(input_ids=IDS).logits
    assert torch.allclose(inside, plain, atol=1e-4, rtol=1e-4)
    assert torch.allclose(plain, base, atol=1e-4) is (kind == "disabled")


def test_dequantised_block_changes_no_bit_for_a_fresh_adapter() -> None:
    loaded = _loaded("nf4")
    with torch.no_grad():
        with dequantised(loaded.model):
            base = loaded.model(input_ids=IDS).logits
        model = get_peft_model(loaded.model, LoraConfig(r=8, target_modules=LINEAR, task_type="CAUSAL_LM")).eval()
        with dequantised(model):
            assert torch.equal(model(input_ids=IDS).logits, base)


def test_dequantised_weight_is_close_to_the_original_and_not_equal() -> None:
    plain, packed = _loaded("none").model, _loaded("nf4").model
    original = plain.model.layers[0].mlp.up_proj.weight.float()
    restored = models.dequantised_weight(packed.model.layers[0].mlp.up_proj).float()
    assert restored.shape == original.shape
    error = ((restored - original).norm() / original.norm()).item()
    assert 0.02 < error < 0.2  # NF4 of a normal weight: about 0.09
    with pytest.raises(ModelError, match="no 4-bit weight"):
        models.dequantised_weight(plain.model.layers[0].mlp.up_proj)


@pytest.mark.parametrize(
    ("model_id", "says"),
    [
        ("nobody/nothing-7b", "Hub cannot be reached"),
        ("tiny/nothing", "no tiny checkpoint"),
        ("./missing", "Hub cannot"),
    ],
)
def test_unknown_model_offline_is_one_clear_line(model_id: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=says) as caught:
        models.load(model_id)
    assert "\n" not in str(caught.value) and "tiny/llama" in str(caught.value).replace("tiny/ ", "tiny/")


def test_unknown_quantisation_is_refused() -> None:
    with pytest.raises(ModelError, match="nf4"):
        models.load("tiny/llama", quant="int3")


def test_fingerprint_tells_models_apart() -> None:
    first, second = _loaded("none").model, _loaded("none").model
    assert models.fingerprint(first) == models.fingerprint(second)
    with torch.no_grad():
        next(second.parameters())[0, 0] += 1
    assert models.fingerprint(first) != models.fingerprint(second)
