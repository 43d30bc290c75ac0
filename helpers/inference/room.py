"""A cache of keys and values with room behind its last token, so that writing a token does not copy the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    import torch

ROOM = 32  # tokens of room that are made at a time


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer, shape ``(rows, heads, tokens, size)``, each the front of a longer tensor.

    The library's own layer makes a tensor that is one token longer, and copies all it has, for each token that is
    written. With 32 rows behind 900 tokens of worked examples that took more time than the products with the weights.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _whole: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values of new tokens; returns those of all tokens so far."""
        length, new = self.get_seq_length(), key_states.shape[-2]
        if not length or key_states.requires_grad or value_states.requires_grad:  # the gradient needs a copy
            return super().update(key_states, value_states, *args, **kwargs)
        if not self._fits(length + new):
            self._whole = _longer(self.keys, new + ROOM), _longer(self.values, new + ROOM)
        assert self._whole is not None
        keys, values = self._whole
        keys[..., length : length + new, :] = key_states
        values[..., length : length + new, :] = value_states
        self.keys, self.values = keys[..., : length + new, :], values[..., : length + new, :]
        return self.keys, self.values

    def _fits(self, tokens: int) -> bool:
        """Whether what is held is still the front of the longer tensors (rows may have been taken out), and fits."""
        if self._whole is None:
            return False
        same = self._whole[0].data_ptr() == self.keys.data_ptr() and len(self._whole[0]) == len(self.keys)
        return same and tokens <= self._whole[0].shape[-2]


def roomy(cache: DynamicCache) -> DynamicCache:
    """The same cache, its growing layers with room; layers of another kind (sliding windows) stay as they are."""
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[i] = RoomyLayer()
            if layer.get_seq_length():
                DynamicLayer.update(cache.layers[i], layer.keys, layer.values)
    if cache.layer_class_to_replicate is DynamicLayer:
        cache.layer_class_to_replicate = RoomyLayer
    return cache


def _longer(held: torch.Tensor, room: int) -> torch.Tensor:
    rows, heads, tokens, size = held.shape
    longer = held.new_empty(rows, heads, tokens + room, size)
    longer[..., :tokens, :] = held
    return longer
