"""A tiny Llama with adapters that change something, and their folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from helpers import models
from helpers.machine import hardware

TINY = "tiny/llama"
RANKS = {"one": 8, "two": 8, "thin": 3}


def with_adapters(quant: str = "none", dtype: str = "float32", **options: Any) -> Any:
    """The model with an adapter for each of ``RANKS``; their B is not zero."""
    machine = dataclasses.replace(hardware.probe(), dtype=dtype)
    base = models.load(TINY, quant=quant, machine=machine).model
    model = None
    torch.manual_seed(0)
    for name, rank in RANKS.items():
        usual = {"lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "init_lora_weights": False}
        config = LoraConfig(r=rank, **(usual | options))
        if model is None:
            model = get_peft_model(base, config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.mul_(0.3)
    return model.eval()


def save_adapter(folder: Path, **options: Any) -> Any:
    """Save one adapter on its own in ``folder``, as PEFT does; returns the model that it belongs to."""
    base = models.load(TINY, dtype="float32").model
    usual = {"lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "init_lora_weights": False}
    torch.manual_seed(1)
    model = get_peft_model(base, LoraConfig(**({"r": 4} | usual | options))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.mul_(0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return model


def some_ids(rows: int = 3, length: int = 17) -> torch.Tensor:
    """Token ids, (rows, length)."""
    return torch.randint(3, 1000, (rows, length), generator=torch.Generator().manual_seed(0))
