"""Training: trainers and their callbacks, losses, checkpoints. transformers and trl are imported on first use only."""

from __future__ import annotations

from typing import Any

_CLASSIFIERS = ("ClassifierTrainer", "LabelWordTrainer")
_SPEED = ("faster_on_cpu",)
_SHOWN = (
    "CompletionTrainer", "completion_row", "float32_adapters", "label_table", "precision", "seconds_of", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in (*_SHOWN, *_CLASSIFIERS, *_SPEED):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from helpers.training import classifiers, speed, trainers

    return getattr(classifiers if name in _CLASSIFIERS else speed if name in _SPEED else trainers, name)
