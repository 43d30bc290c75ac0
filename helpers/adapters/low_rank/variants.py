"""What variants of LoRA need beside their configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from torch import nn


class AllocateRank(TrainerCallback):
    """Lets AdaLoRA move rank between layers after each update, while the gradients it judges by are there."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.model.base_model.update_and_allocate(state.global_step + 1)


def reason_against(wrap: Callable[[], nn.Module], inputs: Mapping[str, Any]) -> str:
    """Why a variant does not run: it is wrapped, and takes one forward and one backward pass.

    Args:
        wrap: makes the model; whatever it raises is the answer.
        inputs: ``input_ids``, ``attention_mask`` and ``labels`` of a batch.

    Returns:
        The error's first line, or that nothing has a gradient; "" where it runs.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = wrap().train()
        model(**inputs).loss.backward()
        moved = any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # any: what libraries raise where they do not support something has no common class
        said = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {said[0]}".rstrip(": ")
    return "" if moved else "no trained parameter has a gradient"
