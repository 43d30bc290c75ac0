"""Losses on the way and the weights of the best state, of a training whose way is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainingArguments

from helpers.training.overfitting import LossWatch


class Line(nn.Module):
    """One number that moves by about the learning rate at each update, and one that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"loss": -self.a * x.mean(), "logits": x}


def watched(folder: Path, target: float, updates: int = 12, parts: int = 6) -> tuple[Line, LossWatch]:
    """``a`` rises from 0 to 1.2; the validation loss is lowest where it passes the target."""
    model = Line()
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=updates, learning_rate=0.1, lr_scheduler_type="constant", use_cpu=True,
        optim="sgd", report_to="none", disable_tqdm=True, save_strategy="no", per_device_train_batch_size=1,
        max_grad_norm=0.0,
    )  # fmt: skip
    measure: Any = {
        "training": lambda: -model.a.detach().numpy().repeat(3),
        "validation": lambda: np.abs(model.a.detach().numpy().repeat(4) - target),
    }
    watch = LossWatch(model, measure, updates, parts)
    rows = Dataset.from_dict({"x": [[1.0]] * updates, "labels": [[0.0]] * updates})
    trainer = Trainer(model=model, args=arguments, train_dataset=rows.with_format("torch"))
    trainer.add_callback(watch)
    trainer.train()
    return model, watch


def test_losses_are_measured_before_and_after_equal_parts(tmp_path: Path) -> None:
    _, watch = watched(tmp_path, 0.6)
    assert watch.steps == [0, 2, 4, 6, 8, 10, 12]
    assert [len(losses) for losses in watch.losses["validation"]] == [4] * 7
    assert np.allclose(
        [losses.mean() for losses in watch.losses["training"]], [-0.1 * s for s in watch.steps], atol=1e-5
    )
    assert watch.seconds >= 0


def test_the_best_weights_are_there_in_the_block_and_the_last_after_it(tmp_path: Path) -> None:
    model, watch = watched(tmp_path, 0.6)
    assert watch.steps[watch.best] == 6
    with watch.stopped_early():
        assert abs(float(model.a.detach()) - 0.6) < 1e-5
    assert abs(float(model.a.detach()) - 1.2) < 1e-5


def test_what_never_turns_is_best_at_the_end_and_what_only_rises_at_the_start(tmp_path: Path) -> None:
    model, watch = watched(tmp_path / "a", 5.0)
    assert watch.best == 6
    with watch.stopped_early():
        assert abs(float(model.a.detach()) - 1.2) < 1e-5
    model, watch = watched(tmp_path / "b", -1.0)
    with watch.stopped_early():
        assert float(model.a.detach()) == 0 and float(model.frozen) == 1


def test_fewer_updates_than_parts(tmp_path: Path) -> None:
    assert watched(tmp_path, 0.1, updates=2, parts=5)[1].steps == [0, 1, 2]
