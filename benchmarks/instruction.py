"""Training to write answers: TRL's SFTTrainer with its defaults and without checkpointing, and lesson 04's trainer.

    python -m helpers bench instruction [--rows N] [--repeats N] [--updates N] [--dtype float32] [--keep]

- ``SFTTrainer``: conversations as they are, TRL's defaults: activations computed twice (gradient checkpointing), the
  output head on every token, random order.
- ``SFTTrainer, no checkpointing``: the same with ``gradient_checkpointing=False``.
- ``ours``: ``CompletionTrainer`` on ``completion_row``, answers of similar length in a batch, in ``faster_on_cpu``.

A turn is one pass over the same recipes (steps, and which ingredient is missing), 8 in a batch, with the same model,
precision and adapter. Then each trains a fresh adapter once, with the same learning rate on the same recipes, until
the loss on held-out answers is what ours reaches after ``--updates`` updates (0 leaves this out); validation does not
count as time.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness, trainings

LONGEST, BATCH, RATE = 224, 8, 1e-3
EVERY = 4  # updates between two looks at the held-out loss
MOST = 4  # times the updates of ours, after which a peer is stopped


def main() -> None:
    options = harness.arguments(
        __doc__ or "",
        rows=(48, "training examples of a turn"),
        updates=(24, "updates of ours to the held-out loss; 0: that part is left out"),
    )
    machine = harness.machine_of(options)
    base, tokenizer, talks, held = prepared(options, machine)
    model = adapted(base)
    kinds = {"SFTTrainer": "defaults", "SFTTrainer, no checkpointing": "kept", harness.OURS: "ours"}
    with tempfile.TemporaryDirectory() as folder:
        make = partial(trainer_of, tokenizer=tokenizer, machine=machine, folder=folder)

        def turn(kind: str) -> float:
            trainer = make(model, talks[: options.rows], kind)
            return trainings.ours(trainer) if kind == "ours" else trainings.plain(trainer)

        seconds = harness.take_turns({name: partial(turn, kind) for name, kind in kinds.items()}, options.repeats)
        ways = harness.compared(seconds, options.rows, "examples")
        target, reached = None, {}
        if options.updates:
            target, reached = to_loss(model, kinds, make, talks[: options.updates * BATCH], held, tokenizer, options)
    lengths = [_length(tokenizer, talk) for talk in talks[: options.rows]]
    harness.report(
        "instruction", options, machine.dtype, rows=options.rows, tokens=sum(lengths), longest=max(lengths),
        held_out=len(held), target=target, to_loss=reached, ways=ways,
    )  # fmt: skip


def to_loss(
    model: Any, kinds: dict[str, str], make: Any, talks: list[Any], held: list[Any], tokenizer: Any, options: Any
) -> tuple[float, dict[str, Any]]:
    """The held-out loss that ours reaches, and each way's seconds and updates to get there."""
    target, reached = math.nan, {}
    for name, kind in reversed(kinds.items()):  # ours first
        model = adapted(model.unload())
        clock = ToLoss(tokenizer, held, target, options.updates)
        trainer = make(model, talks, kind, updates=options.updates * (1 if kind == "ours" else MOST))
        trainer.add_callback(clock)
        (trainings.ours if kind == "ours" else trainings.plain)(trainer)
        target = clock.losses[-1] if kind == "ours" else target
        reached[name] = {"seconds": round(clock.seconds, 2), "updates": clock.updates, "losses": clock.losses}
        ratio = clock.seconds / reached[harness.OURS]["seconds"]
        reached[name] |= {"times_ours": round(ratio, 3), "reached": clock.losses[-1] <= target}
        told = "" if reached[name]["reached"] else ", not reached"
        print(f"{name:<28} {clock.seconds:8.2f} s to a held-out loss of {target:.3f}{told}: {ratio:.2f} x ours")
    return target, {name: reached[name] for name in kinds}


def prepared(options: Any, machine: Any) -> tuple[Any, Any, list[Any], list[Any]]:
    """The 4-bit model, its tokenizer, conversations to train on and held-out ones; none is longer than ``LONGEST``."""
    from helpers import models, tasks
    from helpers.sources import assets

    real = not options.model.startswith("tiny/") and assets.available("wikibooks-recipes")
    task = tasks.get("recipes")
    wanted = max(options.rows, options.updates * BATCH)
    parts = task.load(wanted if real else min(wanted, 400), 60, "wikibooks" if real else "generator", seed=0)
    loaded = models.load(options.model, quant="nf4-double", machine=machine)

    def talks(part: str) -> list[Any]:
        found = [task.to_messages(e) for form in ("steps", "missing") for e in task.examples(parts[part], form, seed=0)]
        half = len(found) // 2
        mixed = [talk for pair in zip(found[:half], found[half:], strict=False) for talk in pair]
        size = partial(_length, loaded.tokenizer)
        return [talk for talk in mixed if size(talk) <= LONGEST]

    return loaded.model, loaded.tokenizer, talks("train"), talks("test")[:32]


def _length(tokenizer: Any, talk: Any) -> int:
    return len(tokenizer.apply_chat_template(talk["prompt"] + talk["completion"], return_dict=True)["input_ids"])


def adapted(base: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))


def trainer_of(
    model: Any, talks: list[Any], kind: str, *, tokenizer: Any, machine: Any, folder: str, updates: int = -1
) -> Any:
    """One of the three trainers, for one pass over the conversations or for some updates."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from helpers import training

    own: dict[str, Any] = {} if kind == "defaults" else {"gradient_checkpointing": False}
    if kind == "ours":
        own |= {"train_sampling_strategy": "group_by_length", "completion_only_loss": True, "max_length": LONGEST}
    arguments = SFTConfig(
        output_dir=folder, num_train_epochs=1, max_steps=updates, per_device_train_batch_size=BATCH, seed=0,
        learning_rate=RATE, lr_scheduler_type="constant", report_to="none", disable_tqdm=True, save_strategy="no",
        dataloader_pin_memory=False, **own, **training.precision(machine),
    )  # fmt: skip
    rows = [training.completion_row(tokenizer, talk) for talk in talks] if kind == "ours" else talks
    kinds = training.CompletionTrainer if kind == "ours" else SFTTrainer
    model.gradient_checkpointing_disable()
    made = kinds(model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    training.float32_adapters(made.model)
    return made


class ToLoss(TrainerCallback):
    """Looks at the held-out loss every few updates, stops at the target, and counts the seconds of training alone."""

    def __init__(self, tokenizer: Any, held: list[Any], target: float, updates: int) -> None:
        self.tokenizer, self.held, self.target, self.planned = tokenizer, held, target, updates
        self.seconds, self.updates, self.losses = 0.0, 0, []
        self._mark = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._mark = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.seconds += time.perf_counter() - self._mark
        self.updates = state.global_step
        if state.global_step % EVERY == 0 or state.global_step == self.planned:
            from helpers import inference

            nll, tokens = inference.completion_nll(rest["model"], self.tokenizer, self.held, max_length=LONGEST)
            self.losses.append(round(float(nll.sum() / tokens.sum()), 4))
            control.should_training_stop |= self.losses[-1] <= self.target
        self._mark = time.perf_counter()


if __name__ == "__main__":
    main()
