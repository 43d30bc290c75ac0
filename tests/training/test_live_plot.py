"""The picture of memory and throughput: what it costs, and where it is shown."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from transformers import Trainer, TrainerCallback, TrainingArguments

from helpers.progress.bars import FINAL
from helpers.training import live_plot, trainers
from helpers.training.callbacks import Meter

ROOT = Path(__file__).resolve().parents[2]


class Layers(torch.nn.Module):
    """Some large products, so that a step takes as long as those of a small language model, 20 ms and more."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(use_cache=True)
        self.a = torch.nn.Parameter(torch.eye(640))

    def forward(self, x: torch.Tensor, labels: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        for _layer in range(3):
            x = x @ (self.a @ self.a.T)
        return {"loss": ((x - labels) ** 2).mean()}


def _trainer(folder: Path, steps: int, callbacks: list[TrainerCallback]) -> Trainer:
    rows = [{"x": torch.ones(640), "labels": torch.ones(640), "attention_mask": torch.ones(5)} for _ in range(64)]
    arguments = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=8, logging_steps=1, report_to="none", use_cpu=True,
        disable_tqdm=True, save_strategy="no", remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    return Trainer(model=Layers(), args=arguments, train_dataset=rows, callbacks=callbacks)  # type: ignore[arg-type]


def test_meter_and_pictures_cost_less_than_one_percent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds in the callbacks over seconds of a real training that logs every step and draws real pictures.

    Some seconds have no room for a picture: the first is let through early, those after it keep to the budget.
    """
    meters, plots, shown = [], [], []
    monkeypatch.setattr(trainers, "Meter", lambda: meters.append(Meter()) or meters[-1])
    monkeypatch.setattr(trainers, "LivePlot", lambda: plots.append(_eager(shown)) or plots[-1])
    began = time.perf_counter()
    history = trainers.train(_trainer(tmp_path, 150, []))
    took = time.perf_counter() - began
    (meter,), (plot,) = meters, plots
    assert meter.spent < 0.01 * trainers.seconds_of(history) <= 0.01 * took
    assert plot.drawn >= 2 and all(picture.startswith(b"\x89PNG") for picture in shown)  # one early, one at the end
    assert plot.spent <= max(0.01 * took, plot.spent / (plot.drawn - 1)) * 1.5
    assert len(history) == 150
    assert all(row["tokens_per_s"] == pytest.approx(5 * row["examples_per_s"], rel=0.01) for row in history)


def _eager(shown: list[bytes]) -> live_plot.LivePlot:
    class Eager(live_plot.LivePlot):
        def on_train_begin(self, *given: Any, **named: Any) -> None:
            super().on_train_begin(*given, **named)
            self._cost = 0.0

    return Eager(live_plot.LIVE, show=shown.append)


@pytest.mark.parametrize("cost", [0.05, 0.4, 3.0])
def test_pictures_never_take_more_than_their_share(cost: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of a made-up clock: at no moment more than 1 %, and pictures all along."""
    now = 0.0
    plot = live_plot.LivePlot(live_plot.LIVE, clock=lambda: now, show=lambda png: None)
    drawn: list[float] = []

    def draw(rows: Any) -> None:
        nonlocal now
        now += cost * (1 + 0.5 * (len(drawn) % 3))  # pictures differ in what they cost
        drawn.append(now)

    monkeypatch.setattr(plot, "_draw", draw)
    state = SimpleNamespace(log_history=[])
    monkeypatch.setattr(live_plot, "_picture", lambda rows: b"")
    plot.on_train_begin(None, state, None)  # type: ignore[arg-type]
    plot._cost = cost
    while now < 3600:
        now += 0.7
        plot.on_log(None, state, None)  # type: ignore[arg-type]
        if drawn:
            spent = sum(cost * (1 + 0.5 * (k % 3)) for k in range(len(drawn)))
            assert spent <= 0.01 * now + cost  # the one picture that was dearer than the last
    assert len(drawn) >= 0.4 * 36 / (2 * cost) / (1 if cost < 1 else 2)
    gaps = [b - a for a, b in zip(drawn, drawn[1:], strict=False)]
    assert min(gaps) >= live_plot._PAUSE


HEAD = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import os
from test_live_plot import _trainer
from helpers import training
from helpers.training import live_plot as live
folder = Path({folder!r})
"""
FAST = "live._PAUSE = 0.0\nlive.LivePlot.__init__.__kwdefaults__['share'] = 9.0\n"
DRAWN = "history = training.train(_trainer(folder, 12, []), lines=5)"


def test_what_is_shown_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_caches: None, warm_kernels: None
) -> None:
    """Headless: the last picture. Told to be quiet: none. Watched: one that is replaced."""
    monkeypatch.delenv("PEFT_LAB_LIVE", raising=False)
    cells = (
        HEAD.format(root=str(ROOT), tests=str(ROOT / "tests" / "training"), folder=str(tmp_path)),
        DRAWN,
        "history = training.train(_trainer(folder, 12, []), lines=0)",
        "os.environ['PEFT_LAB_LIVE'] = '0'\n" + DRAWN,
        "os.environ['PEFT_LAB_LIVE'] = '1'\n" + FAST + DRAWN,
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    updates = 0

    class Client(NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            nonlocal updates
            updates += msg["msg_type"] == "update_display_data"
            return super().process_message(msg, cell, cell_index)

    Client(notebook, timeout=240, kernel_name="python3").execute()
    pictures = [sum("image/png" in o.get("data", {}) for o in cell.outputs) for cell in notebook.cells]
    assert pictures == [0, 1, 0, 0, 1]
    assert updates >= 2, "and the last one was updated in place"


def test_a_picture_that_fails_does_not_stop_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(png: bytes) -> None:
        raise ValueError("no screen")

    trainer = _trainer(tmp_path, 6, [Meter(), live_plot.LivePlot(FINAL, show=broken)])
    trainer.train()
    assert trainer.state.global_step == 6
    assert "are not drawn (ValueError: no screen)" in capsys.readouterr().out


def test_outside_of_a_notebook_nothing_is_shown() -> None:
    assert live_plot.where_shown() == live_plot.NONE
    assert trainers.seconds_of([]) == 0.0
