"""The same training step in less time on a CPU: what is computed twice is kept, what is passed over often is fused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from helpers.machine.probes import GB, memory
from helpers.models.unpacked import kept_bytes, kept_dequantised, kept_weight, plain_lora, replaced_forward

SPARE = 0.5  # share of the free RAM that dequantised weights may take; activations need the rest
PARTS = ("weights", "updates", "attention")


@contextmanager
def faster_on_cpu(
    model: nn.Module,
    *,
    weights: bool | None = None,
    updates: bool = True,
    attention: bool = True,
    quiet: bool = False,
) -> Iterator[dict[str, int]]:
    """Train in a block in which each step takes less time on a CPU, and means the same.

    On a GPU nothing changes: 4-bit weights are there to save its memory, and its kernels have none of these costs.

    Args:
        model: with its adapter.
        weights: each 4-bit weight is dequantised once for the whole block, not in every pass; no bit of the result
            changes. It takes the memory of the plain weights; None leaves it out where half of the free RAM is less.
        updates: a linear layer with its LoRA update is one operation, which reads its input and writes its output
            once, y = W x + α/r · B A x; the same sums, rounded less often.
        attention: where the model computes in bfloat16, attention is computed in float32. PyTorch's attention for
            CPUs takes several times as long for a gradient in bfloat16.
        quiet: say nothing.

    Yields:
        How many 4-bit weights are kept, how many layers have a fused update, and whether attention is in float32.
    """
    done = dict.fromkeys(PARTS, 0)
    if next(model.parameters()).device.type != "cpu":
        yield done
        return
    said = []
    with ExitStack() as stack:
        needed = kept_bytes(model)
        if needed and weights is None:
            free = memory()[1] * GB
            weights = needed <= SPARE * free
            if not weights:
                said.append(f"4-bit weights stay packed, {needed / GB:.1f} GB of {free / GB:.1f} free are too many")
        if needed and weights:
            done["weights"] = stack.enter_context(kept_dequantised(model))
            said.append(f"{done['weights']} 4-bit weights dequantised once ({needed / GB:.2f} GB)")
        if updates:
            for layer in filter(_fusable, model.modules()):
                stack.enter_context(replaced_forward(layer, _Fused(layer)))
                done["updates"] += 1
            said += [f"{done['updates']} updates fused with their layers"] if done["updates"] else []
        if attention:
            stack.enter_context(float32_attention())
            done["attention"] = 1
        if said and not quiet:
            print("on this CPU: " + ", ".join(said))
        yield done


def _fusable(layer: Any) -> bool:
    """Whether a layer is LoRA with one adapter on a linear layer whose weight can be multiplied as it is."""
    if not plain_lora(layer) or len(layer.active_adapters) != 1 or not isinstance(layer.base_layer, nn.Linear):
        return False
    return kept_weight(layer.base_layer) is not None or layer.base_layer.weight.is_floating_point()


class _Fused:
    """The forward pass of a LoRA layer as one operation; PEFT's own where that would not mean the same."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        layer = self.layer
        name = layer.active_adapters[0]
        weight = self._weight(x)
        if weight is None or args or kwargs or not _fusable(layer) or name not in layer.lora_A:
            return type(layer).forward(layer, x, *args, **kwargs)
        given = layer.lora_dropout[name](x)
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        return LoRAProduct.apply(x, given, weight, layer.base_layer.bias, a, b, layer.scaling[name])

    def _weight(self, x: torch.Tensor) -> torch.Tensor | None:
        """The frozen weight in the format that is computed in; None where PEFT computes the update in another."""
        base = self.layer.base_layer
        kept = kept_weight(base)
        weight = base.weight if kept is None else kept
        trained = base.weight.requires_grad or (base.bias is not None and base.bias.requires_grad)
        formats = {weight.dtype, x.dtype}
        if torch.is_autocast_enabled("cpu"):
            formats.add(torch.get_autocast_dtype("cpu"))
        else:
            formats.add(self.layer.lora_A[self.layer.active_adapters[0]].weight.dtype)
        return None if trained or len(formats) > 1 else weight


class LoRAProduct(torch.autograd.Function):
    """y = W x + s · B A d, where d is x or x after dropout (Hu et al., 2021, arXiv:2106.09685).

    Products are taken in the format of x; those of an output are summed before they are rounded.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, d: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        a: torch.Tensor, b: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        """Shapes: x and d ``(…, in)``, weight ``(out, in)``, bias ``(out,)``, a ``(r, in)``, b ``(out, r)``."""
        with torch.autocast("cpu", enabled=False):
            rows = d.reshape(-1, d.shape[-1])
            down, up = a.to(x.dtype), b.to(x.dtype)
            low = rows @ down.T
            y = functional.linear(x.reshape(rows.shape), weight, None if bias is None else bias.to(x.dtype))
            y.addmm_(low, up.T, alpha=scale)
        ctx.save_for_backward(rows, low, weight, down, up)
        ctx.scale, ctx.dropped, ctx.shape, ctx.dtypes = scale, d is not x, x.shape, (a.dtype, b.dtype)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        rows, low, weight, down, up = ctx.saved_tensors
        gradient = gradients[0].reshape(len(rows), -1)
        g_low = (gradient @ up).mul_(ctx.scale)
        g_a = (g_low.T @ rows).to(ctx.dtypes[0]) if ctx.needs_input_grad[4] else None
        g_b = (gradient.T @ low).to(ctx.dtypes[1]).mul_(ctx.scale) if ctx.needs_input_grad[5] else None
        g_x = g_d = None
        if ctx.needs_input_grad[0]:
            g_x = gradient @ weight
            if not ctx.dropped:
                g_x.addmm_(g_low, down)
            g_x = g_x.view(ctx.shape)
        if ctx.dropped and ctx.needs_input_grad[1]:
            g_d = (g_low @ down).view(ctx.shape)
        return g_x, g_d, None, None, g_a, g_b, None


@contextmanager
def float32_attention() -> Iterator[None]:
    """A block in which attention that a gradient will go through is computed in float32, on CPUs."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    plain = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if query.dtype != torch.bfloat16 or query.device.type != "cpu" or not query.requires_grad:
            return plain(module, query, key, value, mask, *args, **kwargs)
        exact = mask.float() if mask is not None and mask.is_floating_point() else mask
        with torch.autocast("cpu", enabled=False):
            out, weights = plain(module, query.float(), key.float(), value.float(), exact, *args, **kwargs)
        return out.to(query.dtype), weights

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = plain
