"""Training prefixes: only they get gradients, the loss falls, Trainer resumes, and 4-bit models train as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from prefix_cases import CASES, TEXT, Case
from transformers import Trainer, TrainingArguments
from trl import SFTConfig

from helpers import inference, models
from helpers.adapters.prefix import Prefix, wrap_prefix
from helpers.errors import ModelError
from helpers.training import trainers

PAIRS = [(case, kind) for case in CASES for kind in ("embedding", "key_value")]
PAIRS += [(case, "peft") for case in CASES if case.name != "qwen2_vl"]


@pytest.mark.parametrize(("case", "kind"), PAIRS, ids=[f"{case.name}-{kind}" for case, kind in PAIRS])
@pytest.mark.parametrize("hidden", [None, 16])
@pytest.mark.filterwarnings("ignore:Token type ids are not supported")
def test_only_the_prefix_learns_and_the_loss_falls(case: Case, kind: str, hidden: int | None) -> None:
    torch.manual_seed(2)
    model = case.model()
    wrapped = wrap_prefix(model, kind, n_tokens=4, hidden=hidden).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = case.batch([0, 1, 2], side="right", suffix=2)
    labels = case.labels(inputs, 2)
    own = wrapped.trainable_parameters()
    assert {id(p) for p in own} == {id(p) for p in wrapped.encoder.parameters()}
    assert all(p.dtype == torch.float32 for p in own)
    optimizer = torch.optim.Adam(own, lr=0.03 if hidden else 0.3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = wrapped(**inputs, labels=labels).loss
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in own)
        assert any(p.grad.abs().max() > 0 for p in own)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Rows(torch.utils.data.Dataset):
    """Single rows with labels, unpadded."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index}


def trainer(case: Case, wrapped: Prefix, folder: Path, steps: int) -> Trainer:
    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        inputs = case.batch([row["index"] for row in rows], side="right", suffix=2)
        return inputs | {"labels": case.labels(inputs, 2)}

    arguments = TrainingArguments(
        str(folder), max_steps=steps, save_steps=4, logging_steps=1, learning_rate=0.03, per_device_train_batch_size=2,
        gradient_accumulation_steps=2, lr_scheduler_type="constant", use_cpu=True, report_to=[], seed=1,
        remove_unused_columns=False, disable_tqdm=True,
    )  # fmt: skip
    return Trainer(model=wrapped, args=arguments, train_dataset=Rows(case), data_collator=collate)


