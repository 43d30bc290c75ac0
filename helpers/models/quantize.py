"""4-bit NormalFloat quantisation: configuration, the CPU guard, and honest parameter counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError
from helpers.machine.hardware import NEEDED

if TYPE_CHECKING:
    import torch
    from torch import nn

    from helpers.machine.hardware import Machine

QUANTISATIONS = ("none", "int8", "nf4", "nf4-double")


def quantisation_config(quant: str, compute_dtype: torch.dtype, kept: Sequence[str] = ()) -> Any:
    """``BitsAndBytesConfig`` for `quant`, or ``None`` for ``"none"``.

    ``nf4-double`` is the QLoRA recipe (Dettmers et al., 2023, arXiv:2305.14314): 4-bit NormalFloat whose block
    scales are themselves stored in 8 bits; ``nf4`` keeps them in 32. ``int8`` is LLM.int8 (Dettmers et al., 2022,
    arXiv:2208.07339): one byte a weight, columns with outliers in 16 bits.

    Args:
        kept: modules that stay in the compute dtype with all they contain, by their full names. They take the place
            of transformers' own list, so an output head has to be among them.

    Raises:
        ModelError: `quant` is not one of ``QUANTISATIONS``.
    """
    if quant == "none":
        return None
    if quant not in QUANTISATIONS:
        raise ModelError(f"quant={quant!r} is not known", f"use one of {', '.join(QUANTISATIONS)}")
    from transformers import BitsAndBytesConfig

    skipped = list(kept) or None  # None: transformers leaves out the output head
    if quant == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        llm_int8_skip_modules=skipped,
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quant == "nf4-double",
        bnb_4bit_compute_dtype=compute_dtype,
    )


def check_quantisation(quant: Any, machine: Machine) -> None:
    """Refuse a format that `machine` cannot compute in, before any weights are read.

    Without this LLM.int8 on a P100 fails only at the first product, minutes after the weights were fetched.

    Args:
        quant: one of ``QUANTISATIONS``, or a ``BitsAndBytesConfig``.

    Raises:
        ModelError: the GPU is too old for the format, or bitsandbytes is missing.
    """
    name = quant.split("-")[0] if isinstance(quant, str) else ""
    for form, setting in (("int8", "load_in_8bit"), ("nf4", "load_in_4bit")):
        if getattr(quant, setting, False):
            name = form
    if name not in NEEDED or machine.supports()[name]:
        return
    if "bitsandbytes" not in machine.versions:
        raise ModelError(f"{name} weights need bitsandbytes, which is not installed", "pip install bitsandbytes")
    need, has = (".".join(map(str, pair)) for pair in (NEEDED[name], machine.capability or (0, 0)))
    what = "LLM.int8 wants matrix units for 8-bit integers, which GPUs have" if name == "int8" else "NF4 runs on GPUs"
    cure = "use quant='nf4'" if machine.supports()["nf4"] else "use quant='none' and a smaller model_id"
    raise ModelError(f"{what} from compute capability {need} on: {machine.device_name} has {has}", cure)


def guard_cpu_kernels(model: nn.Module) -> int:
    """Turn off the bitsandbytes CPU kernel that has no gradient; returns how many modules had it on.

    On CPUs with AVX512-BF16 a single forward pass without gradients repacks the 4-bit weights, and every
    later training step then runs a kernel outside autograd: most LoRA gradients become zero and only a
    ``UserWarning`` says so. It has to be off before the first forward pass.
    """
    switched = 0
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
            switched += 1
    return switched


@dataclass(frozen=True)
class ParameterCount:
    """Parameters as the architecture has them, whatever the storage format.

    Attributes:
        total: all parameters, two for every packed 4-bit byte.
        trainable: those with ``requires_grad``.
        stored_bytes: bytes the weights take, with the quantisation constants.
        quantised: parameters that are stored in 4 bits.
    """

    total: int
    trainable: int
    stored_bytes: int
    quantised: int

    @property
    def trainable_share(self) -> float:
        return self.trainable / self.total if self.total else 0.0

    def __str__(self) -> str:
        return (
            f"{self.total:,} parameters, {self.trainable:,} trainable ({self.trainable_share:.4%}), "
            f"{self.quantised:,} in 4 bits, {self.stored_bytes / 2**20:,.1f} MiB stored"
        )


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count parameters with 4-bit packing undone.

    ``p.numel()`` of a packed weight counts bytes, not parameters: it halves the model. The original shape
    is kept in the quantisation state.
    """
    total = trainable = stored = quantised = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        count = unpacked_size(parameter)
        stored += parameter.numel() * parameter.element_size()
        if state is not None:
            quantised += count
            stored += _constants_bytes(state)
        total += count
        if parameter.requires_grad:
            trainable += count
    return ParameterCount(total, trainable, stored, quantised)


def unpacked_size(parameter: nn.Parameter) -> int:
    """How many numbers a parameter stands for: a packed 4-bit one holds two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel() if state is None else state.shape.numel())


def _constants_bytes(state: Any) -> int:
    """Bytes of the block scales; with double quantisation they are themselves 8-bit."""
    size = int(state.absmax.numel() * state.absmax.element_size())
    if getattr(state, "nested", False):
        size += int(state.state2.absmax.numel() * state.state2.absmax.element_size())
    return size
