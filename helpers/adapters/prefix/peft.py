"""Prefix tuning as PEFT has it (``PrefixTuningConfig``), behind the interface of the other two.

Same method and, without its network, the same parameters as ``KeyValuePrefix``: PEFT's table read as
``(n, layers, 2, heads, head size)``. What differs: PEFT's random start is N(0, 1), it drops ``token_type_ids``
(PaliGemma then reads its prompt causally), and it cannot run a model that computes positions of pictures itself, since
that computation does not know the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.nn import functional
from transformers import PreTrainedModel

from helpers.adapters.prefix.base import Prefix
from helpers.adapters.prefix.encoder import prefix_length
from helpers.adapters.prefix.key_value import (
    check_cache,
    check_decoder,
    decoder_of,
    raise_checkpointing,
    text_key_values,
)
from helpers.errors import ModelError


class PeftPrefix(Prefix):
    """PEFT's prefix tuning of ``n_tokens`` keys and values in every layer.

    Args:
        hidden: width of PEFT's own network behind the vectors (``prefix_projection``); ``None`` for none.
        init: ``"random"``, N(0, 1); ``"zeros"``; or, without the network, the token ids of a text, as for
            ``KeyValuePrefix``.

    Raises:
        ModelError: see ``KeyValuePrefix``; or the model's positions are multimodal, there are no tokens, or a text and
            a network are given, which PEFT does not combine.
    """

    kind = "peft"

    def __init__(
        self,
        model: PreTrainedModel,
        n_tokens: int | None = None,
        *,
        hidden: int | None = None,
        init: str | Sequence[int] = "random",
    ) -> None:
        from peft import PrefixTuningConfig, TaskType, get_peft_model

        if not isinstance(init, str) and hidden is not None:
            raise ModelError("PEFT's prefix with a network cannot start from a text", "use kind='key_value'")
        super().__init__(model, prefix_length(init, n_tokens))
        if self.n_tokens == 0:
            raise ModelError("PEFT's prefix has at least one token", "set n_tokens, or use kind='key_value'")
        if self.positions.multimodal_rope:
            raise ModelError(
                f"PEFT's prefix tuning does not run on {type(model).__name__}: its multimodal positions do not count "
                "the prefix",
                "use kind='key_value'",
            )
        check_cache(model)
        if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
            raise ModelError(
                "PEFT's prefix tuning refuses a model with gradient checkpointing anywhere",
                "turn it off with model.gradient_checkpointing_disable(), or use kind='key_value'",
            )
        settings = PrefixTuningConfig(
            task_type=TaskType.CAUSAL_LM,
            num_virtual_tokens=self.n_tokens,
            prefix_projection=hidden is not None,
            encoder_hidden_size=hidden,
            init_weights="zero" if init == "zeros" else None,
        )
        self.peft = get_peft_model(model, settings)
        self.encoder = self.peft.prompt_encoder[self.peft.active_adapter]
        if not isinstance(init, str):
            self.encoder.load_prompt_embeddings(text_key_values(model, init, self.positions).flatten(1))
        self.hidden = hidden

    def _run(self, inputs: dict[str, Any]) -> Any:
        check_decoder(decoder_of(self.base))
        past = self._past(inputs.get("past_key_values"))
        self._fill_positions(inputs, past)
        if not past:
            inputs.pop("past_key_values", None)  # PEFT makes its own
            return self._marked(self.peft(**inputs))
        # PEFT would put a fresh prefix in place of the cache, which has one.
        if inputs.get("attention_mask") is not None:
            inputs["attention_mask"] = functional.pad(inputs["attention_mask"], (self.n_tokens, 0), value=1)
        inputs["position_ids"] = inputs["position_ids"] + self.n_tokens
        inputs.pop("token_type_ids", None)
        return self.base(**inputs)

    def _generate(self, inputs: dict[str, Any]) -> Any:
        return self.peft.generate(**inputs)

    def merge(self) -> Prefix:
        raise ModelError("PEFT merges a prefix's network only when it saves", "use kind='key_value' to merge in place")

    def settings(self) -> dict[str, Any]:
        return {"n_tokens": self.n_tokens, "hidden": self.hidden}

    def activation_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        """Refused, as for ``KeyValuePrefix``."""
        raise_checkpointing()

    gradient_checkpointing_enable = activation_checkpointing_enable
