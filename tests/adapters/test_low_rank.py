"""Spectra, penalties and truncation of low-rank updates, against dense matrices."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from helpers.adapters import low_rank
from helpers.adapters.low_rank.spectra import small_svd
from helpers.config import parameters
from helpers.errors import ModelError, ParameterError

IDS = {"input_ids": torch.arange(3, 19)[None], "attention_mask": torch.ones(1, 16, dtype=torch.long)}
IDS["labels"] = IDS["input_ids"]


def base() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=2, **sizes))


def wrapped(r: int = 4, moved: float = 1.0, **more: Any) -> Any:
    """A model with an update whose B is not 0."""
    model = get_peft_model(base(), LoraConfig(r=r, lora_alpha=3 * r, target_modules="all-linear", **more))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = moved * torch.randn_like(parameter)
    return model


def dense(model: Any) -> dict[str, torch.Tensor]:
    return {name: f.scale * f.b.double() @ f.a.double() for name, f in low_rank.factors(model).items()}


@pytest.mark.parametrize("r", [1, 4, 40])  # 40: more than some layers have rows
def test_singular_values_are_those_of_the_whole_update(r: int) -> None:
    model = wrapped(r)
    found = low_rank.of_lora(model)
    whole = dense(model)
    assert list(found) == list(whole) and len(found) == 14
    for name, values in found.items():
        expected = torch.linalg.svdvals(whole[name]).detach().numpy()
        assert len(values) == min(r, *whole[name].shape)
        assert np.allclose(values, expected[: len(values)], atol=1e-5 * expected[0])
        assert np.allclose(expected[len(values) :], 0, atol=1e-5 * expected[0])


def test_the_small_decomposition_gives_the_product_back() -> None:
    torch.manual_seed(2)
    a, b = torch.randn(5, 20), torch.randn(30, 5)
    u, s, v = small_svd(a, b)
    assert torch.allclose(u * s @ v.T, b @ a, atol=1e-4)
    assert torch.allclose(u.T @ u, torch.eye(5), atol=1e-5) and torch.allclose(v.T @ v, torch.eye(5), atol=1e-5)
    assert small_svd(a.bfloat16(), b.bfloat16()).s.dtype == torch.float32


def test_full_fine_tuning_is_read_from_the_difference_of_weights() -> None:
    before = base()
    after = copy.deepcopy(before)
    torch.manual_seed(3)
    for layer in after.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data += 0.01 * torch.randn_like(layer.weight)
    found = low_rank.of_difference(after, before)
    assert len(found) == 14 and "lm_head" not in found
    for name, values in found.items():
        change = after.get_submodule(name).weight.double() - before.get_submodule(name).weight.double()
        assert np.allclose(values, torch.linalg.svdvals(change).detach().numpy(), rtol=1e-6, atol=1e-9)
    with pytest.raises(ModelError, match="had no weight of this shape"):
        low_rank.of_difference(after, nn.Linear(2, 2))


def test_ranks_of_known_spectra() -> None:
    for rank in (low_rank.stable_rank, low_rank.effective_rank):
        assert rank(np.ones(5)) == pytest.approx(5)
    one = np.array([3.0, 0, 0])
    assert low_rank.stable_rank(one) == low_rank.effective_rank(one) == 1
    assert low_rank.stable_rank(np.zeros(3)) == low_rank.effective_rank(np.zeros(3)) == 0
    values = np.array([2.0, 1.0, 1.0])
    assert low_rank.stable_rank(values) == pytest.approx(6 / 4)
    assert low_rank.effective_rank(values) == pytest.approx(np.exp(0.5 * np.log(2) + 0.5 * np.log(4)))
    assert low_rank.effective_rank(7 * values) == pytest.approx(low_rank.effective_rank(values))
    assert low_rank.share_of_energy(values, 1) == pytest.approx(4 / 6) and low_rank.share_of_energy(np.zeros(2), 1) == 1


def dense_penalty(name: str, model: Any) -> torch.Tensor:
    """Each formula on whole matrices, with loops."""
    total = torch.zeros((), dtype=torch.float64)
    for f in low_rank.factors(model).values():
        a, b = f.a.double(), f.b.double()
        if name == "nuclear":
            total = total + torch.linalg.matrix_norm(f.scale * b @ a, "nuc")
        elif name == "factor_l2":
            total = total + f.scale * (a.norm() ** 2 + b.norm() ** 2) / 2
        else:
            for i in range(len(a)):
                for j in range(len(a)):
                    total = total + (i != j) * ((a[i] @ a[j]) ** 2 + (b[:, i] @ b[:, j]) ** 2)
    return total


def gradients(value: torch.Tensor, model: Any) -> dict[str, torch.Tensor]:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return dict(zip(trained, torch.autograd.grad(value, list(trained.values())), strict=True))


@pytest.mark.parametrize("name", low_rank.PENALTIES)
def test_penalties_and_their_gradients_are_those_of_the_formula(name: str) -> None:
    model = wrapped()
    ours, theirs = low_rank.PENALTIES[name](model), dense_penalty(name, model)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    expected = gradients(theirs, model)
    for key, gradient in gradients(ours, model).items():
        assert (gradient - expected[key]).abs().max() <= 1e-5 * expected[key].abs().max(), key


def test_equal_singular_values_have_the_gradient_of_the_product() -> None:
    a = torch.eye(3, 6).requires_grad_()
    b = torch.eye(5, 3).requires_grad_()
    low_rank.NuclearNorm.apply(a[None], b[None]).sum().backward()
    assert torch.allclose(a.grad, b.detach().T @ torch.eye(5, 6), atol=1e-6)  # U Vᵀ is the product itself here
    assert torch.allclose(b.grad, torch.eye(5, 6) @ a.detach().T, atol=1e-6)


def test_directions_that_are_not_there_are_not_pulled_at() -> None:
    """B = 0, where training starts, and an update of a lower rank than its factors allow."""
    fresh = wrapped(moved=0.0)
    assert float(low_rank.PENALTIES["nuclear"](fresh)) == 0
    assert all(not gradient.any() for gradient in gradients(low_rank.PENALTIES["nuclear"](fresh), fresh).values())
    torch.manual_seed(4)
    a, b = torch.randn(3, 8), torch.randn(7, 3)
    b[:, 2] = b[:, 0] + b[:, 1]
    a.requires_grad_(), b.requires_grad_()
    low_rank.NuclearNorm.apply(a[None], b[None]).sum().backward()
    u, s, vh = torch.linalg.svd((b @ a).detach().double(), full_matrices=False)
    thin = (u[:, :2] @ vh[:2]).float()
    assert s[2] < 1e-5 * s[0]
    assert torch.allclose(b.grad, thin @ a.detach().T, atol=1e-4)
    assert torch.allclose(a.grad, b.detach().T @ thin, atol=1e-4)


def test_weight_decay_on_both_factors_bounds_the_nuclear_norm_and_reaches_it() -> None:
    model = wrapped()
    nuclear, bound = (low_rank.PENALTIES[name] for name in ("nuclear", "factor_l2"))
    assert float(nuclear(model)) < float(bound(model))
    with torch.no_grad():
        for f in low_rank.factors(model).values():
            u, s, v = small_svd(f.a, f.b)
            f.a.copy_(s.sqrt()[:, None] * v.T)
            f.b.copy_(u * s.sqrt())
    assert float(nuclear(model)) == pytest.approx(float(bound(model)), rel=1e-5)


class Plain:
    """What the mix-in needs of a trainer."""

    current_gradient_accumulation_steps = 4

    def __init__(self, model: Any) -> None:
        self.model = model

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        return (torch.tensor(2.0), "outputs") if return_outputs else torch.tensor(2.0)


class Both(low_rank.Penalised, Plain):
    pass


def test_the_mix_in_adds_the_penalty_once_an_update_and_only_while_training() -> None:
    model = wrapped().train()
    trainer = Both(model, penalty=lambda _: torch.tensor(10.0), strength=0.5)
    assert float(trainer.compute_loss(model, {})) == 7.0  # Trainer divides it by the passes
    assert float(trainer.compute_loss(model, {}, num_items_in_batch=3)) == 2 + 5 / 4  # it sums the passes
    assert trainer.compute_loss(model, {}, return_outputs=True) == (torch.tensor(7.0), "outputs")
    assert float(trainer.compute_loss(model.eval(), {})) == 2.0
    assert float(Both(model.train()).compute_loss(model, {})) == 2.0


@pytest.mark.parametrize("name", ["factor_l2", "orthogonality"])
def test_a_penalty_waits_until_there_is_an_update(name: str) -> None:
    """Adam would take full steps on A, on which the loss has no gradient while B is 0."""
    model = wrapped(moved=0.0).train()
    penalty = low_rank.PENALTIES[name]
    assert float(penalty(model)) > 0
    trainer = Both(model, penalty=penalty, strength=1.0)
    assert float(trainer.compute_loss(model, {})) == 2.0
    first = next(layer for layer in model.modules() if hasattr(layer, "lora_B"))
    with torch.no_grad():
        first.lora_B["default"].weight[0, 0] = 1e-6
    assert float(trainer.compute_loss(model, {})) == pytest.approx(2.0 + float(penalty(model)))


class PenalisedTrainer(low_rank.Penalised, Trainer):
    pass


def after_an_update(passes: int, place: Path, **penalty: Any) -> dict[str, torch.Tensor]:
    model = wrapped(moved=0.3)
    rows = [{"input_ids": IDS["input_ids"][0] + i, "labels": IDS["input_ids"][0] + i} for i in range(4)]
    arguments = TrainingArguments(
        output_dir=str(place), max_steps=1, per_device_train_batch_size=4 // passes, gradient_accumulation_steps=passes,
        learning_rate=0.1, optim="sgd", max_grad_norm=0.0, lr_scheduler_type="constant", report_to="none",
        use_cpu=True, disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    PenalisedTrainer(model=model, args=arguments, train_dataset=rows, **penalty).train()
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def test_an_update_is_the_same_however_it_is_split_into_passes(tmp_path: Path) -> None:
    penalty: dict[str, Any] = {"penalty": low_rank.PENALTIES["nuclear"], "strength": 0.01}
    whole, split, without = (
        after_an_update(1, tmp_path, **penalty), after_an_update(4, tmp_path, **penalty), after_an_update(1, tmp_path)
    )  # fmt: skip
    for name, weights in whole.items():
        assert torch.allclose(weights, split[name], atol=1e-6), name
    assert any((weights - without[name]).abs().max() > 1e-4 for name, weights in whole.items())


@pytest.mark.parametrize("k", [1, 3])
def test_cutting_keeps_the_strongest_directions_and_puts_all_back(k: int) -> None:
    model = wrapped()
    before = {name: p.clone() for name, p in model.named_parameters()}
    whole = dense(model)
    with low_rank.truncated(model, k) as layers:
        assert layers == 14
        for name, update in dense(model).items():
            u, s, vh = torch.linalg.svd(whole[name], full_matrices=False)
            best = u[:, :k] * s[:k] @ vh[:k]
            assert torch.allclose(update, best, atol=1e-4 * float(s[0]))
            assert low_rank.factors(model)[name].a.shape[0] == 4
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_cut_at_full_rank_the_adapter_is_itself() -> None:
    model = wrapped()
    before = {name: p.clone() for name, p in model.named_parameters()}
    with low_rank.truncated(model, 4) as layers:
        assert layers == 0 and all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    with pytest.raises(ParameterError, match="k = 0 is not a rank"), low_rank.truncated(model, 0):
        pass


def test_what_is_no_product_of_two_factors_is_refused() -> None:
    with pytest.raises(ModelError, match="no LoRA layer"):
        low_rank.factors(base())
    with pytest.raises(ModelError, match="not a product of two factors"):
        low_rank.factors(wrapped(use_dora=True))


def test_adalora_gets_its_ranks_and_its_orthogonality() -> None:
    config = AdaLoraConfig(init_r=6, target_r=2, total_step=8, tinit=1, tfinal=2, deltaT=1, target_modules="all-linear")
    model = get_peft_model(base(), config).train()
    callback = low_rank.AllocateRank(model)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), 1e-2)
    for step in range(8):
        (model(**{k: v for k, v in IDS.items() if k != "labels"}).logits.square().mean()
         + 0.1 * low_rank.adalora_orthogonality(model)).backward()  # fmt: skip
        optimizer.step()
        callback.on_optimizer_step(None, type("State", (), {"global_step": step}), None)
        optimizer.zero_grad()
    kept = sum(int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name)
    assert 0 < kept <= 14 * 2
    plain = model.base_model(**IDS)
    without = nn.functional.cross_entropy(plain.logits[0, :-1], IDS["input_ids"][0, 1:])
    weight = model.peft_config["default"].orth_reg_weight
    ours = weight * low_rank.adalora_orthogonality(model)
    assert float(plain.loss - without) == pytest.approx(float(ours), rel=1e-4), "as PEFT takes it"


def test_why_a_variant_does_not_run() -> None:
    assert low_rank.reason_against(wrapped, IDS) == ""
    assert low_rank.reason_against(lambda: base().requires_grad_(False), IDS).startswith("RuntimeError")

    def refuses() -> Any:
        raise ValueError("not on this base\nsecond line")

    assert low_rank.reason_against(refuses, IDS) == "ValueError: not on this base"


def test_the_parameter_names_the_penalties_that_there_are() -> None:
    assert tuple(low_rank.PENALTIES) == parameters.PENALTIES
