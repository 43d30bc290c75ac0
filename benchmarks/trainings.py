"""What the two benchmarks of training share: a stopwatch for any ``Trainer``, and training without a word."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from typing import Any

from transformers import TrainerCallback


class Stopwatch(TrainerCallback):
    """Seconds from the first batch of a training to its end, validation left out."""

    def __init__(self) -> None:
        self.seconds = self._began = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = self._began or time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds += time.perf_counter() - self._began


def plain(trainer: Any) -> float:
    """Seconds of a training as its library does it; the model is left as it was."""
    watch = Stopwatch()
    trainer.add_callback(watch)
    with quietly():
        trainer.train()
    # Mixed precision wraps the model's forward pass for good, and once more with the next trainer.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    trainer.model.zero_grad()
    return watch.seconds


def ours(trainer: Any) -> float:
    """Seconds of a training as the lessons do it, what is prepared before its first batch left out."""
    from helpers import training

    watch = Stopwatch()
    trainer.add_callback(watch)
    with quietly(), training.faster_on_cpu(trainer.model):
        training.train(trainer, lines=0)
    trainer.model.zero_grad()
    return watch.seconds


@contextlib.contextmanager
def quietly() -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
