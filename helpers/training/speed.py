"""The same training step in less time on a CPU: what is computed twice is kept, what is passed over often is fused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from helpers.machine import ranks
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
            once, y = W x + α/r · B A x; queries, keys and values of an input share their thin products. The same sums,
            rounded less often.
        attention: where the model computes in bfloat16, attention is computed in float32. PyTorch's attention for
            CPUs takes several times as long for a gradient in bfloat16.
        quiet: say nothing.

    Yields:
        How many 4-bit weights are kept, how many layers have a fused update, and whether attention is in float32.
    """
    done = dict.fromkeys(PARTS, 0)
    if next(model.parameters()).device.type != "cpu" or ranks.sharded():  # whole weights are not kept then
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
            done["updates"] = stack.enter_context(fused_updates(model))
            said += [f"{done['updates']} updates fused with their layers"] if done["updates"] else []
        if attention:
            stack.enter_context(float32_attention())
            done["attention"] = 1
        if said and not quiet:
            print("on this CPU: " + ", ".join(said))
        yield done


# Layers that read the same input, in the order in which their module calls them.
TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@contextmanager
def fused_updates(model: nn.Module) -> Iterator[int]:
    """A block in which LoRA layers are ``LoRAProducts``; yields how many. Those that read the same input share one."""
    fused = {layer: _Fused(layer) for layer in model.modules() if _fusable(layer)}
    for parent in model.modules():
        for names in TOGETHER:
            group = [fused[layer] for name in names if (layer := getattr(parent, name, None)) in fused]
            for leader in group[:1]:
                leader.others = group[1:]
    with ExitStack() as stack:
        for layer, forward in fused.items():
            stack.enter_context(replaced_forward(layer, forward))
        yield len(fused)


def _fusable(layer: Any) -> bool:
    """Whether a layer is LoRA with one adapter on a linear layer whose weight can be multiplied as it is."""
    if not plain_lora(layer) or len(layer.active_adapters) != 1 or not isinstance(layer.base_layer, nn.Linear):
        return False
    return kept_weight(layer.base_layer) is not None or layer.base_layer.weight.is_floating_point()


class _Fused:
    """The forward pass of a LoRA layer as one operation; PEFT's own where that would not mean the same.

    Attributes:
        others: forward passes that will be asked for the same input next, and are computed along with this one.
        waiting: (input, output) of this one, where another has computed it.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.others: list[_Fused] = []
        self.waiting: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        (read, made), self.waiting = self.waiting or (None, None), None
        if args or kwargs or not self._applies_to(x):
            return type(self.layer).forward(self.layer, x, *args, **kwargs)
        if made is not None and read is x:
            return made
        name = self.layer.active_adapters[0]
        given = self.layer.lora_dropout[name](x)
        together = [self]
        if given is x:  # with dropout each draws a mask of its own
            together += [other for other in self.others if other._applies_to(x)]
        scales = [one.layer.scaling[one.layer.active_adapters[0]] for one in together]
        outputs = LoRAProducts.apply(x, given, scales, *(tensor for one in together for tensor in one._tensors()))
        for other, output in zip(together[1:], outputs[1:], strict=True):
            other.waiting = (x, output)
        return outputs[0]

    def _tensors(self) -> tuple[torch.Tensor | None, ...]:
        """Weight, bias, A and B."""
        base, name = self.layer.base_layer, self.layer.active_adapters[0]
        kept = kept_weight(base)
        a, b = self.layer.lora_A[name].weight, self.layer.lora_B[name].weight
        return base.weight if kept is None else kept, base.bias, a, b

    def _applies_to(self, x: torch.Tensor) -> bool:
        """Whether all is in one format, and the layer's own weight is frozen: elsewhere PEFT does it differently."""
        if not _fusable(self.layer) or self.layer.active_adapters[0] not in self.layer.lora_A:
            return False
        weight, bias, a, _ = self._tensors()
        assert weight is not None and a is not None
        formats = {weight.dtype, x.dtype}
        formats.add(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else a.dtype)
        trained = self.layer.base_layer.weight.requires_grad or (bias is not None and bias.requires_grad)
        return len(formats) == 1 and not trained


