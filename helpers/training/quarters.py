"""Training in quarters: after each one a checkpoint, a validation, and whatever a lesson measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


def quarterly_arguments(folder: Path, updates: int, validate: bool = True) -> dict[str, Any]:
    """Arguments of ``TrainingArguments`` that change no result: checkpoints, validation, logging; nothing is reported.

    Args:
        folder: where checkpoints go; the last two are kept.
        updates: weight updates of the whole training.
        validate: compute the loss on the validation examples after each quarter.
    """
    quarter = max(1, updates // 4)
    return {
        "output_dir": str(folder), "save_strategy": "steps", "save_steps": quarter, "save_total_limit": 2,
        "eval_strategy": "steps" if validate else "no", "eval_steps": quarter,
        "logging_steps": max(1, updates // 40), "report_to": "none", "disable_tqdm": True,
        "remove_unused_columns": False, "dataloader_pin_memory": False,
    }  # fmt: skip


class EachQuarter(TrainerCallback, ExportableState):
    """Call ``measure`` when made, which is before training, and after each quarter of the updates.

    Attributes:
        rows: what was measured: ``training done`` ("0 %" to "100 %"), then what ``measure`` returned. Checkpoints keep
            it, so a resumed training has all rows.
        seconds: spent on measuring during training, so that it can be taken off the training time.
    """

    def __init__(self, measure: Callable[[], Mapping[str, Any]], updates: int) -> None:
        self.measure = measure
        # Of fewer than four updates not every quarter has one; the beginning and the end have.
        self.shares = {round(updates * quarter / 4): f"{25 * quarter} %" for quarter in (1, 2, 3, 0, 4)}
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._add(0)

    def _add(self, step: int) -> None:
        self.rows.append({"training done": self.shares[step], **self.measure()})

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"rows": self.rows, "seconds": self.seconds}}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step in self.shares:
            began = time.monotonic()
            self._add(state.global_step)
            self.seconds += time.monotonic() - began
