"""The quicker 4-bit quantisation gives the bits of bitsandbytes' own kernel."""

from __future__ import annotations

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit

from helpers.models.quantize_cpu import CHUNK, NAME, nearest_codes, quantise, quicken_quantisation

OWN = torch._C.DispatchKeySet(torch._C.DispatchKey.CompositeExplicitAutograd)  # where bitsandbytes registers its own


def by_bitsandbytes(weight: torch.Tensor, *more: object) -> tuple[torch.Tensor, torch.Tensor]:
    found: tuple[torch.Tensor, torch.Tensor] = torch.ops.bitsandbytes.quantize_4bit.default.redispatch(
        OWN, weight, *more
    )
    return found


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("storage", [torch.uint8, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64,), (96, 256), (3, 5, 128), (576, 576)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_same_bits(kind: str, storage: torch.dtype, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)
    codes, scales = quantise(weight, 64, kind, storage)
    own_codes, own_scales = by_bitsandbytes(weight, 64, kind, storage)
    assert codes.dtype == own_codes.dtype and codes.shape == own_codes.shape
    assert torch.equal(codes.view(torch.uint8), own_codes.view(torch.uint8)) and torch.equal(scales, own_scales)


@pytest.mark.parametrize("size", [1, 63, 65, 1000, 1001])
def test_blocks_that_are_not_full(size: int) -> None:
    weight = torch.randn(size, generator=torch.Generator().manual_seed(size))
    for ours, own in zip(
        quantise(weight, 64, "nf4", torch.uint8), by_bitsandbytes(weight, 64, "nf4", torch.uint8), strict=True
    ):
        assert torch.equal(ours, own)


def test_zeros_and_numbers_on_a_border() -> None:
    _, state = quantize_4bit(torch.ones(64), quant_type="nf4")
    borders = (state.code[:-1] + state.code[1:]) / 2
    weight = torch.cat([torch.zeros(64), torch.ones(1), borders, torch.zeros(63 - len(borders)), torch.zeros(64)])
    for ours, own in zip(
        quantise(weight, 64, "nf4", torch.uint8), by_bitsandbytes(weight, 64, "nf4", torch.uint8), strict=True
    ):
        assert torch.equal(ours, own)


def test_codes_are_those_of_a_search() -> None:
    values = torch.cat([torch.randn(CHUNK + 17), torch.tensor([float("nan"), float("inf"), -float("inf"), 0.5])])
    borders = torch.tensor([-1.0, -0.5, 0.0, 0.5, 2.0])
    assert torch.equal(nearest_codes(values, borders), torch.bucketize(values, borders).to(torch.uint8))


def test_loading_uses_it_and_weights_come_back() -> None:
    quicken_quantisation()
    assert torch._C._dispatch_has_kernel_for_dispatch_key(NAME, "CPU")
    weight = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    packed, state = quantize_4bit(weight, quant_type="nf4")
    assert torch.equal(packed, by_bitsandbytes(weight, state.blocksize, "nf4", torch.uint8)[0])
    assert (dequantize_4bit(packed, state) - weight).abs().max() < 0.16 * weight.abs().max()
