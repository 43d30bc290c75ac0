"""Several adapters over one model at once: each row of a batch has its own, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError
from helpers.hints import did_you_mean
from helpers.models.unpacked import kept_dequantised

if TYPE_CHECKING:
    import torch

BASE = "__base__"  # what PEFT calls a row without an adapter


def check_names(model: Any, names: Sequence[str]) -> None:
    """Every name is an adapter of this model, or ``BASE``.

    Raises:
        ModelError: one is not.
    """
    known = list(model.peft_config)
    for name in names:
        if name != BASE and name not in known:
            what = f"there is no adapter {name!r}{did_you_mean(name, known)}"
            raise ModelError(what, f"Loaded are {', '.join(known)}; {BASE} is the model without any")


@contextmanager
def answering(model: Any) -> Iterator[torch.device]:
    """A block in which a model with adapters answers mixed batches: evaluation mode, no gradients.

    On a CPU 4-bit weights are dequantised once for the block; the updates stay beside them, as each row has its own.
    Rows are exact, see ``whole_batches``. All is put back after. Yields the device.
    """
    import torch

    training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if device.type == "cpu":
                stack.enter_context(kept_dequantised(model))
            stack.enter_context(whole_batches(model))
            yield device
    finally:
        model.train(training)


@contextmanager
def whole_batches(model: Any) -> Iterator[int]:
    """A block in which a mixed batch computes every update for all rows, and gives each row its own.

    PEFT computes an update for the rows that ask for it. That is another matrix product than the one of a batch with
    a single adapter, and while tokens are written one by one (few rows, one token each) its last digits differ. Here
    both are the same product: a row of a mixed batch equals the row of the same batch with its adapter alone, bit for
    bit. The price is one small product a layer for each adapter in the batch.

    Yields how many layers it is for; adapters other than plain LoRA are left to PEFT.
    """
    from peft.tuners.lora import LoraLayer

    layers = [m for m in model.modules() if isinstance(m, LoraLayer) and not m.lora_variant]
    for layer in layers:
        layer._mixed_batch_forward = _MixedForward(layer)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            vars(layer).pop("_mixed_batch_forward", None)


class _MixedForward:
    """Takes the place of a LoRA layer's own ``_mixed_batch_forward``."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        # A quantised layer rounds the update to the output's format before it adds it, a plain one after.
        self.rounds_first = "bnb" in type(layer).__module__

    def __call__(self, x: torch.Tensor, *args: Any, adapter_names: list[str], **kwargs: Any) -> torch.Tensor:
        layer = self.layer
        result = layer.base_layer(x, *args)
        # In the order of the adapters, not of a set: the same in every process.
        for name in (name for name in layer.lora_A if name in adapter_names):
            a, b = layer.lora_A[name], layer.lora_B[name]
            rows = [row for row, asked in enumerate(adapter_names) if asked == name]
            update = b(a(layer.lora_dropout[name](x.to(a.weight.dtype)))) * layer.scaling[name]
            if self.rounds_first:
                update = update.to(result.dtype)
            result[rows] = (result[rows] + update[rows]).to(result.dtype)
        return result
