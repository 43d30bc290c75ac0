"""What a training tells the runner of a headless notebook, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_live_plot import _trainer

from helpers.progress import channel
from helpers.training import telling, trainers
from helpers.training.quarters import EachQuarter


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> channel.Listener:
    monkeypatch.setenv(channel.VARIABLE, str(tmp_path / "progress.jsonl"))
    return channel.Listener(tmp_path / "progress.jsonl")


def trained(folder: Path, steps: int, callbacks: list[Any]) -> tuple[list[Any], torch.Tensor]:
    torch.manual_seed(0)
    trainer = _trainer(folder, steps, callbacks)
    rows = trainers.train(trainer, lines=0)
    return [(row["step"], row["loss"]) for row in rows], trainer.model.a.detach().clone()


def test_a_training_tells_step_loss_and_what_is_left(
    listener: channel.Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PAUSE", 0.0)
    quarters = EachQuarter(dict, 12)
    losses, weights = trained(tmp_path / "told", 12, [quarters])
    told = listener.events()
    assert {event["what"] for event in told} == {channel.TRAINING}
    assert [event.get("done") for event in told] == [*range(13), None] and told[-1]["ended"]
    assert {event["total"] for event in told[:-1]} == {12}
    # The loss of a step is logged after the step has ended.
    assert [event["loss"] for event in told[2:-1]] == [loss for _, loss in losses[:-1]]
    early, late = told[5], told[12]
    assert "left" not in early and late["left"] == [0.0, 0.0]
    monkeypatch.delenv(channel.VARIABLE)
    again, same = trained(tmp_path / "silent", 12, [EachQuarter(dict, 12)])
    assert again == losses and torch.equal(weights, same)
    assert listener.events() == [], "nobody listened"


def test_a_channel_that_breaks_while_training_does_no_harm(
    listener: channel.Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PAUSE", 0.0)
    file = tmp_path / "progress.jsonl"
    breaking = EachQuarter(lambda: {"gone": file.unlink(missing_ok=True)}, 8)
    file.touch()
    losses, _ = trained(tmp_path / "run", 8, [breaking])
    assert len(losses) == 8 and not file.exists()


def test_validations_and_measurements_are_expected_where_they_come(listener: channel.Listener) -> None:
    now = 0.0
    callback = telling.Telling({4}, clock=lambda: now)
    args = SimpleNamespace(eval_strategy="steps", num_train_epochs=3)
    state: Any = SimpleNamespace(global_step=0, max_steps=30, eval_steps=10)
    callback.on_train_begin(args, state, None)  # type: ignore[arg-type]
    for step in range(1, 22):
        now += 2.0 + 5.0 * (step == 4) + 20.0 * (step - 1 in (10, 20))
        state.global_step = step
        callback.on_step_end(args, state, None)  # type: ignore[arg-type]
    told = listener.events()
    by_step = {event["done"]: event for event in told}
    assert by_step[8]["left"] == [22 * 2 + 3 * 5] * 2  # three validations, as long as the one measurement so far
    assert by_step[21]["left"] == [9 * 2 + 20] * 2 and by_step[21]["more"] is False


@pytest.mark.parametrize(
    ("strategy", "steps", "expected"),
    [("no", 10, []), ("steps", 10, [10, 20, 30]), ("steps", 20, [20]), ("epoch", 10, [10, 20, 30])],
)
def test_the_steps_after_which_a_trainer_validates(strategy: str, steps: int, expected: list[int]) -> None:
    args = SimpleNamespace(eval_strategy=strategy, num_train_epochs=3.0)
    assert telling.validated(args, SimpleNamespace(eval_steps=steps, max_steps=30)) == expected  # type: ignore[arg-type]


def test_a_validation_tells_its_batches(listener: channel.Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.progress.bars.PAUSE", 0.0)
    callback = telling.Telling()
    for _ in range(3):
        callback.on_prediction_step(None, None, None, eval_dataloader=[1, 2, 3])  # type: ignore[arg-type]
    callback.on_evaluate(None, None, None)  # type: ignore[arg-type]
    told = listener.events()
    assert [(event["what"], event.get("done"), event.get("total")) for event in told[:3]] == [
        ("validating", done, 3) for done in (1, 2, 3)
    ]
    assert told[3]["ended"] and len(told) == 4
