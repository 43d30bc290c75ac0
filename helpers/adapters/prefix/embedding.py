"""A prefix of embedding vectors: as if the text began with words that no vocabulary has.

Stored as they are, the vectors are the soft prompt of Lester et al. (2021, arXiv:2104.08691); computed by a network
from learned inputs, they are the prompt encoder of Liu et al. (2021, arXiv:2103.10385) without its LSTM.

The input gets ``n`` placeholder tokens in front, whose embeddings are then replaced. So the model itself makes the
attention mask, the positions and the place of pictures right, as for any longer text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from helpers.adapters.prefix.base import Prefix
from helpers.adapters.prefix.encoder import PrefixEncoder, prefix_length
from helpers.errors import ModelError

SAMPLE = 1000  # token embeddings whose spread a random prefix starts with


class EmbeddingPrefix(Prefix):
    """``n_tokens`` learned vectors before the input embeddings.

    Args:
        n_tokens: length of the prefix; may be left out with a text.
        hidden: width of the network that computes the vectors; ``None`` trains the vectors themselves.
        init: ``"random"``, normal with the spread of the model's own token embeddings; ``"zeros"``; or the token ids
            of a text, whose embeddings the vectors start from.

    Raises:
        ModelError: see ``Prefix``; or n_tokens and init do not go together.
    """

    kind = "embedding"

    def __init__(
        self,
        model: PreTrainedModel,
        n_tokens: int | None = None,
        *,
        hidden: int | None = None,
        init: str | Sequence[int] = "random",
    ) -> None:
        super().__init__(model, prefix_length(init, n_tokens))
        if "logits_to_keep" not in self._accepts:
            raise ModelError(
                f"{type(model).__name__} cannot leave out the prefix's logits", "use kind='key_value' for this model"
            )
        table = model.get_input_embeddings()
        with torch.no_grad():
            sample = table(torch.arange(min(SAMPLE, table.num_embeddings), device=model.device)).float()
            if isinstance(init, str):
                start = sample.new_zeros(self.n_tokens, sample.shape[1]) if init == "zeros" else None
            else:
                start = table(torch.tensor(list(init), device=model.device)).float()
        std = float(sample.std())
        encoder = PrefixEncoder(self.n_tokens, sample.shape[1], hidden=hidden, start=start, std=std)
        self.encoder: PrefixEncoder = encoder.to(model.device)
        self._placeholder = _ordinary_token(model.config)
        self._due = False

    def _run(self, inputs: dict[str, Any]) -> Any:
        past = self._past(inputs.get("past_key_values"))
        first = past == 0
        tokens = inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"]
        self._fill_positions(inputs, past)
        self._extend(inputs, first)
        if first:
            keep = inputs.get("logits_to_keep", 0)
            inputs["logits_to_keep"] = _shift_kept(keep, tokens.shape[1], self.n_tokens)
        with self._placing():
            output = self._marked(self.base(**inputs))
        if first and getattr(output, "hidden_states", None) is not None:
            output.hidden_states = tuple(states[:, self.n_tokens :] for states in output.hidden_states)
        return output

    def _generate(self, inputs: dict[str, Any]) -> Any:
        if inputs.get("input_ids") is None or inputs.get("past_key_values") is not None:
            raise ModelError("generate starts from token ids and an empty cache", "give input_ids alone")
        self._extend(inputs, True)
        for name in ("max_length", "min_length"):
            if inputs.get(name) is not None:
                inputs[name] += self.n_tokens
        with self._placing():
            output = self.base.generate(**inputs)
        if isinstance(output, torch.Tensor):
            return output[:, self.n_tokens :]
        output.sequences = output.sequences[:, self.n_tokens :]
        return output

    def _extend(self, inputs: dict[str, Any], first: bool) -> None:
        """Make room for the prefix in `inputs`: in the mask always, in all else where the text begins."""
        mask = inputs.get("attention_mask")
        if mask is not None and mask.ndim != 2:
            raise ModelError("an attention mask of its own shape leaves no place for the prefix", "give a 2-D mask")
        fill = {"attention_mask": 1}
        if first:
            fill |= {"input_ids": self._placeholder, "token_type_ids": 0, "mm_token_type_ids": 0}
        for name, value in fill.items():
            if inputs.get(name) is not None:
                inputs[name] = functional.pad(inputs[name], (self.n_tokens, 0), value=value)
        if inputs.get("position_ids") is not None:
            places = inputs["position_ids"] + self.n_tokens
            if first:
                own = torch.arange(self.n_tokens, device=places.device) + self.positions.first
                places = torch.cat([own.expand(*places.shape[:-1], -1), places], dim=-1)
            inputs["position_ids"] = places
        if first and inputs.get("inputs_embeds") is not None:
            given = inputs["inputs_embeds"]
            inputs["inputs_embeds"] = torch.cat([self._vectors(given), given], dim=1)

    def _vectors(self, like: torch.Tensor) -> torch.Tensor:
        """The prefix in the dtype and for the rows of `like`, ``(rows, n, embedding)``."""
        return self.encoder().to(like.dtype).expand(len(like), -1, -1)

    @contextmanager
    def _placing(self) -> Iterator[None]:
        """Within, each forward pass that begins a text has its placeholders replaced."""

        def begin(_model: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
            cache = kwargs.get("past_key_values")
            self._due = kwargs.get("inputs_embeds") is None and (cache is None or cache.get_seq_length() == 0)

        def place(_table: nn.Module, _args: Any, embedded: torch.Tensor) -> torch.Tensor:
            if not self._due:
                return embedded
            self._due = False
            return torch.cat([self._vectors(embedded), embedded[:, self.n_tokens :]], dim=1)

        handles = [
            self.base.register_forward_pre_hook(begin, with_kwargs=True),
            self.base.get_input_embeddings().register_forward_hook(place),
        ]
        try:
            yield
        finally:
            self._due = False
            for handle in handles:
                handle.remove()

    def activation_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        """As for the model: the prefix is an input of the first layer, so layers may be computed twice."""
        name = "activation_checkpointing_enable"
        getattr(self.base, name, self.base.gradient_checkpointing_enable)(*args, **kwargs)

    gradient_checkpointing_enable = activation_checkpointing_enable


def _ordinary_token(config: Any) -> int:
    """The lowest token id that stands for neither padding nor a picture nor anything else special."""
    special = {
        value
        for part in (config, config.get_text_config())
        for name, value in part.to_dict().items()
        if name.endswith(("_token_id", "_token_index"))
    }
    return next(token for token in range(len(special) + 1) if token not in special)


def _shift_kept(keep: int | torch.Tensor, length: int, n: int) -> int | torch.Tensor:
    """``logits_to_keep`` for a row with `n` tokens in front, none of whose logits is asked for."""
    if isinstance(keep, torch.Tensor):
        return functional.pad(keep, (n, 0), value=False) if keep.dtype == torch.bool else keep + n
    return min(keep, length) or length
