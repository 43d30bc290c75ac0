"""What a visible ``Trainer`` needs around it: precision, losses, resuming, and a look at the label mask."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback
from trl import SFTTrainer

from helpers.errors import DataError, OutOfMemory, RunError, TrainingDiverged
from helpers.machine import out_of_memory
from helpers.models.chat import encode
from helpers.progress import channel
from helpers.training.callbacks import Meter, ProgressLine, Restored, ReturnFreedMemory, StopOnNaN
from helpers.training.checkpoints import latest_checkpoint, mirror_of
from helpers.training.live_plot import LivePlot
from helpers.training.losses import IGNORED, completion_loss
from helpers.training.quarters import EachQuarter
from helpers.training.saving import patient
from helpers.training.sharing import Shared, one_gpu
from helpers.training.telling import Telling

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from helpers.machine.hardware import Machine
    from helpers.models.chat import Conversation

# What is changed first when memory runs out and nobody has planned: the same update, in smaller parts.
_HALVE = "halve batch_size and double grad_accumulation"
LAST_GOOD = "last-good"  # folder beside the checkpoints


def precision(machine: Machine) -> dict[str, bool]:
    """``fp16``, ``bf16`` and ``use_cpu`` for ``TrainingArguments`` on this machine."""
    return {
        "fp16": machine.dtype == "float16", "bf16": machine.dtype == "bfloat16", "use_cpu": machine.device == "cpu",
    }  # fmt: skip


def float32_adapters(model: nn.Module) -> int:
    """Keep every trainable parameter in float32; returns how many tensors changed.

    TRL stores the adapters of a quantised model in bfloat16. A GradScaler (fp16 training on a T4 or P100)
    cannot unscale those, and Adam's small updates vanish in them.
    """
    import torch

    changed = [p for p in model.parameters() if p.requires_grad and p.dtype != torch.float32]
    for parameter in changed:
        parameter.data = parameter.data.float()
    return len(changed)


def completion_row(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> dict[str, list[int]]:
    """A conversation as a row to train on: the ids that the model reads, and which of them are its own to write.

    Returns:
        ``input_ids``, prompt and completion as ``encode`` gives them, and ``completion_mask``, of the same length,
        with a 1 for each id of the completion, and ``labels``: the ids there, −100 elsewhere. ``SFTTrainer`` makes
        these of the mask itself from TRL 1 on, where it finds none.
    """
    prompt, completion = encode(tokenizer, conversation)
    mask = [0] * len(prompt) + [1] * len(completion)
    labels = [IGNORED] * len(prompt) + completion
    return {"input_ids": prompt + completion, "completion_mask": mask, "labels": labels}


class CompletionTrainer(Shared, SFTTrainer):
    """``SFTTrainer`` that applies the output head only where some row of the batch has a label.

    Same loss, same gradients. A vocabulary of 49,152 makes the head a fifth of SmolLM2's work and most of its
    memory, and in a batch of questions with four-token answers nearly all of it is spent on tokens without loss.

    Rows come from ``completion_row``. Texts are refused: of them ``SFTTrainer`` makes labels for all that a chat
    template writes after the answer, a line break after the end-of-turn token say, which a perplexity leaves out.

    The validation loss is the mean over all labelled tokens, the logarithm of the perplexity. ``Trainer`` takes a mean
    of the batches' means, which changes with ``per_device_eval_batch_size`` where answers differ in length.
    """

    _tokens_a_row: float | None = None  # labelled ones, on average, of the data that are being evaluated

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        columns = set(dataset.column_names)
        if "input_ids" not in columns or not columns & {"completion_mask", "labels"}:
            raise DataError(
                f"CompletionTrainer wants input_ids and completion_mask; the rows have {', '.join(sorted(columns))}",
                "Make each row with training.completion_row(tokenizer, conversation)",
            )
        return super()._prepare_dataset(dataset, *args, **kwargs)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        labelled = [sum(label != IGNORED for label in row[1:]) for row in dataloader.dataset["labels"]]
        self._tokens_a_row = sum(labelled) / max(1, len(labelled))
        try:
            return super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self._tokens_a_row = None

    def _get_num_items_in_batch(self, batch_samples: Sequence[Mapping[str, Any]], device: Any) -> Any:
        return self._per_process(sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batch_samples))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self._tokens_a_row is not None:  # evaluating: what count comes here differs between releases
            # The loop weights each batch by its rows: what comes out is the sum of all losses per labelled token.
            num_items_in_batch = self._tokens_a_row * len(inputs["input_ids"])
        loss, outputs = completion_loss(model, inputs, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


def train(
    trainer: Trainer, *, resume_from: Path | None = None, lines: int = 10, advice: str = ""
) -> list[dict[str, float]]:
    """Train, quietly and resumably.

    Args:
        trainer: built in the notebook, where its arguments can be read.
        resume_from: a checkpoint folder of the same settings, or ``None`` to start anew. Where that training had
            ended, its weights are loaded and nothing is trained.
        lines: about how many progress lines to print; 0 prints and draws nothing.
        advice: what to change when memory runs out, "" for the usual.

    Returns:
        The history: one dict per log with ``step``, ``epoch``, ``loss`` or ``eval_loss``, and the columns of
        ``callbacks.Meter``: seconds, memory and throughput. After a resume it includes what was logged before.

    Raises:
        TrainingDiverged: the loss became NaN or infinite. The trained weights are those of the last sound state,
            which is also in ``last-good`` beside the checkpoints.
        OutOfMemory: a step needs more memory than there is; what it held is free again.
        HardwareError: several GPUs are visible to one process; see ``sharing.one_gpu``.
        RunError: a checkpoint cannot be written (a full disk, a drive that stays away) or cannot be continued.
    """
    from transformers import PrinterCallback, ProgressCallback
    from transformers.utils.notebook import NotebookProgressCallback

    one_gpu(trainer.args)
    for kind in (PrinterCallback, ProgressCallback, NotebookProgressCallback):
        trainer.remove_callback(kind)
    guard, meter = StopOnNaN(), Meter()
    ours: list[TrainerCallback] = [LivePlot()] if lines else []  # what it prepares is no training time yet
    ours += [guard, meter, Restored(trainer.callback_handler)] + ([ProgressLine(lines)] if lines else [])
    if trainer.args.device.type == "cpu":
        ours.append(ReturnFreedMemory())
    if channel.listening():
        quarters = (c for c in trainer.callback_handler.callbacks if isinstance(c, EachQuarter))
        ours.append(Telling(step for callback in quarters for step in callback.shares))
    trainer.model.config.use_cache = False
    trainer.args.logging_nan_inf_filter = False  # it would log the mean of earlier losses in place of NaN
    for callback in ours:
        trainer.add_callback(callback)
    shortfall, seconds = "", 0.0
    plain_step = trainer.training_step

    def counted_step(model: Any, inputs: Mapping[str, Any], *rest: Any, **named: Any) -> Any:
        meter.count(inputs)
        return plain_step(model, inputs, *rest, **named)

    trainer.training_step = counted_step
    place = Path(trainer.args.output_dir)
    patient_save = patient(trainer._save_checkpoint, place)

    def save_and_copy(*args: Any, **kwargs: Any) -> None:
        patient_save(*args, **kwargs)
        if (mirror := mirror_of(place)) is not None:
            mirror.publish(place / f"checkpoint-{trainer.state.global_step}")

    trainer._save_checkpoint = save_and_copy
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if resume_from is not None and _has_ended(trainer, resume_from):
                _load_ended(trainer, resume_from)
                seconds = Meter.kept(trainer.state)
            else:
                if resume_from is not None and isinstance(trainer, Shared):
                    trainer.remember(resume_from)
                trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
                seconds = meter.seconds
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory.is_shortage(error):
            raise
        shortfall = f"out of memory at step {trainer.state.global_step + 1} ({out_of_memory.in_use()})"
        out_of_memory.forget(error)
    finally:
        del trainer.training_step, trainer._save_checkpoint  # the class's own again
        for callback in ours:
            trainer.remove_callback(callback)
        channel.tell(channel.TRAINING, ended=True)
        # Mixed precision wraps the model's forward for good: later passes would run under autocast, and copy
        # their logits to float32. What is measured after training has to run as it did before.
        trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        trainer.model.config.use_cache = True
    if shortfall:
        # Outside of the handler the error is gone, and with it all that its frames held.
        _let_go(trainer)
        raise OutOfMemory(shortfall, advice or _HALVE)
    if guard.step is not None:
        raise _diverged(trainer, guard)
    rows = [dict(row) for row in trainer.state.log_history if "loss" in row or "eval_loss" in row]
    if rows:
        rows[-1]["seconds"] = round(seconds, 3)  # up to the end, which lies after the last log
    return rows


def seconds_of(history: Sequence[Mapping[str, float]]) -> float:
    """Seconds of a training so far, validation included, and what was done before an interruption."""
    return max((float(row["seconds"]) for row in history if row.get("seconds")), default=0.0)


def _has_ended(trainer: Trainer, checkpoint: Path) -> bool:
    """Whether the training that left this checkpoint had nothing more to do, and is not to be made longer."""
    args = trainer.args
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("attributes", {})
        same = math.ceil(args.num_train_epochs) == state["num_train_epochs"]
        asked = args.max_steps if args.max_steps > 0 else state["max_steps"] if same else None
        ended = state["global_step"] >= state["max_steps"] or bool(control.get("should_training_stop"))
        return ended and asked == state["max_steps"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"the checkpoint {checkpoint} cannot be read ({error})", "Remove it, then rerun") from None


def _load_ended(trainer: Trainer, checkpoint: Path) -> None:
    """Bring a trainer to where a training that had ended left it: weights, history, callbacks, random numbers."""
    from transformers import TrainerState

    trainer._load_from_checkpoint(str(checkpoint))
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None:
        trainer._load_best_model()
    trainer._load_rng_state(str(checkpoint))
    Restored(trainer.callback_handler).on_train_begin(trainer.args, trainer.state, trainer.control)
    print(f"{checkpoint.parent.name}/{checkpoint.name}: this training had ended, its weights are loaded")


def _let_go(trainer: Trainer) -> None:
    """Drop gradients, optimizer and prepared copies, so that the memory is there for a smaller try."""
    trainer.model.zero_grad()
    trainer.optimizer = trainer.lr_scheduler = None
    trainer.model_wrapped = trainer.model
    trainer.accelerator.free_memory()
    out_of_memory.release()


def _diverged(trainer: Trainer, guard: StopOnNaN) -> TrainingDiverged:
    """Put the last sound weights back, save them, and say so."""
    import torch

    place = Path(trainer.args.output_dir)
    what = f"the loss was not a number at step {guard.step}"
    if guard.good is not None:
        with torch.no_grad():
            for name, parameter in trainer.model.named_parameters():
                if name in guard.good:
                    parameter.copy_(guard.good[name])
        trainer.save_model(str(place / LAST_GOOD))
        what += f"; the weights are back at step {guard.good_step}, saved in {place / LAST_GOOD}"
    elif (found := latest_checkpoint(place)) is not None:
        trainer._load_from_checkpoint(str(found))
        what += f"; the weights are back at {found}"
    trainer.model.zero_grad()
    return TrainingDiverged(what, "lower learning_rate; with fp16 also check that the adapters are float32")


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
    last_loss = max((i for i, label in enumerate(labels) if label != IGNORED), default=-1)

    def kind(place: int) -> str:
        if labels[place] != IGNORED:
            return "loss"
        return "padding" if place > last_loss and input_ids[place] == tokenizer.pad_token_id else "context"

    runs = itertools.groupby(range(len(labels)), kind)
    return [(name, tokenizer.decode([int(input_ids[i]) for i in places])) for name, places in runs]
