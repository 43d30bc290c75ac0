"""What makes a training step on a CPU faster leaves its numbers as they were."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers import inference, models
from helpers.models import vision
from helpers.models.unpacked import dequantised, dequantised_weight, kept_weight, plain_lora
from helpers.models.vision_inputs import collate_vision, encode_vision
from helpers.training import losses, speed
from helpers.training.speed import LoRAProducts, faster_on_cpu

IDS = torch.randint(3, 300, (3, 26), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[1, 20:] = MASK[2, 9:] = 0
LABELS = torch.where((MASK == 1) & (torch.arange(26) > 4), IDS, losses.IGNORED)
BATCH = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}


def _model(quant: str = "nf4", dtype: str = "float32", dropout: float = 0.0, name: str = "tiny/llama") -> Any:
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(models.load(name, quant=quant, dtype=dtype).model, config)
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            nn.init.normal_(parameter, std=0.02)
    return model.train()


def _trained(model: Any, block: AbstractContextManager[Any], mixed: bool = False, steps: int = 3) -> dict[str, Any]:
    """Losses and last gradients of some updates, and the adapter after them."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    # Not Adam: it takes a whole step where rounding decides the sign of a gradient.
    optimizer = torch.optim.SGD(trained.values(), lr=1e-2)
    found: dict[str, Any] = {}
    torch.manual_seed(7)
    with block:
        for step in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = losses.completion_loss(model, BATCH)[0]
            loss.backward()
            found[f"loss {step}"] = loss.detach().clone()
            optimizer.step()
    found |= {f"gradient of {name}": p.grad.clone() for name, p in trained.items()}
    return found | {name: p.detach().clone() for name, p in trained.items()}


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quant", ["nf4", "nf4-double"])
def test_kept_weights_change_no_bit_of_a_training(quant: str, dtype: str, dropout: float) -> None:
    results = []
    for only in (False, True):
        model = _model(quant, dtype, dropout)
        block = faster_on_cpu(model, weights=True, updates=False, attention=False) if only else nullcontext()
        results.append(_trained(model, block, mixed=dtype == "bfloat16"))
    plain, kept = results
    assert plain.keys() == kept.keys() and len(plain) > 20
    assert all(torch.equal(plain[name], kept[name]) for name in plain)


@pytest.mark.parametrize("name", ["tiny/llama", "tiny/phi"])
@pytest.mark.parametrize(("quant", "dropout"), [("nf4", 0.0), ("nf4", 0.2), ("none", 0.0)])
def test_a_fused_training_is_the_same_up_to_rounding(quant: str, dropout: float, name: str) -> None:
    results = []
    for fused in (False, True):
        model = _model(quant, "float32", dropout, name)
        block = faster_on_cpu(model, weights=True) if fused else nullcontext()
        results.append(_trained(model, block))
        assert sum(isinstance(vars(m).get("forward"), speed._Fused) for m in model.modules()) == 0
    plain, fused_ = results
    for key in plain:
        # Dropout draws the same masks from the same random numbers.
        assert torch.allclose(plain[key], fused_[key], rtol=1e-3, atol=2e-5), key


def test_checkpointing_goes_with_it() -> None:
    results = []
    for again in (False, True):
        model = _model(dropout=0.2)
        if again:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        results.append(_trained(model, faster_on_cpu(model), steps=1))
    assert all(torch.allclose(results[0][key], results[1][key], rtol=1e-4, atol=1e-6) for key in results[0])


