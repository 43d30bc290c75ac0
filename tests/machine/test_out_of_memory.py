"""Out of memory in training and in answering: one line, and the memory is free again."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from trainer_cases import _trainer
from transformers import Trainer, TrainingArguments

from helpers import inference, models
from helpers.errors import OutOfMemory
from helpers.training import trainers


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
