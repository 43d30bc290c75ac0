"""Training a classifier: Project E's loop, the plain Trainer, and lesson 03's; the same pairs, model and precision.

    python -m helpers bench classification [--rows N] [--repeats N] [--dtype float32] [--keep]

- ``Project E``: every pair padded to 128 tokens, in random order.
- ``Trainer``: transformers' Trainer with its defaults: padded to the longest pair of a batch, in random order.
- ``ours``: pairs of similar length share a batch, in ``training.faster_on_cpu``.

A turn is one pass over the same pairs, 16 in a batch, with the same new adapter (rank 16 on every linear layer).
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness

PADDED, BATCH = 128, 16


def main() -> None:
    options = harness.arguments(__doc__ or "", rows=(64, "training pairs"))
    from benchmarks import trainings
    from helpers.machine import hardware  # noqa: F401  (finds out what the machine is before torch is imported)

    machine = harness.machine_of(options)
    model, tokenizer, rows = prepared(options.model, options.rows, machine)
    lengths = [len(ids) for ids in rows["input_ids"]]
    with tempfile.TemporaryDirectory() as folder:
        make = partial(trainer_of, model, tokenizer, rows, machine, folder)
        ways = {
            "Project E": lambda: trainings.plain(make("max_length")),
            "Trainer": lambda: trainings.plain(make("default")),
            harness.OURS: lambda: trainings.ours(make("ours")),
        }
        seconds = harness.take_turns(ways, options.repeats)
    harness.report(
        "classification", options, machine.dtype, rows=len(rows), tokens=sum(lengths), longest=max(lengths),
        ways=harness.compared(seconds, len(rows), "examples"),
    )  # fmt: skip


def prepared(model_id: str, n_rows: int, machine: Any) -> tuple[Any, Any, Any]:
    """The 4-bit classifier with its adapter, its tokenizer, and pairs as token ids with labels."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model

    from helpers import models, tasks
    from helpers.tasks.snli.words import LABELS

    task = tasks.get("snli")
    pairs = task.load(n_rows, 30, "generator", seed=0)["train"]
    loaded = models.load_classifier(model_id, LABELS, quant="nf4", machine=machine)
    config = LoraConfig(r=16, lora_alpha=64, target_modules="all-linear", task_type="SEQ_CLS")
    model = get_peft_model(loaded.model, config)
    texts = [f"{row['premise']}\n{row['hypothesis']}" for row in pairs]
    ids = [row[:PADDED] for row in loaded.tokenizer(texts)["input_ids"]]
    mask = [[1] * len(row) for row in ids]
    rows = Dataset.from_dict({"input_ids": ids, "attention_mask": mask, "labels": list(pairs["label"])})
    return model, loaded.tokenizer, rows


def trainer_of(model: Any, tokenizer: Any, rows: Any, machine: Any, folder: str, kind: str) -> Any:
    """One of the three trainers, for one pass over the rows."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    from helpers import training

    padding: dict[str, Any] = {"padding": "max_length", "max_length": PADDED} if kind == "max_length" else {}
    arguments = TrainingArguments(
        output_dir=folder, num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-4, seed=0,
        train_sampling_strategy="group_by_length" if kind == "ours" else "random", save_strategy="no",
        report_to="none", disable_tqdm=True, dataloader_pin_memory=False, **training.precision(machine),
    )  # fmt: skip
    data = {"train_dataset": rows, "data_collator": DataCollatorWithPadding(tokenizer, **padding)}
    made = (training.ClassifierTrainer if kind == "ours" else Trainer)(model=model, args=arguments, **data)
    training.float32_adapters(made.model)
    return made


if __name__ == "__main__":
    main()
