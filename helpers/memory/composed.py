"""Operations of bitsandbytes whose kernels call others, as what they call: the parts allocate and compute."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch


def _gemm_4bit(
    x: Any, packed: Any, shape: Any, absmax: Any, blocksize: int, kind: str, bias: Any = None,
    absmax_8bit: Any = None, absmax_code: Any = None, absmax_offset: Any = None,
) -> Any:  # fmt: skip
    """bitsandbytes' product with a packed weight, as it is done for more than a few rows: unpacked first."""
    ops = torch.ops.bitsandbytes
    if absmax_8bit is not None:
        absmax = ops.dequantize_blockwise.default(absmax_8bit, absmax, absmax_code, 256, torch.float32)
        absmax = absmax + absmax_offset
    weight = ops.dequantize_4bit.default(packed, absmax, blocksize, kind, shape, x.dtype)
    return torch.nn.functional.linear(x, weight, bias)


def _int8_scaled_mm(
    x: Any, weight: Any, row_scales: Any, column_scales: Any, bias: Any = None, dtype: Any = None
) -> Any:
    """LLM.int8's product: whole numbers of 32 bits first."""
    ops = torch.ops.bitsandbytes
    whole = ops.int8_linear_matmul.default(x, weight)
    return ops.int8_mm_dequant.default(whole, row_scales, column_scales, dtype=dtype or torch.float16, bias=bias)


# Operation -> function of its arguments that calls the others.
MADE_OF_OTHERS: dict[Any, Callable[..., Any]] = {}
with suppress(ImportError, AttributeError):  # without bitsandbytes there are no such operations
    # It says at import that an optional kernel is missing, which nobody needs here.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    import bitsandbytes  # noqa: F401

    MADE_OF_OTHERS = {
        torch.ops.bitsandbytes.gemm_4bit.default: _gemm_4bit,
        torch.ops.bitsandbytes.int8_scaled_mm.default: _int8_scaled_mm,
    }
