"""Penalties on a LoRA update, from its factors, and the mix-in with which a trainer takes them.

Of a layer with ΔW = s · B A:

===============  ================================================================================================
nuclear          ‖ΔW‖_* = s Σ σᵢ(B A), the sum of singular values: the convex stand-in for rank (Fazel, 2002)
factor_l2        s (‖A‖_F² + ‖B‖_F²) / 2. It is at least ‖ΔW‖_*, and for the best choice of factors of one and the
                 same ΔW equal to it (Srebro, Rennie and Jaakkola, 2004): weight decay on both factors bounds it
orthogonality    Σ_{i≠j} (bᵢ·bⱼ)² + (aᵢ·aⱼ)², over columns of B and rows of A: directions that do not overlap. Then
                 s ‖bᵢ‖ ‖aᵢ‖ are the singular values. It says nothing about how many there are
===============  ================================================================================================

Each is summed over layers. Gradients are those of the formulas; only small matrices are decomposed.

At the start B is 0, and the loss has no gradient on A. Adam divides a gradient by its own size, so a penalty with one
there would move A in steps of full size, however small its strength. So a penalty counts from where B is not 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from helpers.adapters.low_rank.spectra import factors, small_svd

Penalty = Callable[[nn.Module], torch.Tensor]


class NuclearNorm(torch.autograd.Function):
    """‖B A‖_* of a stack of layers, whose gradient with respect to the product is U Vᵀ.

    Where singular values are 0, U Vᵀ is not the only subgradient: any directions may be added there. Those are left
    out, which gives the shortest one. So B = 0, where training starts, has the gradient 0 and not one that rounding
    decides. Equal singular values do no harm: U Vᵀ is the same whichever of their vectors are taken.
    """

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``a``: (n, r, in), ``b``: (n, out, r); the norm of each, (n,)."""
        u, s, v = small_svd(a, b)
        floor = s[:, :1] * max(a.shape[-1], b.shape[-2]) * torch.finfo(s.dtype).eps
        u = u * (s > floor).unsqueeze(1)
        ctx.save_for_backward(a, b, u, v)
        return s.sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, u, v = ctx.saved_tensors
        scale = gradients[0].reshape(-1, 1, 1)
        # d/dB = U Vᵀ Aᵀ and d/dA = Bᵀ U Vᵀ, from the right and from the left: nothing is (out, in).
        g_b = u @ (v.mT @ a.to(v.dtype).mT)
        g_a = (b.to(u.dtype).mT @ u) @ v.mT
        return (scale * g_a).to(a.dtype), (scale * g_b).to(b.dtype)


def nuclear(model: nn.Module) -> torch.Tensor:
    """Σ over layers of ‖s · B A‖_*; a number in the unit of a weight."""
    total = [scale * NuclearNorm.apply(a, b).sum() for a, b, scale in _stacks(model)]
    return torch.stack(total).sum()


def factor_l2(model: nn.Module) -> torch.Tensor:
    """Σ over layers of s (‖A‖_F² + ‖B‖_F²) / 2, never below ``nuclear``."""
    return torch.stack([scale / 2 * (a.square().sum() + b.square().sum()) for a, b, scale in _stacks(model)]).sum()


def orthogonality(model: nn.Module) -> torch.Tensor:
    """Σ over layers of the squared entries beside the diagonals of A Aᵀ and Bᵀ B."""
    total = []
    for a, b, _ in _stacks(model):
        for gram in (a @ a.mT, b.mT @ b):
            total.append(gram.square().sum() - gram.diagonal(dim1=-2, dim2=-1).square().sum())
    return torch.stack(total).sum()


def adalora_orthogonality(model: nn.Module) -> torch.Tensor:
    """Mean of ‖Pᵀ P − I‖_F² and ‖Q Qᵀ − I‖_F² over AdaLoRA's factors of ΔW = P Λ Q (Zhang et al., 2023, eq. 4).

    PEFT adds it to a loss that the model computes itself, and not to one that a trainer computes from the logits.
    """
    total = []
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            rows = parameter if "lora_A" in name else parameter.T
            total.append((rows @ rows.T - torch.eye(len(rows), device=rows.device)).norm())
    return torch.stack(total).mean()


PENALTIES: Mapping[str, Penalty] = {"nuclear": nuclear, "factor_l2": factor_l2, "orthogonality": orthogonality}


class Penalised:
    """Mix-in for a ``Trainer``: loss + strength × penalty, from where the update is not 0 on.

    What is reported of an evaluation stays the loss.

    It stands before the trainer: ``class PenalisedTrainer(Penalised, CompletionTrainer)``.

    Args:
        penalty: of the model; None takes none.
        strength: its weight, in nats per unit of the penalty.
    """

    def __init__(self, *args: Any, penalty: Penalty | None = None, strength: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.penalty, self.strength = penalty, strength

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        if self.penalty is None or not model.training or not _begun(model):
            return found
        # Where the passes of an update are summed, not averaged, each adds its part.
        passes = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1  # type: ignore[attr-defined]
        added = self.strength / passes * self.penalty(model)
        return (found[0] + added, found[1]) if return_outputs else found + added


def _begun(model: nn.Module) -> bool:
    """Whether some B is no longer 0."""
    return any(bool(parameter.any()) for name, parameter in model.named_parameters() if "lora_B" in name)


def _stacks(model: nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """Factors of layers of one shape and scale in a stack: (n, r, in), (n, out, r), s."""
    alike = defaultdict(list)
    for layer in factors(model).values():
        alike[layer.a.shape, layer.b.shape, layer.scale].append(layer)
    for (_, _, scale), layers in alike.items():
        yield torch.stack([layer.a for layer in layers]), torch.stack([layer.b for layer in layers]), scale
