"""The label mask, stopping on NaN, and resuming to the same weights, with a real trainer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.utils._python_dispatch import TorchDispatchMode
from trainer_cases import ANSWERS, _adapter, _trainer
from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl
from transformers.trainer_callback import ExportableState
from trl import SFTTrainer

from helpers import models
from helpers.training import trainers
from helpers.training.callbacks import StopOnNaN


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


def test_the_label_table_shows_an_answer_with_its_mark_and_nothing_else(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    tokenizer: Any = trainer.processing_class
    seen = []
    for batch in trainer.get_train_dataloader():
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            runs = trainers.label_table(tokenizer, ids, labels)
            assert "".join(text for _, text in runs) == tokenizer.decode(ids)
            assert [role for role, _ in runs] in (["context", "loss"], ["context", "loss", "padding"])
            assert runs[0][1].endswith("assistant\n")
            assert all(set(text.split("<|endoftext|>")) == {""} for role, text in runs if role == "padding")
            seen.append(runs[1][1])
    assert sorted(seen) == sorted(f"{answer}<|im_end|>" for answer in ANSWERS)


def test_loss_and_gradients_equal_the_plain_trainers(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.model.eval()  # no dropout
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    batch = next(iter(trainer.get_train_dataloader()))
    results = []
    for kind in (trainers.CompletionTrainer, SFTTrainer):
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
    history = trainers.train(_trainer(tmp_path, learning_rate=2e-2, num_train_epochs=4), lines=5)
    assert [row["step"] for row in history] == list(range(1, 21))
    assert sum(row["loss"] for row in history[-3:]) < 0.7 * sum(row["loss"] for row in history[:3])
    assert all(0.05 < row["memory_gb"] < 24 for row in history)
    assert all(row["examples_per_s"] > 0 and row["tokens_per_s"] > 5 * row["examples_per_s"] for row in history)
    seconds = [row["seconds"] for row in history]
    assert seconds == sorted(seconds) and trainers.seconds_of(history) == seconds[-1] > 0
    assert len(capsys.readouterr().out.splitlines()) <= 8


def test_resuming_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = _trainer(tmp_path / "whole")
    trainers.train(whole)

    class Interrupt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 5:
                raise KeyboardInterrupt

    cut = _trainer(tmp_path / "cut")
    cut.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainers.train(cut)
    torch.manual_seed(99)  # whatever state the new process is in
    again = _trainer(tmp_path / "cut")
    history = trainers.train(again, resume_from=tmp_path / "cut" / "checkpoint-3")
    assert len(history) == 10
    first, second = _adapter(whole), _adapter(again)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_in_bfloat16_leaves_the_model_as_it_was_called_before(tmp_path: Path) -> None:
    """No autocast and no float32 copies of the logits remain: reloaded and trained model say the same."""
    trainer = _trainer(tmp_path, bf16=True, use_cpu=True)
    before = trainer.model.forward.__func__
    trainers.train(trainer)
    assert trainer.model.forward.__func__ is before
    ids = torch.arange(5, 25).unsqueeze(0)
    with torch.no_grad():
        assert trainer.model(input_ids=ids).logits.dtype == torch.float32  # the base model's own type
        trained = trainer.model.eval()(input_ids=ids).logits
        trainer.save_model(str(tmp_path / "adapter"))
        base = models.load("tiny/llama", quant="nf4", dtype="float32").model
        again = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
        assert torch.equal(again(input_ids=ids).logits, trained)


def _finite(model: Any) -> bool:
    ids = torch.arange(5, 25).unsqueeze(0)
    with torch.no_grad():
        return bool(model.eval()(input_ids=ids).logits.isfinite().all())


@pytest.mark.parametrize(("rate", "every"), [(1e30, 1), (1e30, 4)])
def test_a_diverged_training_keeps_the_last_sound_adapter(tmp_path: Path, rate: float, every: int) -> None:
    """An absurd learning rate: finite weights come before the loss that they make infinite."""
    trainer = _trainer(
        tmp_path, learning_rate=rate, lr_scheduler_type="constant_with_warmup", warmup_steps=4, logging_steps=every,
        num_train_epochs=4, adam_epsilon=1e-8, max_grad_norm=0.0,
    )  # fmt: skip
    with pytest.raises(trainers.TrainingDiverged) as caught:
        trainers.train(trainer)
    line = str(caught.value)
    assert "lower learning_rate" in line and "the weights are back at step" in line and "\n" not in line
    assert _finite(trainer.model)
    place = tmp_path / trainers.LAST_GOOD
    assert str(place) in line
    base = models.load("tiny/llama", quant="nf4", dtype="float32").model
    again = PeftModel.from_pretrained(base, str(place)).eval()
    ids = torch.arange(5, 25).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, trainer.model.eval()(input_ids=ids).logits)
    for checkpoint in tmp_path.glob("checkpoint-*"):
        trained = PeftModel.from_pretrained(models.load("tiny/llama", quant="nf4", dtype="float32").model, checkpoint)
        assert all(p.isfinite().all() for p in trained.parameters())


def test_weights_that_turn_nan_between_two_logs_are_not_saved(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, logging_steps=5)

    class Poison(TrainerCallback):
        def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 5:  # the sixth update, saved before the next log
                next(p for p in trainer.model.parameters() if p.requires_grad).data.fill_(float("nan"))

    trainer.add_callback(Poison())
    with pytest.raises(trainers.TrainingDiverged, match="step 6.* back at step 0.*learning_rate"):
        trainers.train(trainer)
    assert (tmp_path / "checkpoint-3" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "checkpoint-6").exists() and _finite(trainer.model)


def test_gradients_out_of_range_in_fp16_are_the_scalers_business() -> None:
    class State:
        global_step = 7

    for fp16, stops in ((True, False), (False, True)):
        guard, control = StopOnNaN(), TrainerControl()
        logs = {"loss": 1.0, "grad_norm": float("inf")}
        guard.on_log(SimpleNamespace(fp16=fp16), State(), control, logs=logs, model=torch.nn.Linear(1, 1))
        assert control.should_training_stop is stops and (guard.step == 7) is stops


class Watch(TrainerCallback, ExportableState):
    """Remembers the steps it has seen, in checkpoints too."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.rows.append(state.global_step)

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"rows": self.rows}}


