"""The label mask, the precision flags, stopping on NaN, and resuming to the same weights, with a real trainer."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from helpers import models, training
from helpers.errors import RunError

ANSWERS = ["salt", "red onion and cream", "1. Chop the leek.\n2. Serve hot.", "é", "butter, flour, milk"] * 4


def _rows() -> Dataset:
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"Repeat:\n- {answer} {i}"}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            for i, answer in enumerate(ANSWERS)
        ]
    )


def _trainer(folder: Path, **changes: Any) -> training.CompletionTrainer:
    torch.manual_seed(0)
    loaded = models.load("tiny/llama", quant="nf4", dtype="float32")
    model = get_peft_model(
        loaded.model, LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    options: dict[str, Any] = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3,
        "logging_steps": 1, "save_strategy": "steps", "save_steps": 3, "report_to": "none", "disable_tqdm": True,
        "bf16": False, "gradient_checkpointing": False, "completion_only_loss": True, "max_length": 64,
        "dataloader_pin_memory": False, "train_sampling_strategy": "group_by_length",
    }  # fmt: skip
    arguments = SFTConfig(**(options | changes))
    trainer = training.CompletionTrainer(
        model=model, args=arguments, train_dataset=_rows(), processing_class=loaded.tokenizer
    )
    training.float32_adapters(trainer.model)
    return trainer


def _adapter(trainer: training.CompletionTrainer) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}


class LargestSoftmax(TorchDispatchMode):
    """Remembers the most numbers that a log-softmax gave."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._log_softmax.default:
            self.numbers = max(self.numbers, out.numel())
        return out


def test_the_loss_never_holds_the_softmax_of_more_than_one_row(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    longest = int((batch["labels"] != -100).sum(1).max())
    with LargestSoftmax() as seen:
        trainer.compute_loss(trainer.model, dict(batch)).backward()
    assert len(batch["labels"]) > 1
    assert 0 < seen.numbers <= longest * trainer.model.config.vocab_size


def test_every_learned_token_belongs_to_an_answer(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    tokenizer: Any = trainer.processing_class
    seen = []
    for batch in trainer.get_train_dataloader():
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            runs = training.label_table(tokenizer, ids, labels)
            assert "".join(text for _, text in runs) == tokenizer.decode(ids)
            learned = "".join(text for role, text in runs if role == "loss")
            answer, end, rest = learned.partition("<|im_end|>")
            assert end and not rest.strip()
            assert runs[0][0] == "context" and runs[0][1].endswith("assistant\n")
            assert all(set(text.split("<|endoftext|>")) == {""} for role, text in runs if role == "padding")
            seen.append(answer)
    assert sorted(seen) == sorted(ANSWERS)


def test_loss_and_gradients_equal_the_plain_trainers(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.model.eval()  # no dropout
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    batch = next(iter(trainer.get_train_dataloader()))
    results = []
    for kind in (training.CompletionTrainer, SFTTrainer):
        trainer.model.zero_grad()
        loss = kind.compute_loss(trainer, trainer.model, dict(batch))
        loss.backward()
        grads = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}
        results.append((loss.item(), grads))
    (ours, our_grads), (theirs, their_grads) = results
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert our_grads.keys() == their_grads.keys()
    assert all(torch.allclose(our_grads[n], their_grads[n], rtol=1e-3, atol=1e-6) for n in our_grads)


def test_adapters_are_float32_and_only_they_train(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainable = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in n and p.dtype == torch.float32 for n, p in trainable.items())


def test_history_learns_and_prints_a_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = training.train(_trainer(tmp_path, learning_rate=2e-2, num_train_epochs=4), lines=5)
    assert [row["step"] for row in history] == list(range(1, 21))
    assert sum(row["loss"] for row in history[-3:]) < 0.7 * sum(row["loss"] for row in history[:3])
    assert all(0.05 < row["memory_gb"] < 24 for row in history)
    assert len(capsys.readouterr().out.splitlines()) <= 8


def test_resuming_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = _trainer(tmp_path / "whole")
    training.train(whole)

    class Interrupt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 5:
                raise KeyboardInterrupt

    cut = _trainer(tmp_path / "cut")
    cut.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        training.train(cut)
    torch.manual_seed(99)  # whatever state the new process is in
    again = _trainer(tmp_path / "cut")
    history = training.train(again, resume_from=tmp_path / "cut" / "checkpoint-3")
    assert len(history) == 10
    first, second = _adapter(whole), _adapter(again)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_in_bfloat16_leaves_the_model_as_it_was_called_before(tmp_path: Path) -> None:
    """No autocast and no float32 copies of the logits remain: reloaded and trained model say the same."""
    trainer = _trainer(tmp_path, bf16=True, use_cpu=True)
    before = trainer.model.forward.__func__
    training.train(trainer)
    assert trainer.model.forward.__func__ is before
    ids = torch.arange(5, 25).unsqueeze(0)
    with torch.no_grad():
        assert trainer.model(input_ids=ids).logits.dtype == torch.float32  # the base model's own type
        trained = trainer.model.eval()(input_ids=ids).logits
        trainer.save_model(str(tmp_path / "adapter"))
        base = models.load("tiny/llama", quant="nf4", dtype="float32").model
        again = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
        assert torch.equal(again(input_ids=ids).logits, trained)


def test_a_loss_that_is_no_number_stops_training(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, max_grad_norm=0.0)

    class Poison(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 4:
                next(p for p in trainer.model.parameters() if p.requires_grad).data.fill_(float("nan"))

    trainer.add_callback(Poison())
    with pytest.raises(training.TrainingDiverged, match="step 5.*learning_rate"):
        training.train(trainer)
    assert (tmp_path / "checkpoint-3" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "checkpoint-6").exists()


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "_save", full)
    with pytest.raises(RunError, match="disk is full.*resume=True"):
        training.train(trainer)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_precision_flags_name_one_format_at_most(dtype: str) -> None:
    flags = training.PRECISION[dtype]
    assert flags == {"fp16": dtype == "float16", "bf16": dtype == "bfloat16"}
