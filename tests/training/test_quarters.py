"""A training in quarters: what is measured on the way, and that a resumed one has all of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from helpers.training import train
from helpers.training.quarters import EachQuarter, quarterly_arguments

UPDATES = 8
SHARES = ["0 %", "25 %", "50 %", "75 %", "100 %"]


class Slope(torch.nn.Module):
    """y = a·x, with the configuration that ``train`` looks for."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(use_cache=True)
        self.a = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        return {"loss": ((self.a * x - labels) ** 2).mean()}


def _trainer(folder: Path) -> tuple[Trainer, EachQuarter]:
    model = Slope()
    rows = [{"x": torch.ones(1), "labels": torch.ones(1)} for _ in range(4)]
    arguments = TrainingArguments(
        max_steps=UPDATES, learning_rate=0.1, use_cpu=True, **quarterly_arguments(folder, UPDATES)
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows)  # type: ignore[arg-type]
    quarters = EachQuarter(lambda: {"slope": round(float(model.a.detach()), 4)}, UPDATES)
    trainer.add_callback(quarters)
    return trainer, quarters


def test_five_rows_a_training_and_a_resumed_one_has_the_same(tmp_path: Path) -> None:
    trainer, quarters = _trainer(tmp_path)
    history = train(trainer, lines=0)
    assert [row["training done"] for row in quarters.rows] == SHARES
    slopes = [row["slope"] for row in quarters.rows]
    assert slopes[0] == 0 and slopes == sorted(set(slopes))
    assert sum("eval_loss" in row for row in history) == 4
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-8"}

    resumed, kept = _trainer(tmp_path)
    train(resumed, resume_from=tmp_path / "checkpoint-6", lines=0)
    assert kept.rows == quarters.rows


def test_only_measuring_during_training_takes_seconds_off_it(tmp_path: Path) -> None:
    _, quarters = _trainer(tmp_path)
    assert len(quarters.rows) == 1 and quarters.seconds == 0
    quarters.on_step_end(None, SimpleNamespace(global_step=1), None)  # type: ignore[arg-type]
    assert quarters.seconds == 0
    quarters.on_step_end(None, SimpleNamespace(global_step=2), None)  # type: ignore[arg-type]
    assert quarters.seconds > 0


def test_without_validation_nothing_is_validated(tmp_path: Path) -> None:
    assert quarterly_arguments(tmp_path, 3, validate=False)["eval_strategy"] == "no"
    assert quarterly_arguments(tmp_path, 3)["save_steps"] == 1
