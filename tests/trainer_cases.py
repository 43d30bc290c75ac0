"""A small trainer on a tiny Llama."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from trl import SFTConfig

from helpers import models
from helpers.training import trainers

ANSWERS = ["salt", "red onion and cream", "1. Chop the leek.\n2. Serve hot.", "é", "butter, flour, milk"] * 4


def conversations() -> list[dict[str, list[dict[str, str]]]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Repeat:\n- {answer} {i}"}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for i, answer in enumerate(ANSWERS)
    ]


def _rows(tokenizer: Any) -> Dataset:
    return Dataset.from_list([trainers.completion_row(tokenizer, talk) for talk in conversations()])


def _trainer(folder: Path, **changes: Any) -> trainers.CompletionTrainer:
    torch.manual_seed(0)
    loaded = models.load("tiny/llama", quant="nf4", dtype="float32")
    model = get_peft_model(
        loaded.model, LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    options: dict[str, Any] = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3,
        "logging_steps": 1, "save_strategy": "steps", "save_steps": 3, "report_to": "none", "disable_tqdm": True,
        "bf16": False, "gradient_checkpointing": False, "completion_only_loss": True, "max_length": 64,
        "dataloader_pin_memory": False, "train_sampling_strategy": "group_by_length",
    }  # fmt: skip
    arguments = SFTConfig(**(options | changes))
    rows = _rows(loaded.tokenizer)
    trainer = trainers.CompletionTrainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, processing_class=loaded.tokenizer
    )
    trainers.float32_adapters(trainer.model)
    return trainer


def _adapter(trainer: trainers.CompletionTrainer) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
