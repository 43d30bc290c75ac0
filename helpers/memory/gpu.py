"""What a GPU does differently from the CPU that a plan is made on: attention kernels, and formats under autocast."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

aten = torch.ops.aten

# Functions that autocast computes in float32 on a GPU and in the given format on a CPU; as torch's list for CUDA has
# them, of those that transformers call.
IN_FLOAT32 = frozenset({
    "cosine_similarity", "cross_entropy", "cross_entropy_loss", "cumsum", "exp", "group_norm", "layer_norm", "log",
    "log_softmax", "nll_loss", "norm", "normalize", "pow", "__pow__", "prod", "reciprocal", "rsqrt", "softmax",
    "softplus", "sum",
})  # fmt: skip
FLASH = (8, 0)  # compute capability from which flash attention runs
MASK_STEP = 16  # a mask's rows are padded to a multiple of this


class GpuNumerics(TorchFunctionMode):
    """Within, functions choose formats and kernels as they would on a GPU of this compute capability."""

    def __init__(self, capability: tuple[int, int]) -> None:
        super().__init__()
        self.capability = capability

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            return attention(self.capability, *args, **kwargs)
        if func is torch.Tensor.backward:
            # Checkpointed layers run again in here, and a mode is off while it handles a call.
            with self:
                return _backward(args[0])
        if name == "dropout":
            return dropout(*args, **kwargs)
        if name in IN_FLOAT32 and torch.is_autocast_enabled("cpu"):
            args = tuple(_float32(x) for x in args)
            kwargs = {key: _float32(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


def _backward(loss: torch.Tensor) -> None:
    start = (torch.ones_like(loss),)
    torch.autograd.Variable._execution_engine.run_backward(
        (loss,), start, False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _float32(value: Any) -> Any:
    half = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def attention(
    capability: tuple[int, int], query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """``scaled_dot_product_attention`` through the kernel that a GPU would take: flash, else memory-efficient."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = (x.to(dtype) for x in (query, key, value))
        attn_mask = attn_mask.to(dtype) if attn_mask is not None and attn_mask.is_floating_point() else attn_mask
    half = query.dtype in (torch.float16, torch.bfloat16)
    if attn_mask is None and capability >= FLASH and half and query.shape[-1] <= 256:
        return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
    if enable_gqa and key.shape[1] != query.shape[1]:  # which the memory-efficient kernel does not know
        with torch.autocast("cpu", enabled=False):
            return aten._scaled_dot_product_attention_math(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=True
            )[0]
    bias = None if attn_mask is None else _bias(attn_mask, query, key)
    wants = any(x.requires_grad for x in (query, key, value)) and torch.is_grad_enabled()
    return aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, wants, dropout_p, is_causal, scale=scale
    )[0]


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """A GPU keeps a byte for each number, a CPU the mask in the numbers' own format."""
    return torch.native_dropout(input, p, True)[0] if training and p else input


def _bias(mask: Any, query: Any, key: Any) -> Any:
    """A mask as the kernel wants it: numbers of the query's format, rows padded in memory, one for every head."""
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, -math.inf)
    width = mask.shape[-1]
    if width % MASK_STEP:
        mask = functional.pad(mask, (0, MASK_STEP - width % MASK_STEP))[..., :width]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


def _efficient_backward(out: Any, grad: Any, query: Any, key: Any, *rest: Any, **more: Any) -> int:
    """The gradient of the queries is summed in float32, those of keys and values too where a head is wide."""
    return query.numel() * 4 + (2 * key.numel() * 4 if query.shape[-1] > 128 else 0)


def _flash_backward(out: Any, grad: Any, query: Any, key: Any, *rest: Any, **more: Any) -> int:
    """The gradient of the queries is summed in float32, rows and columns rounded up; those of shared keys are not."""
    rows, columns = -(-query.shape[-2] // 128) * 128, -(-query.shape[-1] // 32) * 32
    summed = query.shape[0] * query.shape[1] * rows * (columns + 1) * 4
    shared = key.shape[1] != query.shape[1]
    return summed + (2 * query.shape[0] * query.shape[1] * key.shape[2] * query.shape[-1] * 2 if shared else 0)


# Operation -> bytes that it allocates inside.
WORKSPACE: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
    aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
}