def test_the_products_gradient_is_the_derivative() -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)

    x, a, b, a2, b2 = random(2, 3, 5), random(2, 5), random(4, 2), random(3, 5), random(6, 3)
    weight, weight2, bias = random(4, 5).detach(), random(6, 5).detach(), random(4).detach()

    def two(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, a2: torch.Tensor, b2: torch.Tensor) -> Any:
        return LoRAProducts.apply(x, x, [1.5, 0.5], weight, bias, a, b, weight2, None, a2, b2)

    outputs = two(x, a, b, a2, b2)
    assert torch.allclose(outputs[0], x @ (weight + 1.5 * b @ a).T + bias)
    assert torch.allclose(outputs[1], x @ (weight2 + 0.5 * b2 @ a2).T)
    assert torch.autograd.gradcheck(two, (x, a, b, a2, b2))
    kept = torch.tensor([2.0, 0.0, 2.0, 2.0, 0.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, a, b: LoRAProducts.apply(x, x * kept, [1.5], weight, None, a, b), (x, a, b)
    )


def test_layers_that_read_the_same_share_one_operation_and_no_more() -> None:
    model = _model()
    calls: list[int] = []
    own = LoRAProducts.forward

    def counted(ctx: Any, x: Any, d: Any, scales: list[float], *layers: Any) -> Any:
        calls.append(len(scales))
        return own(ctx, x, d, scales, *layers)

    LoRAProducts.forward = staticmethod(counted)
    try:
        with faster_on_cpu(model, weights=True):
            model(input_ids=IDS)
            attention = model.get_base_model().model.layers[0].self_attn
            apart = [attention.q_proj(x) for x in torch.randn(2, 1, 3, attention.q_proj.in_features)]
    finally:
        LoRAProducts.forward = staticmethod(own)
    layers = model.config.num_hidden_layers
    assert sorted(calls[: 4 * layers]) == sorted([3, 1, 2, 1] * layers)  # q k v, o, gate up, down
    assert len(apart) == 2 and not torch.equal(*apart)  # what waits for k and v is not given to another input


def test_in_bfloat16_gradients_are_no_further_from_the_exact_ones() -> None:
    def gradients(dtype: str, block: bool) -> torch.Tensor:
        model = _model("nf4", dtype)
        found = _trained(model, faster_on_cpu(model) if block else nullcontext(), mixed=dtype != "float32", steps=1)
        return torch.cat([g.flatten() for name, g in found.items() if name.startswith("gradient")])

    # The dequantised weights are rounded in bfloat16, so the exact gradient is that of a float32 model made of them.
    exact = gradients("float32", False)
    plain, fast = (gradients("bfloat16", block) for block in (False, True))
    error = {name: float((g - exact).norm() / exact.norm()) for name, g in (("plain", plain), ("fast", fast))}
    assert error["fast"] < 1.1 * error["plain"] < 0.2, error


def test_attention_takes_its_gradient_in_float32_and_only_in_the_block() -> None:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    module = nn.Module()
    q, k, v = torch.randn(3, 2, 4, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact = functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True).transpose(1, 2)
    with speed.float32_attention():
        inside = ALL_ATTENTION_FUNCTIONS["sdpa"]
        out, _ = inside(module, q.requires_grad_(), k, v, None)
        assert torch.equal(out, exact.bfloat16())
        seen: list[str] = []
        out.grad_fn.register_prehook(lambda gradients: seen.append(str(gradients[0].dtype)))
        out.float().sum().backward()
        assert q.grad is not None and q.grad.dtype == torch.bfloat16 and seen == ["torch.bfloat16"]
        with torch.no_grad():
            assert torch.equal(inside(module, q.detach(), k, v, None)[0], before(module, q.detach(), k, v, None)[0])
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tiny/qwen2_vl", "tiny/paligemma", "tiny/blip2"])
def test_a_model_that_sees_trains_in_it_as_without(name: str, dtype: str) -> None:
    """Towers of pictures call attention in ways of their own."""
    loaded = (vision.load_blip2 if name == "tiny/blip2" else vision.load_reader)(name, dtype=dtype)
    pictures = [PIL.Image.new("RGB", (48, 48), colour) for colour in ("red", "white")]
    talks = [
        {"prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
         "completion": [{"role": "assistant", "content": [{"type": "text", "text": text}]}], "images": [picture]}
        for text, picture in zip(("a red shoe", "white"), pictures, strict=True)
    ]  # fmt: skip
    if name == "tiny/blip2":
        talks = [talk | {"prompt": [{"role": "user", "content": [{"type": "image"}]}]} for talk in talks]
    batch = collate_vision(loaded.processor, [encode_vision(loaded.processor, talk) for talk in talks])
    found = []
    for fast in (False, True):
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        model = get_peft_model(loaded.model, config).train()
        with faster_on_cpu(model) if fast else nullcontext(), torch.autocast("cpu", enabled=dtype == "bfloat16"):
            loss = model(**batch).loss
            loss.backward()
        gradients = [p.grad.flatten().float() for p in model.parameters() if p.grad is not None]
        found.append((loss.detach(), torch.cat(gradients)))
        loaded.model.zero_grad()
        loaded = replace(loaded, model=model.unload())
    (loss, gradient), (fast_loss, fast_gradient) = found
    near = 1e-5 if dtype == "float32" else 0.02
    assert abs(loss - fast_loss) < near * abs(loss) and gradient.norm() > 0
    assert (gradient - fast_gradient).norm() < 10 * near * gradient.norm()


def test_nothing_is_left_behind() -> None:
    model = _model()
    with torch.no_grad():
        before = model(input_ids=IDS).logits
    names = list(model.state_dict())
    with faster_on_cpu(model) as done:
        assert done == {"weights": 7 * model.config.num_hidden_layers, "updates": done["weights"], "attention": 1}
        assert list(model.state_dict()) == names
    assert all("forward" not in vars(m) and kept_weight(m) is None for m in model.modules())
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, before)


