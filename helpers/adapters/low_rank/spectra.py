"""Singular values of updates, and how many of them count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from helpers.errors import ModelError
from helpers.models.unpacked import plain_lora

if TYPE_CHECKING:
    import torch
    from torch import nn


class Factors(NamedTuple):
    """One LoRA layer's update ΔW = s · B A: ``a`` is ``(r, in)``, ``b`` is ``(out, r)``."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float


class SmallSVD(NamedTuple):
    """B A = U diag(s) Vᵀ: ``u`` is ``(out, r)``, ``s`` is ``(r,)`` and falls, ``v`` is ``(in, r)``."""

    u: torch.Tensor
    s: torch.Tensor
    v: torch.Tensor


def factors(model: nn.Module) -> dict[str, Factors]:
    """The factors of every LoRA layer of a model, by the layer's name in the model below; parameters, not copies.

    Raises:
        ModelError: there is none, or a layer's update is not s · B A (DoRA, several adapters, merged weights).
    """
    found = {}
    for name, layer in model.named_modules():
        if not hasattr(layer, "lora_A") or not len(layer.lora_A):
            continue
        if not plain_lora(layer) or len(layer.active_adapters) != 1:
            raise ModelError(f"the update of {name} is not a product of two factors", "Use LoRA with one adapter")
        adapter = layer.active_adapters[0]
        a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        found[name.removeprefix("base_model.model.")] = Factors(a, b, float(layer.scaling[adapter]))
    if not found:
        raise ModelError("the model has no LoRA layer", "Wrap it with peft.get_peft_model and a LoraConfig")
    return found


def small_svd(a: torch.Tensor, b: torch.Tensor) -> SmallSVD:
    """Singular value decomposition of B A at the price of its factors, in float32 or better.

    B = Q R and Aᵀ = Q' R' with orthonormal columns in Q and Q'; then B A = Q (R R'ᵀ) Q'ᵀ, and the matrix in the middle
    is only ``(r, r)``. Where r is larger than a side of ΔW, it is as small as that side.

    Args:
        a: ``(r, in)``.
        b: ``(out, r)``.
    """
    import torch

    exact = torch.promote_types(a.dtype, torch.float32)
    left, upper = torch.linalg.qr(b.to(exact))
    right, lower = torch.linalg.qr(a.to(exact).mT)
    u, s, vh = torch.linalg.svd(upper @ lower.mT, full_matrices=False)
    return SmallSVD(left @ u, s, right @ vh.mT)


def of_lora(model: nn.Module) -> dict[str, np.ndarray]:
    """Singular values of each LoRA layer's ΔW, largest first, ``(r,)``: layer → values."""
    import torch

    with torch.no_grad():
        return {name: _numbers(f.scale * small_svd(f.a, f.b).s) for name, f in factors(model).items()}


def of_difference(after: nn.Module, before: nn.Module) -> dict[str, np.ndarray]:
    """Singular values of W₁ − W₀ of every linear layer but the output head: layer → values, largest first.

    For full fine-tuning, whose update has no factors. The squares are eigenvalues of the smaller of ΔW ΔWᵀ and
    ΔWᵀ ΔW, which is several times quicker than a decomposition of ΔW; in float64 a value below 1e-8 of the largest is
    rounding.

    Raises:
        ModelError: the models have other layers, or weights that are not plain numbers (4 or 8 bits).
    """
    import torch
    from torch import nn

    head = after.get_output_embeddings() if hasattr(after, "get_output_embeddings") else None
    earlier: dict[str, Any] = dict(before.named_modules())
    found = {}
    with torch.no_grad():
        for name, layer in after.named_modules():
            if not isinstance(layer, nn.Linear) or layer is head:
                continue
            origin = getattr(earlier.get(name), "weight", None)
            if origin is None or origin.shape != layer.weight.shape or not origin.is_floating_point():
                raise ModelError(f"{name} had no weight of this shape", "Compare with a base in 16 or 32 bits")
            delta = layer.weight.double() - origin.double()
            gram = delta @ delta.T if delta.shape[0] <= delta.shape[1] else delta.T @ delta
            found[name] = _numbers(torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0))
    return found


def stable_rank(singular: np.ndarray) -> float:
    """‖ΔW‖_F² / ‖ΔW‖₂²: the energy of all directions over that of the strongest (Rudelson and Vershynin, 2007).

    Args:
        singular: ``(k,)`` singular values in any order; of several layers, all of theirs.

    Returns:
        From 1 to k; 0 where all are 0.
    """
    energy = np.square(np.asarray(singular, dtype=np.float64))
    return float(energy.sum() / energy.max()) if energy.size and energy.max() > 0 else 0.0


def effective_rank(singular: np.ndarray) -> float:
    """exp of the entropy of the singular values' shares (Roy and Vetterli, 2007, EUSIPCO).

    With p = σ / Σσ it is exp(−Σ p ln p): k equal values give k, one alone gives 1.

    Args:
        singular: ``(k,)``; of several layers, all of theirs, as of the block-diagonal matrix of their updates.

    Returns:
        From 1 to k; 0 where all are 0.
    """
    values = np.asarray(singular, dtype=np.float64)
    values = values[values > 0]
    if not values.size:
        return 0.0
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def share_of_energy(singular: np.ndarray, k: int) -> float:
    """Share of ‖ΔW‖_F² in the k strongest directions, 0 to 1; 1 where there is no update."""
    energy = np.sort(np.square(np.asarray(singular, dtype=np.float64)))[::-1]
    return float(energy[:k].sum() / energy.sum()) if energy.sum() > 0 else 1.0


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
