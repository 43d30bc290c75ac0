"""Software as it was when others measured: contexts in which the installed one takes memory as that did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from helpers.memory import build, composed, steps
from helpers.models.heads import HEAD


@contextmanager
def inputs_kept() -> Iterator[None]:
    """Until version 0.43 a 4-bit layer of bitsandbytes kept its input for the backward pass, which does not read it.

    Mended in July 2024 (bitsandbytes 9e753741, "fix QLoRA mem bug").
    """
    from bitsandbytes.autograd._functions import MatMul4Bit

    own = MatMul4Bit.forward

    def forward(ctx: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        out = own(ctx, x, *args, **kwargs)
        if any(ctx.needs_input_grad[:2]):
            ctx.save_for_backward(x)  # which checkpointing drops, as the one of that time did
        return out

    with patch.object(MatMul4Bit, "forward", staticmethod(forward)):
        yield


@contextmanager
def unpacked_as_half() -> Iterator[None]:
    """Weights that were packed as float16 are unpacked as float16 and then copied to the format that is computed in.

    Lightning packs every weight as float16 (``BitsandbytesPrecision``, October 2023), whatever is computed in.
    """
    from bitsandbytes import functional

    product = torch.ops.bitsandbytes.gemm_4bit.default
    own, unpack = composed.MADE_OF_OTHERS[product], functional.dequantize_4bit

    def forward(x: torch.Tensor, packed: Any, shape: Any, *args: Any, **kwargs: Any) -> Any:
        half = torch.empty(tuple(shape), dtype=torch.float16)
        copied = half.to(x.dtype)
        del half, copied
        return own(x, packed, shape, *args, **kwargs)

    def backward(*args: Any, **kwargs: Any) -> torch.Tensor:
        return unpack(*args, **kwargs).half()

    with patch.dict(composed.MADE_OF_OTHERS, {product: forward}), patch.object(functional, "dequantize_4bit", backward):
        yield


@contextmanager
def head_packed() -> Iterator[None]:
    """The output head is quantised too: Lightning replaces every linear layer, transformers leaves the head out."""
    with patch.object(build, "KEPT", (HEAD,)):
        yield


@contextmanager
def one_gelu() -> Iterator[None]:
    """GELU's tanh form in one operation, which keeps its input only; transformers writes phi's as several."""
    from transformers.activations import NewGELUActivation

    def forward(_self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gelu(x, approximate="tanh")

    with patch.object(NewGELUActivation, "forward", forward):
        yield


@contextmanager
def shifted_copy() -> Iterator[None]:
    """Until 2025 transformers shifted the logits against the labels, which copies them; since then the labels."""
    from torch.nn.functional import cross_entropy
    from transformers.loss.loss_utils import LOSS_MAPPING

    def loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
        logits = logits.float()
        shifted = logits[..., :-1, :].contiguous()
        return cross_entropy(shifted.view(-1, vocab_size), labels[..., 1:].contiguous().view(-1))

    with patch.dict(LOSS_MAPPING, {"ForCausalLM": loss}):
        yield


@contextmanager
def grouped_adamw() -> Iterator[None]:
    """AdamW over lists of tensors (``foreach``), which holds the roots of all second moments at once.

    It is PyTorch's own choice on a GPU, and was the Trainer's until its default became the fused kernel.
    """

    def made(job: Any, trained: list[Any]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, foreach=True)

    with patch.object(steps, "make_optimizer", made):
        yield


# How software differed -> the context.
THEN: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "4-bit layers keep their input": inputs_kept,
    "4-bit weights unpacked as float16 first": unpacked_as_half,
    "output head in 4 bits": head_packed,
    "GELU in one operation": one_gelu,
    "logits shifted as a copy": shifted_copy,
    "AdamW in groups": grouped_adamw,
}