def test_answers_can_be_given_within() -> None:
    model = _model().eval()
    tokenizer = models.load_tokenizer("tiny/llama")
    asked = [[{"role": "user", "content": "How is the soup?"}]]
    outside = inference.generate(model, tokenizer, asked, max_new_tokens=6)
    layer = next(m for m in model.modules() if "Linear4bit" in type(m).__name__ and not hasattr(m, "base_layer"))
    alone = dequantised_weight(layer)
    with faster_on_cpu(model, weights=True):
        assert inference.generate(model, tokenizer, asked, max_new_tokens=6) == outside
        kept = kept_weight(layer)
        assert kept is not None and torch.equal(kept, alone)
        with dequantised(model):
            pass
        assert kept_weight(layer) is kept and "forward" in vars(layer)


def test_switched_adapters_are_seen() -> None:
    model = _model()
    model.add_adapter("second", LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for key, parameter in model.named_parameters():
        if "lora_B.second" in key:
            nn.init.normal_(parameter, std=0.05)

    def outputs() -> list[torch.Tensor]:
        found = [model(input_ids=IDS).logits]
        with model.disable_adapter():
            found.append(model(input_ids=IDS).logits)
        model.set_adapter("second")
        found.append(model(input_ids=IDS).logits)
        model.base_model.set_adapter(["default", "second"])
        found.append(model(input_ids=IDS).logits)
        model.set_adapter("default")
        return found

    plain = outputs()
    with faster_on_cpu(model):
        fast = outputs()
    assert not torch.allclose(plain[0], plain[1], atol=1e-3) and not torch.allclose(plain[0], plain[2], atol=1e-3)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(plain, fast, strict=True))


def test_what_was_trained_in_it_is_saved_and_loaded(tmp_path: Path) -> None:
    model = _model()
    _trained(model, faster_on_cpu(model))
    model.eval().save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(models.load("tiny/llama", quant="nf4", dtype="float32").model, str(tmp_path))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_with_little_memory_weights_stay_packed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _model()
    monkeypatch.setattr(speed, "memory", lambda: (8.0, 0.0001))
    with faster_on_cpu(model) as done:
        assert done["weights"] == done["updates"] == 0
        assert all(kept_weight(m) is None for m in model.modules())
    assert "stay packed" in capsys.readouterr().out


def test_elsewhere_than_on_a_cpu_nothing_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with faster_on_cpu(nn.Linear(2, 2, device="meta")) as done:
        assert not any(done.values())
    assert capsys.readouterr().out == ""


def test_no_gradient_goes_below_the_first_adapter() -> None:
    model = _model()
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    seen: dict[int, bool] = {}
    with faster_on_cpu(model, weights=True):
        hooks = [m.register_forward_pre_hook(lambda m, x: seen.update({id(m): x[0].requires_grad})) for m in layers]
        losses.completion_loss(model, BATCH)[0].backward()
    for hook in hooks:
        hook.remove()
    needed = [seen[id(m)] for m in layers]
    assert needed[:3] == [False] * 3 and all(needed[3:])  # what q, k and v of the first layer read is frozen


def test_adalora_has_three_factors_and_is_left_to_peft() -> None:
    config = AdaLoraConfig(
        init_r=4, target_r=2, total_step=9, target_modules="all-linear", task_type="CAUSAL_LM", lora_alpha=8
    )
    model = get_peft_model(models.load("tiny/llama", quant="nf4", dtype="float32").model, config).train()
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            nn.init.normal_(parameter, std=0.02)
    plain = losses.completion_loss(model, BATCH)[0]
    with faster_on_cpu(model) as done:
        assert done["updates"] == 0 and done["weights"] > 0
        assert torch.equal(losses.completion_loss(model, BATCH)[0], plain)
    assert all(plain_lora(m) is False for m in model.modules() if isinstance(m, LoraLayer))
