"""A prefix of keys and values: every layer attends to ``n`` learned positions in front of the text.

Prefix tuning of Li & Liang (2021, arXiv:2101.00190). The softmax of each attention layer runs over the prefix and the
text together, softmax(q [Kᵖ; K]ᵀ / √d) [Vᵖ; V]; nothing else of the model changes.

The keys and values sit in the cache, where a layer finds those of earlier tokens. But the cache does not count them:
all that the model derives from its length (masks, positions of pictures, what is new in a batch) comes out as without
a prefix. Two things are then corrected where the decoder starts: positions move on by ``n``, and the mask gets ``n``
open columns in front.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import create_causal_mask

from helpers.adapters.prefix.base import Prefix, count_positions, raise_foreign_cache
from helpers.adapters.prefix.encoder import PrefixEncoder, prefix_length
from helpers.errors import ModelError
from helpers.models.families import Positions

ATTENTION = ("sdpa", "eager")  # the implementations that take a mask of any shape


class KeyValuePrefix(Prefix):
    """``n_tokens`` learned keys and values in every layer.

    PaliGemma's prompt is read in both directions where ``token_type_ids`` say so, as its processor's always do;
    without them it is read causally.

    Args:
        n_tokens: length of the prefix; may be left out with a text.
        hidden: width of the network that computes keys and values; ``None`` trains them directly. ``merge`` drops it.
        init: ``"random"``, normal with standard deviation `std`; ``"zeros"``, where without a network all tokens get
            the same gradient and stay equal, so that more than one adds only weight; or the token ids of a text,
            whose keys and values at the first positions the prefix starts from.

    Raises:
        ModelError: see ``Prefix``; or n_tokens and init do not go together; or a layer of the model attends to a
            window only, keeps no keys and values, or has another shape than the first.
    """

    kind = "key_value"

    def __init__(
        self,
        model: PreTrainedModel,
        n_tokens: int | None = None,
        *,
        hidden: int | None = None,
        init: str | Sequence[int] = "random",
        std: float = 0.02,
    ) -> None:
        super().__init__(model, prefix_length(init, n_tokens))
        check_cache(model)
        text = [] if isinstance(init, str) else list(init)
        computed = text_key_values(model, text or [0], self.positions)
        self.shape = computed.shape[1:]  # layers, 2 (keys, values), heads, head size
        start = None if init == "random" else computed.new_zeros(self.n_tokens, *self.shape)
        if start is not None and text:
            start = computed
        width = self.shape.numel()
        start = None if start is None else start.reshape(-1, width)
        encoder = PrefixEncoder(self.n_tokens, width, hidden=hidden, start=start, std=std)
        self.encoder: PrefixEncoder = encoder.to(model.device)

    def key_values(self) -> torch.Tensor:
        """What each layer attends to, float32 of shape ``(layers, 2, heads, n, head size)``: keys, then values.

        Keys are as attention reads them, with rotary positions already applied.
        """
        return self.encoder().view(self.n_tokens, *self.shape).permute(1, 2, 3, 0, 4)

    def _run(self, inputs: dict[str, Any]) -> Any:
        cache = inputs.get("past_key_values")
        self._fill_positions(inputs, 0 if cache is None else cache.get_seq_length())
        with self._attached() as decoder:
            output = self.base(**inputs)
        if cache is None and not _wants_cache(decoder, inputs) and "past_key_values" in output:
            output.past_key_values = None  # it was there for the prefix only
        return output

    def _generate(self, inputs: dict[str, Any]) -> Any:
        if inputs.get("use_cache") is False:
            raise ModelError("a prefix of keys and values lives in the cache", "leave use_cache out")
        with self._attached():
            return self.base.generate(**inputs)

    @contextmanager
    def _attached(self) -> Iterator[nn.Module]:
        """Within, the decoder has the prefix; outside, the model is as it was."""
        decoder = decoder_of(self.base)
        handle = decoder.register_forward_pre_hook(self._enter, with_kwargs=True)
        try:
            yield decoder
        finally:
            handle.remove()

    def _enter(self, decoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        check_decoder(decoder)
        kwargs |= dict(zip(inspect.signature(decoder.forward).parameters, args, strict=False))
        given = kwargs.get("past_key_values")
        cache = DynamicCache() if given is None else given
        past = cache.get_seq_length()
        if past == 0:
            self._open(cache)
        elif not all(isinstance(layer, _PrefixedLayer) and layer.hidden == self.n_tokens for layer in cache.layers):
            raise_foreign_cache()
        tokens = kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None else kwargs["input_ids"]
        mask, places = kwargs.get("attention_mask"), kwargs.get("position_ids")
        if places is None:
            places = count_positions(mask, tokens, past)
        if mask is None or mask.ndim == 2:
            counted = cache if given is not None or _wants_cache(decoder, kwargs) else None
            mask = _mask(decoder, tokens, mask, counted, places)
        kwargs |= {
            "past_key_values": cache,
            "position_ids": places + self.n_tokens,
            "attention_mask": _open_in_front(mask, self.n_tokens),
        }
        return (), kwargs

    def _open(self, cache: Any) -> None:
        """Put the prefix into an empty cache; the rows of the batch are those of the first tokens that follow."""
        if not isinstance(cache, DynamicCache) or any(
            type(layer) not in (DynamicLayer, _PrefixedLayer) for layer in cache.layers
        ):
            raise ModelError(f"a {type(cache).__name__} has no place for a prefix", "use transformers' DynamicCache")
        cache.layers = [_PrefixedLayer(keys, values) for keys, values in self.key_values()]
        cache.layer_class_to_replicate = None

    def activation_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        """Refused: a layer that is computed twice is computed without its cache, and so without the prefix."""
        raise_checkpointing()

    gradient_checkpointing_enable = activation_checkpointing_enable


class _PrefixedLayer(DynamicLayer):
    """One layer's cache that begins with the prefix and does not count it.

    Args:
        keys, values: ``(heads, n, head size)``, for every row of the batch.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.prefix = (keys, values)
        self.hidden = keys.shape[-2]

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        rows = key_states.shape[0]
        self.keys, self.values = (
            part.to(states).expand(rows, -1, -1, -1)
            for part, states in zip(self.prefix, (key_states, value_states), strict=True)
        )

    def get_seq_length(self) -> int:
        return max(0, super().get_seq_length() - self.hidden)