class LoRAProducts(torch.autograd.Function):
    """y = W x + s · B A d of some layers, where d is x or x after dropout (Hu et al., 2021, arXiv:2106.09685).

    Products are taken in the format of x; those of an output are summed before they are rounded. The thin products of
    several layers with the same x are one: their A stand below one another.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, d: torch.Tensor, scales: list[float], *layers: Any) -> Any:
        """Shapes: x and d ``(…, in)``; of each layer weight ``(out, in)``, bias ``(out,)``, a ``(r, in)``,
        b ``(out, r)``.

        Returns:
            ``(…, out)`` of each layer.
        """
        weights, biases, downs, ups = (layers[place::4] for place in range(4))
        with torch.autocast("cpu", enabled=False):
            rows = d.reshape(-1, d.shape[-1])
            given = rows if d is x else x.reshape(rows.shape)
            down = torch.cat([a.to(x.dtype) for a in downs])
            lows = [low.contiguous() for low in (rows @ down.T).split([len(a) for a in downs], 1)]
            ups_ = [b.to(x.dtype) for b in ups]
            outputs = []
            for weight, bias, low, up, scale in zip(weights, biases, lows, ups_, scales, strict=True):
                y = functional.linear(given, weight, None if bias is None else bias.to(x.dtype))
                outputs.append(y.addmm_(low, up.T, alpha=scale).view(*x.shape[:-1], -1))
        ctx.save_for_backward(rows, down, *weights, *lows, *ups_)
        ctx.scales, ctx.dropped, ctx.shape = scales, d is not x, x.shape
        ctx.formats = [(a.dtype, b.dtype) for a, b in zip(downs, ups, strict=True)]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        rows, down, *saved = ctx.saved_tensors
        n = len(ctx.scales)
        weights, lows, ups = saved[:n], saved[n : 2 * n], saved[2 * n :]
        above = [gradient.reshape(len(rows), -1) for gradient in gradients]
        g_lows = [(g @ up).mul_(scale) for g, up, scale in zip(above, ups, ctx.scales, strict=True)]
        g_low = torch.cat(g_lows, 1)
        g_downs = (g_low.T @ rows).split([low.shape[1] for low in lows])
        found: list[Any] = []
        for g, low, g_down, scale, (a, b) in zip(above, lows, g_downs, ctx.scales, ctx.formats, strict=True):
            found += [None, None, g_down.to(a), (g.T @ low).to(b).mul_(scale)]
        g_x = g_d = None
        if ctx.needs_input_grad[0]:
            g_x = above[0] @ weights[0]
            for g, weight in zip(above[1:], weights[1:], strict=True):
                g_x.addmm_(g, weight)
            if not ctx.dropped:
                g_x.addmm_(g_low, down)
            g_x = g_x.view(ctx.shape)
        if ctx.dropped and ctx.needs_input_grad[1]:
            g_d = (g_low @ down).view(ctx.shape)
        return g_x, g_d, None, *found


@contextmanager
def float32_attention() -> Iterator[None]:
    """A block in which attention that a gradient will go through is computed in float32, on CPUs."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    plain = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **kwargs: Any
    ) -> Any:
        mask, learns = attention_mask, query.requires_grad or key.requires_grad
        if query.dtype != torch.bfloat16 or query.device.type != "cpu" or not learns:
            return plain(module, query, key, value, mask, **kwargs)
        exact = mask.float() if mask is not None and mask.is_floating_point() else mask
        with torch.autocast("cpu", enabled=False):
            out, weights = plain(module, query.float(), key.float(), value.float(), exact, **kwargs)
        return out.to(query.dtype), weights

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = plain