@pytest.mark.parametrize(
    ("case", "kind"),
    [(CASES[0], "embedding"), (CASES[4], "embedding"), (CASES[4], "key_value")],
    ids=["llama-embedding", "qwen2_vl-embedding", "qwen2_vl-key_value"],
)
def test_under_trainer_checkpoints_hold_the_prefix_and_resume(case: Case, kind: str, tmp_path: Path) -> None:
    def start(folder: str, steps: int) -> Trainer:
        torch.manual_seed(2)
        return trainer(case, wrap_prefix(case.model(), kind, n_tokens=4, hidden=16), tmp_path / folder, steps)

    whole = start("whole", 8)
    history = trainers.train(whole)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    first = start("parts", 4)
    trainers.train(first)
    saved = tmp_path / "parts" / "checkpoint-4" / "model.safetensors"
    assert saved.stat().st_size < 4 * sum(p.numel() for p in first.model.encoder.parameters()) * 2 + 4096
    second = start("parts", 8)
    trainers.train(second, resume_from=tmp_path / "parts" / "checkpoint-4")
    for a, b in zip(whole.model.trainable_parameters(), second.model.trainable_parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("kind", ["embedding", "key_value"])
def test_the_courses_completion_trainer_trains_a_prefix(kind: str, tmp_path: Path) -> None:
    loaded = models.load("tiny/llama", dtype="float32")
    turns = {"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "warm."}]}
    arguments = SFTConfig(
        str(tmp_path), max_steps=6, logging_steps=1, learning_rate=0.1, use_cpu=True, bf16=False, report_to=[],
        gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    torch.manual_seed(2)
    wrapped = wrap_prefix(loaded.model, kind, n_tokens=4)
    rows = Dataset.from_list([trainers.completion_row(loaded.tokenizer, turns)] * 8)
    ours = trainers.CompletionTrainer(
        model=wrapped, args=arguments, train_dataset=rows, processing_class=loaded.tokenizer
    )
    batch = next(iter(ours.get_train_dataloader()))
    with torch.no_grad():
        expected = wrapped(**batch).loss.item()
    history = trainers.train(ours)
    assert history[0]["loss"] == pytest.approx(expected, abs=1e-3)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_trainer_keeps_the_columns_a_model_can_read(tmp_path: Path) -> None:
    wrapped = wrap_prefix(CASES[4].model(), "key_value", n_tokens=4)
    ours = trainer(CASES[4], wrapped, tmp_path, 1)
    ours._set_signature_columns_if_needed()
    assert {"input_ids", "labels", "pixel_values", "image_grid_thw", "mm_token_type_ids"} <= set(
        ours._signature_columns
    )
    assert ours.label_names == ["labels"]
    plain = Trainer(model=CASES[4].model(), args=ours.args)
    assert ours.model_accepts_loss_kwargs == plain.model_accepts_loss_kwargs
    assert ours._loss_shifts_labels == plain._loss_shifts_labels


@pytest.mark.parametrize("kind", ["key_value", "peft"])
def test_gradient_checkpointing_is_refused_however_it_is_asked_for(kind: str, tmp_path: Path) -> None:
    case = CASES[0]
    wrapped = wrap_prefix(case.model(), kind, n_tokens=4).train()
    for name in ("gradient_checkpointing_enable", "activation_checkpointing_enable"):
        with pytest.raises(ModelError, match="exclude each other"):
            getattr(wrapped, name)()
    wrapped.base.gradient_checkpointing_enable()  # behind the wrapper's back
    inputs = case.batch([0, 1, 2])
    with pytest.raises(ModelError, match="exclude each other"):
        wrapped(**inputs)
    with pytest.raises(ModelError, match="exclude each other"):
        wrap_prefix(wrapped.base, kind, n_tokens=4)


def test_pictures_may_be_computed_twice_in_front_of_a_prefix() -> None:
    model = CASES[3].model()
    model.model.vision_tower.gradient_checkpointing_enable()
    assert wrap_prefix(model, "key_value", n_tokens=4).train()(**CASES[3].batch([0])).logits.shape[1] == 8
    with pytest.raises(ModelError, match="PEFT's prefix tuning refuses"):
        wrap_prefix(model, "peft", n_tokens=4)


@pytest.mark.parametrize("kind", ["embedding", "key_value", "peft"])
def test_a_4_bit_model_trains_the_same_before_and_after_an_evaluation(kind: str) -> None:
    loaded = models.load("tiny/llama", quant="nf4", dtype="float32")
    torch.manual_seed(0)
    wrapped = wrap_prefix(loaded.model, kind, n_tokens=4, hidden=16)
    prompts = [[{"role": "user", "content": text}] for text in ("Say something.", "Hello")]
    ids = loaded.tokenizer("the soup is warm.", return_tensors="pt")["input_ids"]

    def gradients() -> list[torch.Tensor]:
        wrapped.train().zero_grad()
        wrapped(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in wrapped.trainable_parameters()]

    before = gradients()
    assert all(g.abs().max() > 0 for g in before)
    inference.generate(wrapped, loaded.tokenizer, prompts, max_new_tokens=3)
    inference.score_options(wrapped, loaded.tokenizer, prompts, [["a", "b"], ["c"]])
    for a, b in zip(before, gradients(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert models.count_parameters(wrapped).trainable == sum(p.numel() for p in wrapped.encoder.parameters())


@pytest.mark.parametrize("kind", ["embedding", "key_value"])
def test_16_bit_models_train_a_float32_prefix(kind: str) -> None:
    case = CASES[0]
    wrapped = wrap_prefix(case.model().to(torch.bfloat16), kind, init=TEXT)
    inputs = case.batch([0, 1, 2], suffix=2)
    output = wrapped(**inputs, labels=case.labels(inputs, 2))
    output.loss.backward()
    assert output.logits.dtype == torch.bfloat16
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in wrapped.trainable_parameters())