def test_a_training_that_had_ended_is_loaded_and_not_trained_again(tmp_path: Path) -> None:
    whole = _trainer(tmp_path)
    whole.add_callback(Watch())
    before = trainers.train(whole)
    torch.manual_seed(99)
    again = _trainer(tmp_path)
    watch = Watch()
    again.add_callback(watch)
    after = trainers.train(again, resume_from=tmp_path / "checkpoint-10", lines=0)
    assert [row["step"] for row in after] == [row["step"] for row in before]
    assert [row["loss"] for row in after] == [row["loss"] for row in before]
    assert watch.rows == [row["step"] for row in before], "what a callback kept is back"
    assert trainers.seconds_of(after) == pytest.approx(trainers.seconds_of(before), rel=0.2)
    first, second = _adapter(whole), _adapter(again)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_early_stopping_and_the_best_checkpoint_survive_an_interruption(tmp_path: Path) -> None:
    """Validation that only gets worse: patience 3 stops at step 5, also when it was interrupted at step 3."""

    def build(folder: Path) -> trainers.CompletionTrainer:
        trainer = _trainer(
            folder, learning_rate=2e-1, num_train_epochs=4, eval_strategy="steps", eval_steps=1, save_steps=1,
            load_best_model_at_end=True, metric_for_best_model="eval_loss", save_total_limit=2,
        )  # fmt: skip
        trainer.add_callback(EarlyStoppingCallback(3))
        return trainer

    class Interrupt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == stop + 1:
                raise KeyboardInterrupt

    whole = build(tmp_path / "whole")
    ended = [row["step"] for row in trainers.train(whole, lines=0) if "eval_loss" in row]
    assert whole.state.best_global_step + 3 == ended[-1] < whole.state.max_steps
    stop = ended[-1] - 1
    cut = build(tmp_path / "cut")
    cut.add_callback(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainers.train(cut, lines=0)
    again = build(tmp_path / "cut")
    trainers.train(again, resume_from=tmp_path / "cut" / f"checkpoint-{stop}", lines=0)
    assert again.state.global_step == ended[-1]
    first, second = _adapter(whole), _adapter(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
