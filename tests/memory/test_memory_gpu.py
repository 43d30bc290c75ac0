"""Formats under autocast and attention kernels, as a GPU would choose them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from helpers.memory import gpu
from helpers.memory.fake import FakeRun
from helpers.memory.gpu import IN_FLOAT32, GpuNumerics
from helpers.memory.jobs import Job
from helpers.memory.planner import plan

T4, A100 = (7, 5), (8, 0)


def test_functions_in_float32_are_those_of_torchs_own_list() -> None:
    header = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
    listed: set[str] = set()
    for name in ("AT_FORALL_FP32", "AT_FORALL_FP32_SET_OPT_DTYPE", "AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE"):
        block = re.search(rf"#define {name}\(_\)(.*?)\n\n", header.read_text(), re.DOTALL)
        assert block is not None, name
        listed |= set(re.findall(r"[_(](\w+)[,)]", block[1]))
    made_of = {
        "__pow__": "pow",
        "cross_entropy": "log_softmax",
        "cross_entropy_loss": "log_softmax",
        "normalize": "norm",
    }
    assert {made_of.get(name, name) for name in IN_FLOAT32} <= listed


def _dtype(function: Any, autocast: bool = True) -> torch.dtype:
    run = FakeRun()
    with run, GpuNumerics(T4), torch.autocast("cpu", dtype=torch.float16, enabled=autocast):
        return function(torch.empty(2, 8, dtype=torch.float16)).dtype  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.layer_norm(x, (8,)),
        lambda x: torch.softmax(x, -1),
        lambda x: functional.log_softmax(x, -1),
        lambda x: x.pow(2),
        lambda x: x**2,
        lambda x: x.sum(),
        lambda x: torch.rsqrt(x),
    ],
)
def test_under_autocast_a_gpu_computes_these_in_float32(function: Any) -> None:
    assert _dtype(function) == torch.float32
    assert _dtype(function, autocast=False) == torch.float16


def test_products_stay_in_sixteen_bits() -> None:
    assert _dtype(lambda x: functional.linear(x, torch.empty(4, 8))) == torch.float16


def _kernels(capability: tuple[int, int], dtype: torch.dtype, masked: bool) -> set[str]:
    run = FakeRun()
    with run, GpuNumerics(capability):
        query = torch.empty(2, 4, 20, 32, dtype=dtype, requires_grad=True)
        mask = torch.ones(2, 1, 20, 20, dtype=torch.bool) if masked else None
        functional.scaled_dot_product_attention(query, query, query, attn_mask=mask).sum().backward()
    return {operation for _, _, operation in run.ledger.shapes.values() if "attention" in operation}


@pytest.mark.parametrize(
    ("capability", "dtype", "masked", "kind"),
    [
        (T4, torch.float16, False, "efficient"),
        (A100, torch.bfloat16, False, "flash"),
        (A100, torch.bfloat16, True, "efficient"),
        (A100, torch.float32, False, "efficient"),
    ],
)
def test_the_attention_kernel_follows_card_mask_and_format(
    capability: tuple[int, int], dtype: torch.dtype, masked: bool, kind: str
) -> None:
    used = _kernels(capability, dtype, masked)
    assert len(used) == 2, "forward and backward"
    assert all(f"_{kind}_attention" in name for name in used)


def _peak(function: Any) -> int:
    run = FakeRun()
    with run, GpuNumerics(T4):
        function()
    return run.ledger.peak()[0]


def test_shared_keys_without_a_mask_keep_the_attention_weights_on_an_old_card() -> None:
    def attend() -> None:
        query = torch.empty(1, 8, 512, 64, dtype=torch.float16, requires_grad=True)
        key = torch.empty(1, 2, 512, 64, dtype=torch.float16, requires_grad=True)
        functional.scaled_dot_product_attention(query, key, key, is_causal=True, enable_gqa=True)

    assert _peak(attend) > 8 * 512 * 512 * 4, "in float32"


def test_dropout_keeps_a_byte_for_each_number() -> None:
    def drop() -> list[torch.Tensor]:
        kept = torch.empty(1000, 1000, dtype=torch.float16, requires_grad=True)
        return [functional.dropout(kept, 0.1)]

    assert _peak(drop) == 10**6 * (2 + 2 + 1)


def test_no_kernel_keeps_the_matrix_of_attention_weights() -> None:
    run = FakeRun()
    with run, GpuNumerics(T4):
        query = torch.empty(1, 8, 2048, 64, dtype=torch.float16, requires_grad=True)
        functional.scaled_dot_product_attention(query, query, query, is_causal=True)
    weights = 8 * 2048 * 2048 * 2
    assert run.ledger.peak()[0] < weights / 4


def test_a_mask_is_written_out_once_for_all_heads_and_padded() -> None:
    query = torch.empty(2, 4, 20, 32, dtype=torch.float16)
    bias = gpu._bias(torch.ones(2, 1, 20, 20, dtype=torch.bool), query, query)
    assert bias.shape == (2, 4, 20, 20) and bias.dtype == torch.float16
    assert bias.stride(1) == 0 and bias.stride(2) == 32
    hidden = gpu._bias(torch.zeros(2, 1, 20, 20, dtype=torch.bool), query, query)
    assert torch.isinf(hidden).all() and (bias == 0).all()


def test_layers_are_computed_again_in_the_formats_of_the_first_time() -> None:
    job = Job("tiny/phi", quant="nf4", length=64)
    kept, again = plan(job), plan(job.but(checkpointing=True))
    assert again.tensors < kept.tensors
