"""What a visible ``Trainer`` needs around it: precision, callbacks, resuming, and a look at the label mask."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback
from trl import SFTTrainer

from helpers.errors import LabError, RunError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState, TrainingArguments

    from helpers.hardware import Machine

# The flags `TrainingArguments` wants for each compute dtype that `hardware` may choose.
PRECISION: dict[str, dict[str, bool]] = {
    "float32": {"fp16": False, "bf16": False},
    "float16": {"fp16": True, "bf16": False},
    "bfloat16": {"fp16": False, "bf16": True},
}


_M_MMAP_THRESHOLD = -3  # the option's number in glibc's malloc.h
LARGE = 4 * 2**20  # bytes from which a tensor gets memory of its own


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
        from torch.utils.checkpoint import checkpoint

        shifted = inputs["labels"][:, 1:]
        positions = (shifted != -100).any(0).nonzero().squeeze(1)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs.get("attention_mask"),
            logits_to_keep=positions,
            use_cache=False,
        )
        targets = shifted[:, positions]
        # Row by row, and again in the backward pass: a float32 copy of all logits and its softmax would be the
        # largest tensors of the whole step.
        rows = zip(outputs.logits.unbind(0), targets.unbind(0), strict=True)
        total = sum(checkpoint(_summed_loss, logits, target, use_reentrant=False) for logits, target in rows)
        count = (targets != -100).sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / max(1, int(count))
        return (loss, outputs) if return_outputs else loss


def _summed_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the labelled positions of one row, ``(length, vocabulary)`` and ``(length,)``."""
    from torch.nn import functional

    kept = targets != -100
    return functional.cross_entropy(logits[kept].float(), targets[kept], reduction="sum")


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
        from torch.nn import functional

        mask = inputs["attention_mask"]
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=1,
            use_cache=False,
        )
        scores = outputs.logits[:, -1, self.label_ids].float()
        count = len(scores) if num_items_in_batch is None else int(num_items_in_batch)
        loss = functional.cross_entropy(scores, inputs["labels"], reduction="sum") / max(1, count)
        return (loss, {"logits": scores}) if return_outputs else loss


class ProgressLine(TrainerCallback):
    """One short line per log, in place of a progress bar that floods a saved notebook."""

    def __init__(self, lines: int = 10) -> None:
        self.lines = lines
        self._printed = -1
        self._start = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start, self._first = time.monotonic(), state.global_step
        print(f"{'step':>10}  {'epoch':>5}  {'loss':>7}  {'learning rate':>13}  {'seconds':>7}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or not ("loss" in logs or "eval_loss" in logs):
            return
        seconds = time.monotonic() - self._start
        where = f"{state.global_step:>4} of {state.max_steps:<4}"
        if "eval_loss" in logs:
            print(f"{where}  {state.epoch or 0:5.2f}  {logs['eval_loss']:7.4f}  {'validation':>13}  {seconds:7.1f}")
            return
        shown = state.global_step * self.lines // max(1, state.max_steps)
        if shown > self._printed:
            self._printed = shown
            rate = logs.get("learning_rate", math.nan)
            print(f"{where}  {state.epoch or 0:5.2f}  {logs['loss']:7.4f}  {rate:13.2e}  {seconds:7.1f}")


class StopOnNaN(TrainerCallback):
    """Stop at the first loss that is not a number; the checkpoints before it stay."""

    def __init__(self) -> None:
        self.step: int | None = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        values = [v for k, v in (logs or {}).items() if k in {"loss", "eval_loss", "grad_norm"}]
        if any(not math.isfinite(float(v)) for v in values):
            self.step = state.global_step
            control.should_training_stop = True
            control.should_save = False


class PeakMemory(TrainerCallback):
    """Memory at each log: highest so far on the GPU, or what the process holds in RAM."""

    def __init__(self) -> None:
        self.by_step: dict[int, float] = {}

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.by_step[state.global_step] = round(_memory_bytes() / 2**30, 3)


class ReturnFreedMemory(TrainerCallback):
    """On a CPU, keep the process from holding memory that nothing uses.

    Batches differ in shape, so freed activations leave gaps in glibc's heap that the next batch does not fit into:
    over some hundred updates a process grows by gigabytes. Large tensors therefore get memory of their own, which
    goes back when they are freed, and the rest of the heap is handed back every few updates.
    """

    def __init__(self, every: int = 4) -> None:
        self.every = every

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _libc("mallopt", _M_MMAP_THRESHOLD, LARGE)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.every == 0:
            _libc("malloc_trim", 0)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _libc("malloc_trim", 0)


def _libc(function: str, *arguments: int) -> None:
    """Call glibc's function; nothing happens where there is none of that name."""
    import ctypes

    call = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    if call is not None:
        call(*arguments)


def _memory_bytes() -> int:
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


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
