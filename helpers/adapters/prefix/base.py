"""What the three kinds of prefix share: one interface, positions and saving."""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import nn
from transformers import PreTrainedModel

from helpers.errors import ModelError
from helpers.inference.batching import positions
from helpers.models import guard_cpu_kernels
from helpers.models.families import Positions, family_of

CONFIG, WEIGHTS = "prefix.json", "prefix.safetensors"


# By model_type; vision-language families say it in their records, every other decoder is Positions().
POSITIONS = {
    "gpt2": Positions(learned=True),
    "opt": Positions(learned=True),
    "qwen2_5_vl": Positions(multimodal_rope=True),
}


class Prefix(nn.Module, ABC):
    """A frozen language model with a learned prefix in front of everything it reads.

    Called like the model itself: same inputs, same outputs, logits for the real tokens only. ``position_ids``, if
    given, count the real tokens as the model does (from 1 in PaliGemma, from 0 elsewhere); the prefix is put in
    front of them, right before each row's first real token. A cache that comes back may be passed in again.

    Args:
        model: a language model with its head, in any precision; all its parameters are frozen.
        n_tokens: length of the prefix; 0 leaves the model as it is.

    Raises:
        ModelError: the model is not one that a prefix can be put before, or the prefix fills its context.
    """

    kind: ClassVar[str]
    encoder: nn.Module

    def __init__(self, model: PreTrainedModel, n_tokens: int) -> None:
        super().__init__()
        if not isinstance(model, PreTrainedModel) or model.config.is_encoder_decoder:
            raise ModelError(
                f"a {type(model).__name__} cannot take a prefix", "wrap a decoder as transformers loads it"
            )
        if model.get_output_embeddings() is None:
            raise ModelError(f"{type(model).__name__} has no language model head", "wrap a language model")
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if n_tokens < 0 or (longest is not None and n_tokens >= longest):
            raise ModelError(
                f"a prefix of {n_tokens} tokens leaves no room in a context of {longest}", "choose a smaller n_tokens"
            )
        guard_cpu_kernels(model)
        self.base = model.requires_grad_(False)
        self.n_tokens = n_tokens
        family = family_of(model)
        self.positions = family.positions if family else POSITIONS.get(model.config.model_type, Positions())
        self._accepts = set(inspect.signature(model.forward).parameters)
        self.accepts_loss_kwargs = "kwargs" in self._accepts  # Trainer asks: may it say how many labels a step has?
        self.loss_type = getattr(model, "loss_type", None)  # and: does the model shift the labels?

    @abstractmethod
    def _run(self, inputs: dict[str, Any]) -> Any:
        """The model's output for `inputs`, none of which is None; there is a prefix."""

    @abstractmethod
    def _generate(self, inputs: dict[str, Any]) -> Any: ...

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        image_grid_thw: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        mm_token_type_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The model's own forward pass, with the prefix.

        Named are the columns that ``Trainer`` may pass on to a model; any other input goes through as well.

        Raises:
            ModelError: the cache was not made by this model, or the context is too short.
        """
        given = {
            "input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids,
            "past_key_values": past_key_values, "inputs_embeds": inputs_embeds, "labels": labels,
            "pixel_values": pixel_values, "pixel_attention_mask": pixel_attention_mask,
            "image_grid_thw": image_grid_thw, "token_type_ids": token_type_ids,
            "mm_token_type_ids": mm_token_type_ids,
        }  # fmt: skip
        inputs = {name: value for name, value in (given | kwargs).items() if value is not None}
        return self._run(inputs) if self.n_tokens else self.base(**inputs)

    def generate(self, inputs: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """``generate`` of the model, with the prefix; returns the given tokens and the new ones.

        Rows of different length are padded on the left, as for the model itself.
        """
        if inputs is not None:
            kwargs["input_ids"] = inputs
        if self.positions.learned and "max_new_tokens" in kwargs:
            mask, ids = kwargs.get("attention_mask"), kwargs["input_ids"]
            longest = ids.shape[1] if mask is None else int(mask.sum(1).max())
            self._check_room(longest + kwargs["max_new_tokens"] - 1)
        return self._generate(kwargs) if self.n_tokens else self.base.generate(**kwargs)

    def _fill_positions(self, inputs: dict[str, Any], past: int) -> None:
        """Positions counted from each row's first real token, unless given or computed by the model itself.

        Args:
            past: real tokens in the cache.
        """
        pictures = any(name.endswith("_grid_thw") for name in inputs)
        if self.positions.multimodal_rope and (pictures or past):
            return
        if "position_ids" not in inputs and "position_ids" in self._accepts:
            tokens = inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"]
            counted = count_positions(inputs.get("attention_mask"), tokens, past)
            inputs["position_ids"] = counted + self.positions.first
        if self.positions.learned:
            self._check_room(int(inputs["position_ids"].max()) + 1)

    def _check_room(self, length: int) -> None:
        """Whether a row of `length` real tokens fits behind the prefix; asked where positions are a table."""
        longest = self.config.get_text_config().max_position_embeddings
        if self.n_tokens + length > longest:
            raise ModelError(
                f"{length} tokens and a prefix of {self.n_tokens} do not fit into a context of {longest}",
                "shorten the input or the prefix",
            )

    def _past(self, cache: Any) -> int:
        """Real tokens in a cache that counts the prefix as well; 0 where a text begins, and the prefix is due."""
        if cache is None or cache.get_seq_length() == 0:
            return 0
        if getattr(cache, "prefix_tokens", None) != self.n_tokens:
            raise_foreign_cache()
        return int(cache.get_seq_length()) - self.n_tokens

    def _marked(self, output: Any) -> Any:
        """`output`, its cache marked as one that holds the prefix."""
        cache = getattr(output, "past_key_values", None)
        if cache is not None:
            cache.prefix_tokens = self.n_tokens
        return output

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The prefix's own parameters, for an optimizer; nothing else is trained."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def merge(self) -> Prefix:
        """Drop the network behind the vectors, if there is one; every output stays as it is."""
        encoder: Any = self.encoder
        encoder.merge()
        return self

    def get_base_model(self) -> PreTrainedModel:
        return self.base

    def get_input_embeddings(self) -> nn.Module:
        return self.base.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.base.get_output_embeddings()

    def add_model_tags(self, tags: list[str] | str) -> None:
        """TRL's trainers label a model for its card; the card of a prefix is written elsewhere."""

    @property
    def config(self) -> Any:
        return self.base.config

    @property
    def generation_config(self) -> Any:
        return self.base.generation_config

    @property
    def device(self) -> torch.device:
        return self.base.device

    @property
    def dtype(self) -> torch.dtype:
        return self.base.dtype

    # Checkpoints hold the prefix alone: the model is frozen, and loaded from where it came from.

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        return self.encoder.state_dict(*args, destination=destination, prefix=f"{prefix}encoder.", keep_vars=keep_vars)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what ``state_dict`` gave; always strict, since a prefix loaded by half is no prefix.

        Raises:
            ModelError: names or shapes differ.
        """
        want = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        have = {name: tuple(value.shape) for name, value in state_dict.items()}
        if want != have:
            wrong = sorted(name for name in {*want, *have} if want.get(name) != have.get(name))
            raise ModelError(
                f"these weights are not of this prefix: {', '.join(wrong)} differ",
                "wrap the model with the settings that were trained, or use adapters.load_prefix",
            )
        own = {name.removeprefix("encoder."): value for name, value in state_dict.items()}
        return self.encoder.load_state_dict(own, strict=True, assign=assign)

    def settings(self) -> dict[str, Any]:
        """What ``load_prefix`` needs besides the weights to build this prefix again."""
        return {"n_tokens": self.n_tokens, "hidden": getattr(self.encoder, "hidden", None)}

    def save(self, folder: Path | str) -> Path:
        """Write ``prefix.safetensors`` and ``prefix.json`` into `folder`; returns it."""
        from safetensors.torch import save_file

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}, target / WEIGHTS)
        described = {"kind": self.kind, "settings": self.settings(), "base": describe(self.base)}
        (target / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        return target

    def save_pretrained(self, folder: Path | str) -> None:
        """``save``, under the name that PEFT's adapters have for it."""
        self.save(folder)


def raise_foreign_cache() -> NoReturn:
    raise ModelError("the cache holds no prefix of this model", "pass a cache that this model returned, or none")


def count_positions(mask: torch.Tensor | None, tokens: torch.Tensor, past: int) -> torch.Tensor:
    """Position of each token, from 0 at its row's first real one; shape ``(rows, length)`` like `tokens`.

    Args:
        mask: ``(rows, past + length)``; anything else is taken as no padding.
    """
    rows, length = tokens.shape[:2]
    if mask is not None and mask.ndim == 2:
        return positions(mask)[:, -length:].to(tokens.device)
    return torch.arange(past, past + length, device=tokens.device).expand(rows, -1)


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """What a model must share with the one a prefix was trained on: architecture and sizes."""
    text = model.config.get_text_config()
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
    sizes = {name: getattr(text, name, None) for name in names}
    return {"architecture": type(model).__name__, "model_type": model.config.model_type} | sizes
