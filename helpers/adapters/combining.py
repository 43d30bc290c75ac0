"""One adapter out of several: PEFT's ways to combine them, with what they need checked beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.adapters.mixing import check_names
from helpers.errors import ModelError, ParameterError
from helpers.hints import nearest_and_all

# Every ``combination_type`` of ``add_weighted_adapter``; whether adapters may differ in rank.
METHODS = {
    "linear": False, "cat": True, "svd": True,
    "ties": False, "ties_svd": True, "dare_linear": False, "dare_linear_svd": True,
    "dare_ties": False, "dare_ties_svd": True, "magnitude_prune": False, "magnitude_prune_svd": True,
}  # fmt: skip
PRUNING = ("ties", "dare", "magnitude_prune")  # how the names of methods begin that drop a part of the numbers


def combine(
    model: Any, name: str, weights: Mapping[str, float], method: str, *, density: float = 0.5, seed: int = 0
) -> None:
    """Add an adapter ``name`` to a model that combines others of it; none becomes active by that.

    The same as ``model.add_weighted_adapter``, with a seed for the methods that drop numbers at random, and a thin SVD.

    Args:
        weights: adapter → its weight.
        method: one of ``METHODS``.
        density: share of the numbers that pruning methods keep.

    Raises:
        ParameterError: there is no such method, or ``density`` is not between 0 and 1.
        ModelError: an adapter is not there, ``name`` is taken, or the ranks differ and the method wants equal ones.
    """
    import torch

    if method not in METHODS:
        raise ParameterError(f"there is no way {method!r} to combine adapters", nearest_and_all(method, METHODS, "way"))
    if not 0 < density <= 1:
        raise ParameterError(f"density = {density} is out of range", "Allowed: above 0, up to 1")
    check_names(model, list(weights))
    if name in model.peft_config:
        raise ModelError(f"an adapter {name!r} is loaded already", "Choose another name, or delete_adapter it first")
    ranks = {adapter: model.peft_config[adapter].r for adapter in weights}
    if len(set(ranks.values())) > 1 and not METHODS[method]:
        told = ", ".join(f"{adapter} has {rank}" for adapter, rank in ranks.items())
        able = ", ".join(way for way, unequal in METHODS.items() if unequal)
        raise ModelError(f"{method} combines adapters of one rank only, and here {told}", f"Use one of {able}")
    options: dict[str, Any] = {"density": density} if method.startswith(PRUNING) else {}
    if method.endswith("svd"):
        options["svd_full_matrices"] = False
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model.add_weighted_adapter(list(weights), list(weights.values()), name, combination_type=method, **options)
