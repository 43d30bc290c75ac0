"""Combined adapters against dense matrices; unequal ranks; one clear line each for what cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from adapter_cases import with_adapters

from helpers.adapters import combining
from helpers.errors import ModelError, ParameterError


@pytest.fixture(scope="module")
def model() -> Any:
    return with_adapters()


@pytest.fixture(autouse=True)
def _clean(model: Any) -> Any:
    yield
    model.set_adapter("one")
    for name in ("mix", "again"):
        if name in model.peft_config:
            model.delete_adapter(name)


def layers(model: Any) -> list[Any]:
    return [m for m in model.modules() if hasattr(m, "lora_A")]


def dense(layer: Any, weights: dict[str, float]) -> torch.Tensor:
    """The weighted sum of the updates, from the matrices themselves."""
    parts = [
        w * layer.scaling[name] * layer.lora_B[name].weight.double() @ layer.lora_A[name].weight.double()
        for name, w in weights.items()
    ]
    return sum(parts[1:], parts[0]).detach()


def test_the_list_of_methods_is_pefts(model: Any) -> None:
    """Each name is taken, and they are those that PEFT's documentation of the argument lists."""
    listed = re.search(r"one of\s*\[([^\]]+)\]", type(model.base_model).add_weighted_adapter.__doc__)
    assert listed is not None and set(combining.METHODS) == set(re.findall(r"\w+", listed[1]))
    for method in combining.METHODS:
        combining.combine(model, "mix", {"one": 0.5, "two": 0.5}, method)
        model.set_adapter("one")
        model.delete_adapter("mix")


def test_cat_is_the_weighted_sum_also_with_unequal_ranks(model: Any) -> None:
    weights = {"one": 0.7, "two": 0.2, "thin": 1.5}
    combining.combine(model, "mix", weights, "cat")
    for layer in layers(model):
        torch.testing.assert_close(layer.get_delta_weight("mix").double(), dense(layer, weights), rtol=1e-4, atol=1e-5)


def test_svd_is_the_best_matrix_of_its_rank(model: Any) -> None:
    weights = {"one": 0.5, "thin": 0.5}
    combining.combine(model, "mix", weights, "svd")
    layer = layers(model)[3]
    exact = dense(layer, weights)
    u, s, v = torch.linalg.svd(exact)
    best = u[:, :8] * s[:8] @ v[:8]
    torch.testing.assert_close(layer.get_delta_weight("mix").double(), best, rtol=1e-3, atol=1e-4)


def test_linear_has_cross_terms(model: Any) -> None:
    combining.combine(model, "mix", {"one": 0.5, "two": 0.5}, "linear")
    layer = layers(model)[0]
    a = sum(layer.lora_A[n].weight * (0.5 * layer.scaling[n]) ** 0.5 for n in ("one", "two"))
    b = sum(layer.lora_B[n].weight * (0.5 * layer.scaling[n]) ** 0.5 for n in ("one", "two"))
    torch.testing.assert_close(layer.get_delta_weight("mix"), b @ a, rtol=1e-4, atol=1e-5)
    assert (b @ a - dense(layer, {"one": 0.5, "two": 0.5})).norm() > 0.1 * (b @ a).norm()


@pytest.mark.parametrize("method", combining.METHODS)
def test_unequal_ranks(model: Any, method: str) -> None:
    weights = {"one": 0.5, "thin": 0.5}
    if combining.METHODS[method]:
        return combining.combine(model, "mix", weights, method)
    with pytest.raises(ModelError, match=f"^{method} .*one rank only.*one has 8, thin has 3.*Use one of cat, svd"):
        combining.combine(model, "mix", weights, method)
    assert "mix" not in model.peft_config


def test_a_seed_decides_what_is_dropped(model: Any) -> None:
    found = []
    state = torch.random.get_rng_state()
    for seed in (0, 0, 1):
        combining.combine(model, "mix", {"one": 1.0, "two": 1.0}, "dare_linear", seed=seed)
        found.append(layers(model)[0].get_delta_weight("mix").detach().clone())
        model.set_adapter("one")
        model.delete_adapter("mix")
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(state, torch.random.get_rng_state()), "the lesson's own random numbers stay"


@pytest.mark.parametrize(
    ("weights", "method", "density", "kind", "says"),
    [
        ({"one": 1.0, "two": 1.0}, "linaer", 0.5, ParameterError, "no way 'linaer'.*linear"),
        ({"one": 1.0, "tow": 1.0}, "cat", 0.5, ModelError, "no adapter 'tow' .*two"),
        ({"one": 1.0, "two": 1.0}, "ties", 0.0, ParameterError, "density = 0.0 is out of range"),
    ],
)
def test_what_cannot_be_combined(
    model: Any, weights: dict[str, float], method: str, density: float, kind: Any, says: str
) -> None:
    with pytest.raises(kind, match=says):
        combining.combine(model, "mix", weights, method, density=density)


def test_a_name_that_is_taken(model: Any) -> None:
    with pytest.raises(ModelError, match="'two' is loaded already"):
        combining.combine(model, "two", {"one": 1.0, "thin": 1.0}, "cat")
