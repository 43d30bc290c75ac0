"""What a visible ``Trainer`` needs around it: precision, losses, resuming, and a look at the label mask."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer
from trl import SFTTrainer

from helpers.callbacks import PeakMemory, ProgressLine, ReturnFreedMemory, StopOnNaN
from helpers.errors import LabError, RunError
from helpers.losses import completion_loss, label_word_loss

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from helpers.hardware import Machine

# The flags `TrainingArguments` wants for each compute dtype that `hardware` may choose.
PRECISION: dict[str, dict[str, bool]] = {
    "float32": {"fp16": False, "bf16": False},
    "float16": {"fp16": True, "bf16": False},
    "bfloat16": {"fp16": False, "bf16": True},
}


class TrainingDiverged(LabError):
    """The loss became NaN or infinite."""


def precision(machine: Machine) -> dict[str, bool]:
    """``fp16``, ``bf16`` and ``use_cpu`` for ``TrainingArguments`` on this machine."""
    return PRECISION[machine.dtype] | {"use_cpu": machine.device == "cpu"}


def float32_adapters(model: nn.Module) -> int:
    """Keep every trainable parameter in float32; returns how many tensors changed.

    TRL stores the adapters of a quantised model in bfloat16. A GradScaler (fp16 training on a T4 or P100)
    cannot unscale those, and Adam's small updates vanish in them.
    """
    import torch

    changed = 0
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()
            changed += 1
    return changed


class CompletionTrainer(SFTTrainer):
    """``SFTTrainer`` that applies the output head only where some row of the batch has a label.

    Same loss, same gradients. A vocabulary of 49,152 makes the head a fifth of SmolLM2's work and most of its
    memory, and in a batch of questions with four-token answers nearly all of it is spent on tokens without loss.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, outputs = completion_loss(model, inputs, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


class LabelWordTrainer(Trainer):
    """``Trainer`` for a language model that classifies by its own words; cross-entropy over the words alone.

    Batches are padded on the left, so that the last position of every row is where the answer starts.

    Args:
        label_ids: the token that stands for each class, from ``models.label_token_ids``.
    """

    def __init__(self, *args: Any, label_ids: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_ids = list(label_ids)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, scores = label_word_loss(model, inputs, self.label_ids, num_items_in_batch)
        return (loss, {"logits": scores}) if return_outputs else loss


def train(trainer: Trainer, *, resume_from: Path | None = None, lines: int = 10) -> list[dict[str, float]]:
    """Train, quietly and resumably.

    Args:
        trainer: built in the notebook, where its arguments can be read.
        resume_from: a checkpoint folder of the same settings, or ``None`` to start anew.
        lines: about how many progress lines to print.

    Returns:
        The history: one dict per log with ``step``, ``epoch``, ``loss`` or ``eval_loss``, and ``memory_gb``
        (GiB); after a resume it includes what was logged before, without memory.

    Raises:
        TrainingDiverged: the loss became NaN or infinite; earlier checkpoints are kept.
        RunError: the disk is full, or the checkpoint cannot be continued.
    """
    from transformers import PrinterCallback, ProgressCallback
    from transformers.utils.notebook import NotebookProgressCallback

    for kind in (PrinterCallback, ProgressCallback, NotebookProgressCallback):
        trainer.remove_callback(kind)
    guard = StopOnNaN()
    trainer.add_callback(guard)
    trainer.add_callback(ProgressLine(lines))
    memory = PeakMemory()
    trainer.add_callback(memory)
    if trainer.args.device.type == "cpu":
        trainer.add_callback(ReturnFreedMemory())
    trainer.model.config.use_cache = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    except OSError as error:
        if error.errno == 28:  # ENOSPC
            raise RunError(
                f"the disk is full, the checkpoint in {trainer.args.output_dir} could not be written",
                "free space or set output_dir to another disk, then rerun with resume=True",
            ) from error
        raise
    finally:
        # Mixed precision wraps the model's forward for good: later passes would run under autocast, and copy
        # their logits to float32. What is measured after training has to run as it did before.
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        trainer.model.config.use_cache = True
    if guard.step is not None:
        raise TrainingDiverged(
            f"the loss was not a number at step {guard.step}",
            "lower learning_rate; with fp16 also check that the adapters are float32",
        )
    rows = [dict(row) for row in trainer.state.log_history if "loss" in row or "eval_loss" in row]
    return [row | {"memory_gb": memory.by_step[row["step"]]} if row["step"] in memory.by_step else row for row in rows]


def label_table(
    tokenizer: PreTrainedTokenizerBase, input_ids: Sequence[int], labels: Sequence[int]
) -> list[tuple[str, str]]:
    """What the model reads and what it is asked to predict, as runs of text.

    Args:
        input_ids: one row of a batch, shape ``(length,)``.
        labels: the same row of labels, −100 where no loss is taken.

    Returns:
        ``[("context" | "loss" | "padding", decoded text), …]`` in order; joined, the texts give the whole row.
    """
    runs: list[tuple[str, list[int]]] = []
    last_loss = max((i for i, label in enumerate(labels) if label != -100), default=-1)
    for i, (token, label) in enumerate(zip(input_ids, labels, strict=True)):
        pad = label == -100 and i > last_loss and token == tokenizer.pad_token_id
        kind = "loss" if label != -100 else "padding" if pad else "context"
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(int(token))
    return [(kind, tokenizer.decode(ids)) for kind, ids in runs]
