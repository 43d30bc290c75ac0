"""The best update of a lower rank than the one that was trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from helpers.adapters.low_rank.spectra import factors, small_svd
from helpers.errors import ParameterError

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def truncated(model: nn.Module, k: int) -> Iterator[int]:
    """A block in which every LoRA update keeps its k strongest directions (Eckart and Young, 1936).

    The factors keep their shapes: B gets U √σ in its first k columns, A has √σ Vᵀ in its first k rows, and the rest is
    0. A layer with r ≤ k is not touched, so at full rank the model is the trained one to the last bit.

    Args:
        k: at least 1.

    Yields:
        How many layers were cut.

    Raises:
        ParameterError: k is not positive.
    """
    import torch

    if k < 1:
        raise ParameterError(f"k = {k} is not a rank", "Keep at least 1 direction")
    cut = [layer for layer in factors(model).values() if layer.a.shape[0] > k]
    before = [(layer.a.detach().clone(), layer.b.detach().clone()) for layer in cut]
    try:
        with torch.no_grad():
            for layer in cut:
                u, s, v = small_svd(layer.a, layer.b)
                kept = min(k, len(s))
                root = s[:kept].sqrt()
                layer.a.zero_()[:kept] = (root.unsqueeze(1) * v[:, :kept].T).to(layer.a.dtype)
                layer.b.zero_()[:, :kept] = (u[:, :kept] * root).to(layer.b.dtype)
        yield len(cut)
    finally:
        with torch.no_grad():
            for layer, (a, b) in zip(cut, before, strict=True):
                layer.a.copy_(a)
                layer.b.copy_(b)
