"""Training: trainers and their callbacks, losses, checkpoints. transformers and trl are imported on first use only."""

from __future__ import annotations

from typing import Any

_CLASSIFIERS = ("ClassifierTrainer", "LabelWordTrainer")
_SHARING = ("PlainTrainer",)
_SPEED = ("faster_on_cpu",)
_SHOWN = (
    "CompletionTrainer", "completion_row", "float32_adapters", "label_table", "precision", "seconds_of", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    rooms = {"classifiers": _CLASSIFIERS, "sharing": _SHARING, "speed": _SPEED, "trainers": _SHOWN}
    if (room := next((room for room, names in rooms.items() if name in names), None)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"helpers.training.{room}"), name)
