"""Batches of similar length, left padding, evaluation mode; the encoding of chat turns is ``models.chat``'s."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from helpers.models.chat import Conversation, Message, encode, render
from helpers.models.unpacked import dequantised

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Conversation", "Message", "batches", "encode", "evaluation", "pad_id", "pad_left", "positions", "render",
]  # fmt: skip


@contextmanager
def evaluation(model: PreTrainedModel) -> Iterator[torch.device]:
    """Evaluation mode, no gradients; on a CPU 4-bit weights dequantised once, LoRA added; all put back after."""
    import torch

    training = model.training
    device = next(model.parameters()).device
    head = model.get_output_embeddings()  # None for a classifier
    hook = head.register_forward_pre_hook(_contiguous) if head is not None else None
    model.eval()
    try:
        with torch.inference_mode(), dequantised(model) if device.type == "cpu" else nullcontext():
            yield device
    finally:
        model.train(training)
        if hook is not None:
            hook.remove()


def _contiguous(_head: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The hidden states in one piece.

    The last positions of each row are a view with gaps. Multiplied by a frozen weight, torch turns that into one
    product a row and copies the head's whole weight for each: 1.8 GB for 32 rows of SmolLM2.
    """
    return (inputs[0].contiguous(), *inputs[1:])


def batches(lengths: Sequence[int], rows_of: int | Callable[[int], int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first, so that little is padded.

    Args:
        rows_of: rows in a batch, or how many there may be in one whose longest row has so many tokens; one at least.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        rows = max(1, rows_of if isinstance(rows_of, int) else rows_of(lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    width = max(len(r) for r in rows)
    ids = torch.tensor([[pad] * (width - len(r)) + list(r) for r in rows], device=device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=device)
    return ids, mask


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each token counted from its row's first real one, shape like `mask`."""
    return (mask.cumsum(-1) - 1).clamp(min=0)
