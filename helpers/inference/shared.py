"""What all prompts of a call begin with, read once: the chat template's first turn, the question, worked examples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from helpers.inference.batching import positions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LEAST = 8  # tokens: fewer are not worth a pass of their own
CACHE = 2**30  # bytes of keys and values for which a start makes no batch smaller


class Start:
    """The tokens that all prompts of a call begin with, and their keys and values.

    Causal attention makes these independent of what follows, so that one pass serves every question.

    Args:
        rows: token ids of the prompts. Where they have nothing in common, a batch is read as it is.

    Attributes:
        length: tokens shared; less than the shortest prompt has.
    """

    def __init__(self, model: PreTrainedModel, rows: Sequence[Sequence[int]], device: torch.device) -> None:
        import torch

        self.length, self._cache, self._token_bytes = common_start(rows) if len(rows) > 1 else 0, None, 0
        if self.length < LEAST:
            self.length = 0
            return
        self.ids = list(rows[0][: self.length])
        ids = torch.tensor([self.ids], device=device)
        self._cache = model(input_ids=ids, logits_to_keep=1, use_cache=True).past_key_values
        if self._cache.get_seq_length() != self.length:  # a learned prefix stands in front: nothing can be shared
            self.length, self._cache = 0, None
        else:
            self._token_bytes = cache_bytes(self._cache) // self.length

    def rest(self, ids: Sequence[int]) -> Sequence[int]:
        """A prompt without its start."""
        return ids[self.length :]

    def rows(self, batch_size: int, new: int = 0) -> Callable[[int], int]:
        """How many rows a batch may have whose longest row has so many tokens, its start among them.

        Every row keeps keys and values of the start too: ``batch_size`` as long as all of them stay within ``CACHE``
        bytes, else so many that they are no more tokens than ``batch_size`` rows without the start.

        Args:
            new: tokens that are written behind each row.
        """

        def fitting(longest: int) -> int:
            whole = longest + new
            same = batch_size * (whole - self.length) // whole
            return min(batch_size, max(same, CACHE // max(1, self._token_bytes * whole)))

        return fitting

    def cache(self, rows: int) -> dict[str, Any]:
        """Argument ``past_key_values`` for a batch of some rows; none where nothing is shared."""
        if self._cache is None:
            return {}
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(rows)
        return {"past_key_values": cache}

    def mask(self, mask: torch.Tensor) -> torch.Tensor:
        """The attention mask of whole prompts from that of what follows the start."""
        import torch

        return torch.cat([mask.new_ones(len(mask), self.length), mask], dim=1)

    def inputs(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """What the model is called with, to read what follows the start; shapes ``(rows, tokens)``."""
        whole = self.mask(mask)
        places = positions(whole)[:, self.length :]
        return {"input_ids": ids, "attention_mask": whole, "position_ids": places} | self.cache(len(ids))


def cache_bytes(cache: Any) -> int:
    """What the keys and values of a cache take."""
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def common_start(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; the last token of a row is never one of them."""
    if not rows:
        return 0
    low, high = min(rows, key=list), max(rows, key=list)  # in lexical order all others lie between these two
    room = min(map(len, rows)) - 1
    return next((i for i in range(room) if low[i] != high[i]), max(room, 0))
