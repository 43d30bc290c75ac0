"""The label mask, stopping on NaN, and resuming to the same weights, with a real trainer."""

from __future__ import annotations

import errno
import os
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerControl, TrainingArguments
from transformers.trainer_callback import ExportableState
from trl import SFTConfig, SFTTrainer

from helpers import files, inference, models
from helpers.errors import OutOfMemory, RunError
from helpers.training import trainers
from helpers.training.callbacks import StopOnNaN
from helpers.training.checkpoints import latest_checkpoint

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


def _trainer(folder: Path, **changes: Any) -> trainers.CompletionTrainer:
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
    trainer = trainers.CompletionTrainer(
        model=model, args=arguments, train_dataset=_rows(), eval_dataset=_rows(), processing_class=loaded.tokenizer
    )
    trainers.float32_adapters(trainer.model)
    return trainer


def _adapter(trainer: trainers.CompletionTrainer) -> dict[str, torch.Tensor]:
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
            runs = trainers.label_table(tokenizer, ids, labels)
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


class Hungry(torch.nn.Module):
    """Asks for 2^60 bytes in its ``at``-th forward pass, which no allocator has."""

    def __init__(self, model: Any, at: int, error: BaseException | None = None) -> None:
        super().__init__()
        self.model, self.config, self.at, self.error, self.calls = model, model.config, at, error, 0

    def forward(self, **inputs: Any) -> Any:
        self.calls += 1
        kept = torch.ones(2**20)  # of the failed step, 4 MiB
        self.seen = weakref.ref(kept)
        if self.calls == self.at:
            if self.error is not None:
                raise self.error
            torch.empty(2**58, dtype=torch.float32)
        return self.model(**inputs)


def _hungry(folder: Path, error: BaseException | None = None) -> Trainer:
    trainer = _trainer(folder)
    inner = trainer.model
    arguments = TrainingArguments(
        str(folder), max_steps=6, per_device_train_batch_size=4, use_cpu=True, report_to="none", disable_tqdm=True,
        logging_steps=1, save_strategy="no", remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    data = {"train_dataset": trainer.train_dataset, "data_collator": trainer.data_collator}
    return Trainer(model=Hungry(inner, 3, error), args=arguments, **data)


@pytest.mark.parametrize("error", [None, torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to"), MemoryError()])
def test_out_of_memory_is_one_line_and_the_memory_is_free_again(tmp_path: Path, error: Any) -> None:
    trainer = _hungry(tmp_path, error)
    with pytest.raises(OutOfMemory) as caught:
        trainers.train(trainer, advice="set max_length to 128" if error is None else "")
    line = str(caught.value)
    assert line.startswith("out of memory at step 3 (") and "GiB" in line and "\n" not in line
    cure = "set max_length to 128." if error is None else "halve batch_size and double grad_accumulation."
    assert line.endswith(cure)
    assert caught.value.__context__ is None and caught.value.__cause__ is None, "it holds no frame of the failed step"
    assert all(p.grad is None for p in trainer.model.parameters()) and trainer.optimizer is None
    if error is None:  # the others are still held by this test's parameters, frames and all
        assert trainer.model.seen() is None, "the failed step's tensors are gone"
    history = trainers.train(trainer)  # the cell once more: the third pass is over, so now it works
    assert [row["step"] for row in history] == list(range(1, 7))


def test_generating_without_memory_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = models.load("tiny/llama", dtype="float32")
    forward = type(loaded.model).forward
    monkeypatch.setattr(type(loaded.model), "forward", lambda *_, **__: torch.empty(2**58))
    talk = [{"role": "user", "content": "hello"}]
    with pytest.raises(OutOfMemory, match="out of memory while generating .*GiB.* halve batch_size"):
        inference.generate(loaded.model, loaded.tokenizer, [talk], max_new_tokens=4)
    monkeypatch.setattr(type(loaded.model), "forward", forward)
    assert inference.generate(loaded.model, loaded.tokenizer, [talk], max_new_tokens=4)


def test_other_errors_pass_through_untouched(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        trainers.train(_hungry(tmp_path, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))


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


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "_save", full)
    with pytest.raises(RunError, match="disk is full.*resume=True"):
        trainers.train(trainer)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_file_that_the_system_refuses_is_one_clear_line(tmp_path: Path, limit: int) -> None:
    """Real refusals: safetensors' file is too large for the first limit, torch's optimizer for the second."""
    import resource

    trainer = _trainer(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(RunError, match="checkpoint in .* could not be written .*resume=True") as caught:
            trainers.train(trainer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert latest_checkpoint(tmp_path) is None


def test_a_drive_that_drops_out_while_saving_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FIRST_PAUSE", 0.01)
    trainer = _trainer(tmp_path)
    real, calls = trainer._save_rng_state, 0

    def drops(folder: str) -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 2) or calls > 4:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        real(folder)

    monkeypatch.setattr(trainer, "_save_rng_state", drops)
    with pytest.raises(RunError, match="could not be written .*not connected.* mount the drive again"):
        trainers.train(trainer)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-6", "the first two were written at last"
