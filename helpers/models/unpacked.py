"""4-bit weights dequantised once for many passes: while a model answers, and on a CPU while its adapters train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn


def dequantised_weight(module: nn.Module) -> torch.Tensor:
    """The weight of a 4-bit linear layer as the forward pass sees it, shape ``(out, in)``.

    Raises:
        ModelError: the layer is not quantised.
    """
    weight = getattr(module, "weight", None)
    state = getattr(weight, "quant_state", None)
    if weight is None or state is None:
        raise ModelError(f"{type(module).__name__} has no 4-bit weight", "load the model with quant='nf4'")
    if (kept := kept_weight(module)) is not None:
        return kept
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, state)


@contextmanager
def dequantised(model: nn.Module) -> Iterator[int]:
    """Run a block with every 4-bit layer multiplying by its weight dequantised once, not once per call.

    A 4-bit layer dequantises its whole weight in every forward pass. During generation that is one time per
    token, and on a CPU it takes longer than the product itself. A LoRA update is added to the dequantised
    weight, so it costs nothing per token either: h = (W + α/r · B A) x, rounded to the weight's dtype. (Never
    requantised, which would lose most of a small update. An update of zero changes no bit.)

    It costs the memory of the plain weights, so it is meant for small models. Yields how many layers were
    switched; all are put back after. Not for training: the gradient of the update is not defined; see
    ``kept_dequantised``.
    """
    packed = dict.fromkeys(_packed(model))  # in the order of the model, so that a plan is always the same
    updates = {m.base_layer: m for m in model.modules() if getattr(m, "base_layer", None) in packed and plain_lora(m)}
    with ExitStack() as stack:
        for module in packed:
            layer = updates.get(module, module)
            weight = dequantised_weight(module)
            if layer is not module:
                weight = _with_update(weight, layer)
            stack.enter_context(replaced_forward(layer, _product(weight, module.bias)))
        yield len(packed)


@contextmanager
def kept_dequantised(model: nn.Module) -> Iterator[int]:
    """Train in a block in which every 4-bit layer keeps its weight dequantised, in the format it computes in.

    A 4-bit layer dequantises its weight in every forward pass and again in every backward pass. Here each does so
    once; both passes are then the plain products that they are anyway, of the same numbers: no loss and no gradient
    changes. It costs the memory of the plain weights (``kept_bytes``). Updates are added as before, the packed
    weights stay, and what is saved is the same.

    Yields how many layers keep their weight; those whose stored and computed formats differ do not.
    """
    kept = [module for module in _packed(model) if keepable(module)]
    try:
        with ExitStack() as stack:
            for module in kept:
                weight = dequantised_weight(module)
                stack.enter_context(replaced_forward(module, _packed_product(weight, module.bias)))
                module._kept_weight = weight
            yield len(kept)
    finally:
        for module in kept:
            vars(module).pop("_kept_weight", None)


def kept_weight(module: Any) -> torch.Tensor | None:
    """The weight that a 4-bit layer keeps at this moment, ``(out, in)``; None where it keeps none."""
    return vars(module).get("_kept_weight")


def kept_bytes(model: nn.Module) -> int:
    """What ``kept_dequantised`` takes."""
    states = [module.weight.quant_state for module in _packed(model) if keepable(module)]
    return sum(int(state.shape.numel()) * state.dtype.itemsize for state in states)


def keepable(module: Any) -> bool:
    """Whether a 4-bit layer computes in the format that its weight had before it was packed.

    Elsewhere its forward pass dequantises into another format than its backward pass does.
    """
    return module.compute_dtype == module.weight.quant_state.dtype


def plain_lora(layer: Any) -> bool:
    """Whether the layer is LoRA as published: active, W + α/r · B A, no variant and no bias of its own.

    AdaLoRA's layers are LoRA layers to PEFT, with three factors that are no modules.
    """
    from peft.tuners.adalora import AdaLoraLayer
    from peft.tuners.lora import LoraLayer

    return (
        isinstance(layer, LoraLayer)
        and not isinstance(layer, AdaLoraLayer)
        and not layer.disable_adapters
        and not layer.merged
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
    )


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """A block in which a module computes something else; blocks may stand in one another."""
    before = vars(module).get("forward")
    module.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before  # type: ignore[method-assign]


def _packed(model: nn.Module) -> list[Any]:
    from bitsandbytes.nn import Linear4bit

    return [m for m in model.modules() if isinstance(m, Linear4bit) and m.weight.quant_state is not None]


def _packed_product(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward pass of ``Linear4bit``: in the format of the weight, whatever the input has."""
    from torch.nn import functional

    def forward(x: torch.Tensor) -> torch.Tensor:
        own = None if bias is None else bias.to(weight.dtype)
        return functional.linear(x.to(weight.dtype), weight, own).to(x.dtype)

    return forward


def _product(weight: torch.Tensor, bias: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """The forward pass of a linear layer in the format of its input."""
    from torch.nn import functional

    def forward(x: torch.Tensor) -> torch.Tensor:
        dtype = x.dtype
        kept = weight if weight.dtype == dtype else weight.to(dtype)
        return functional.linear(x, kept, None if bias is None else bias.to(dtype))

    return forward


def _with_update(weight: torch.Tensor, layer: Any) -> torch.Tensor:
    """`weight` plus the active updates of a LoRA layer, summed in float32 and rounded once."""
    total = weight.float()
    for name in layer.active_adapters:
        if name in layer.lora_A:
            total = total + layer.get_delta_weight(name).float()
    return total.to(weight.dtype)
