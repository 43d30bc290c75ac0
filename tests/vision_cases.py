"""What tests of vision-language models share."""

from __future__ import annotations

import warnings
from typing import Any

import torch


def randomise(model: Any, end: int, image: int, stop: float) -> None:
    """Random weights, large enough for clear preferences.

    Args:
        end: token that ends an answer; its embedding times `stop` lets some answers end.
        image: token that holds a picture's place; no answer has it.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.05 if "embed_tokens" in name else 0.15)
        rows = model.get_input_embeddings().weight
        rows[end] *= stop
        rows[image] = 0


def gradients(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of one batch's loss in training mode, copied."""
    model.train()
    model.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(**batch).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
