"""Mixed batches: each row as its adapter alone, bit for bit; and as matrices multiplied by hand."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from adapter_cases import RANKS, some_ids, with_adapters

from helpers.adapters import mixing
from helpers.errors import ModelError
from helpers.inference.batching import positions

NAMES = ["one", "two", "thin", mixing.BASE, "two", "one", "one", mixing.BASE]


def two_steps(model: Any, **given: Any) -> torch.Tensor:
    """Logits after a left-padded prompt, and after one more token read with the cache."""
    ids = some_ids(len(NAMES))
    mask = torch.ones_like(ids)
    for row in range(len(ids)):
        mask[row, : 2 * row % 9] = 0
    first = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=True, **given)
    longer = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    second = model(
        input_ids=first.logits[:, -1:].argmax(-1), attention_mask=longer, position_ids=positions(longer)[:, -1:],
        past_key_values=first.past_key_values, use_cache=True, **given,
    )  # fmt: skip
    return torch.cat([first.logits[:, -1:], second.logits[:, -1:]], dim=1)


@pytest.mark.parametrize(
    ("quant", "dtype"), [("none", "float32"), ("nf4", "float32"), ("none", "bfloat16"), ("nf4", "bfloat16")]
)
def test_a_row_of_a_mixed_batch_is_the_row_of_its_adapter_alone(quant: str, dtype: str) -> None:
    model = with_adapters(quant, dtype)
    with mixing.answering(model):
        mixed = two_steps(model, adapter_names=NAMES)
        for name in set(NAMES):
            if name != mixing.BASE:
                model.set_adapter(name)
            with model.disable_adapter() if name == mixing.BASE else nullcontext():
                alone = two_steps(model)
            rows = [row for row, asked in enumerate(NAMES) if asked == name]
            assert torch.equal(mixed[rows], alone[rows]), name
            others = [row for row in range(len(NAMES)) if row not in rows]
            assert not torch.equal(mixed[others], alone[others]), "adapters change something"


def test_a_layer_is_the_base_and_the_product_of_its_rows_own_matrices() -> None:
    model = with_adapters()
    layer = model.base_model.model.model.layers[1].mlp.up_proj
    x = torch.randn(len(NAMES), 5, layer.in_features, generator=torch.Generator().manual_seed(1))
    with mixing.answering(model), torch.no_grad():
        found = layer(x, adapter_names=NAMES)
    for row, name in enumerate(NAMES):
        expected = x[row] @ layer.base_layer.weight.T
        if name != mixing.BASE:
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            expected = expected + 12 / RANKS[name] * (x[row] @ a.T @ b.T)
        torch.testing.assert_close(found[row], expected, rtol=1e-5, atol=1e-5)


def test_everything_is_put_back() -> None:
    model = with_adapters("nf4").train()
    layers = [m for m in model.modules() if hasattr(m, "lora_A")]
    with mixing.answering(model) as device:
        assert device.type == "cpu" and not model.training
        assert all("_mixed_batch_forward" in vars(layer) for layer in layers)
    assert model.training and not any("_mixed_batch_forward" in vars(layer) for layer in layers)


def test_an_unknown_adapter_is_named_with_the_nearest() -> None:
    model = with_adapters()
    mixing.check_names(model, ["one", mixing.BASE])
    with pytest.raises(ModelError, match="no adapter 'thinn' .*thin.*Loaded are one, two, thin"):
        mixing.check_names(model, ["thinn"])
