"""Where a training begins to overfit, and the weights of the moment before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import TrainerCallback

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerControl, TrainerState, TrainingArguments


class LossWatch(TrainerCallback):
    """Measure losses before training and after equal parts of it, and keep the weights of the best state.

    What stopping early would have left is then known without stopping: the state with the lowest mean loss on
    validation examples, the first of equals. It is early stopping with patience to the end (Prechelt, 1998).

    Args:
        model: that is trained; a copy of its trained weights is kept.
        losses: split → function without arguments that returns the loss of each example now, (n,); one split is
            "validation".
        updates: of the whole training.
        parts: how many times to measure after the start; fewer where there are fewer updates.

    Attributes:
        steps: updates done at each measurement, 0 first.
        losses: split → one array (n,) a measurement.
        seconds: spent on measuring during training, so that it can be taken off the training time.
    """

    def __init__(
        self, model: nn.Module, losses: dict[str, Callable[[], np.ndarray]], updates: int, parts: int = 5
    ) -> None:
        self._model, self._measure = model, losses
        self._due = sorted({round(updates * part / parts) for part in range(1, parts + 1)} - {0})
        self.steps: list[int] = []
        self.losses: dict[str, list[np.ndarray]] = {split: [] for split in losses}
        self._kept: dict[str, torch.Tensor] = {}
        self._add(0)
        self.seconds = 0.0

    @property
    def best(self) -> int:
        """Place in ``steps`` of the lowest validation loss."""
        return int(np.argmin([values.mean() for values in self.losses["validation"]]))

    def _add(self, step: int) -> None:
        self.steps.append(step)
        for split, measure in self._measure.items():
            self.losses[split].append(np.asarray(measure(), dtype=np.float64))
        if self.best == len(self.steps) - 1:
            self._kept = {name: p.detach().clone() for name, p in self._trained()}

    def _trained(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, p) for name, p in self._model.named_parameters() if p.requires_grad)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step in self._due:
            began = time.monotonic()
            self._add(state.global_step)
            self.seconds += time.monotonic() - began

    @contextmanager
    def stopped_early(self) -> Iterator[None]:
        """A block in which the model has the weights of its best state; those of the end come back after it."""
        at_the_end = {name: p.detach().clone() for name, p in self._trained()}
        with torch.no_grad():
            for name, p in self._trained():
                p.copy_(self._kept[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, p in self._trained():
                    p.copy_(at_the_end[name])
