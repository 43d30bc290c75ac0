"""Training: trainers and their callbacks, losses, checkpoints. transformers and trl are imported on first use only."""

from __future__ import annotations

from typing import Any

_SHOWN = (
    "CompletionTrainer", "LabelWordTrainer", "float32_adapters", "label_table", "precision", "seconds_of", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _SHOWN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from helpers.training import trainers

    return getattr(trainers, name)