def decoder_of(model: PreTrainedModel) -> Any:
    """The stack of layers inside a language or vision-language model."""
    decoder = model.get_decoder()
    while decoder.get_decoder() is not decoder:
        decoder = decoder.get_decoder()
    return decoder


def check_cache(model: PreTrainedModel) -> None:
    """Refuse a model whose layers do not keep the keys and values of every token.

    Raises:
        ModelError: some layer attends to a window, or keeps something else.
    """
    kinds = {type(layer).__name__ for layer in DynamicCache(config=model.config).layers}
    if kinds != {DynamicLayer.__name__}:
        raise ModelError(
            f"{type(model).__name__} has layers that do not keep every token ({', '.join(sorted(kinds))})",
            "choose a model whose layers all attend to the whole text",
        )
    check_decoder(decoder_of(model))


def check_decoder(decoder: Any) -> None:
    """Refuse what would silently drop the prefix.

    Raises:
        ModelError: layers are computed twice to save memory, or attention takes no mask of its own.
    """
    if any(getattr(layer, "gradient_checkpointing", False) for layer in [decoder, *getattr(decoder, "layers", [])]):
        raise_checkpointing()
    if decoder.config._attn_implementation not in ATTENTION:
        raise ModelError(
            f"attention {decoder.config._attn_implementation!r} cannot see a prefix",
            f"load the model with attn_implementation={ATTENTION[0]!r}",
        )


def raise_checkpointing() -> NoReturn:
    raise ModelError(
        "a prefix of keys and values and gradient checkpointing exclude each other",
        "set gradient_checkpointing=False, or use kind='embedding'",
    )


def text_key_values(model: PreTrainedModel, ids: Sequence[int], positions: Positions) -> torch.Tensor:
    """Keys and values of a text at the first positions, float32 ``(n, layers, 2, heads, head size)``.

    Where prompts are read in both directions, so is this text; what comes after is not seen by it.
    """
    decoder = decoder_of(model)
    tokens = torch.tensor([list(ids)], device=model.device)
    shape = (1, 1, len(ids), len(ids))
    mask = None
    if positions.bidirectional_prompt:
        eager = decoder.config._attn_implementation == "eager"
        mask = torch.zeros(shape, device=model.device) if eager else torch.ones(shape, device=model.device).bool()
    training = decoder.training
    decoder.eval()
    try:
        with torch.no_grad():
            cache = DynamicCache()
            places = torch.arange(len(ids), device=model.device)[None] + positions.first
            decoder(input_ids=tokens, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
    finally:
        decoder.train(training)
    stacked = [torch.stack([layer.keys[0], layer.values[0]]).float() for layer in cache.layers]
    if len({part.shape for part in stacked}) > 1:
        raise ModelError(f"the layers of {type(model).__name__} differ in shape", "choose another model")
    return torch.stack(stacked).permute(3, 0, 1, 2, 4)


def _wants_cache(decoder: Any, kwargs: dict[str, Any]) -> bool:
    asked = kwargs.get("use_cache")
    return bool(decoder.config.use_cache if asked is None else asked)


def _mask(
    decoder: Any, tokens: torch.Tensor, mask: torch.Tensor | None, cache: Any, places: torch.Tensor
) -> torch.Tensor | None:
    """The mask over the real tokens that the decoder would have made, ``(rows, 1, length, past + length)``.

    ``None`` where there is one new token and nothing is hidden from it.
    """
    rows, length = tokens.shape[:2]
    counted = places[0] if places.ndim == 3 and places.shape[0] == 4 else places if places.ndim == 2 else None
    dtype = tokens.dtype if tokens.is_floating_point() else decoder.get_input_embeddings().weight.dtype
    made = create_causal_mask(
        config=decoder.config,
        inputs_embeds=torch.empty(rows, length, 0, dtype=dtype, device=tokens.device),
        attention_mask=mask,
        past_key_values=cache,
        position_ids=counted,
    )
    if made is None and length > 1:
        past = 0 if cache is None else cache.get_seq_length()
        made = torch.ones(rows, 1, length, past + length, dtype=torch.bool, device=tokens.device).tril(past)
    return made


def _open_in_front(mask: torch.Tensor | None, n: int) -> torch.Tensor | None:
    """A mask with `n` columns more, visible to all."""
    if mask is None:
        return None
    return functional.pad(mask, (n, 0), value=True if mask.dtype == torch.bool else 0.0)
