"""Two ways to make a language model classify: a new head on its last hidden state, or its own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError
from helpers.models.chat import encode
from helpers.models.load import LoadedModel, load_with

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from helpers.machine.hardware import Machine

HEAD = "score"  # what every decoder's sequence classification class calls its head


def load_classifier(
    model_id: str,
    labels: Sequence[str],
    *,
    quant: Any = "none",
    machine: Machine | None = None,
    dtype: str | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Load a decoder with a fresh linear head of one row per label, in place of its language model head.

    The head is random: nothing in the checkpoint says what the labels mean. It stays in float32 whatever ``quant``
    and the compute dtype do to the rest: it is what trains, and what an adapter saves and restores to the last bit.

    Args:
        labels: names of the classes, in the order of their indices.
        quant: one of ``QUANTISATIONS``, or a ``BitsAndBytesConfig``.
        seed: of the head's initial values.

    Raises:
        ModelError: not found, gated, no classification class for this architecture, or out of memory.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(labels))
    torch.manual_seed(seed)
    loaded = load_with(
        AutoModelForSequenceClassification, model_id, quant=quant, machine=machine, dtype=dtype,
        num_labels=len(names), id2label=names, label2id={name: index for index, name in names.items()},
    )  # fmt: skip
    if not hasattr(loaded.model, HEAD):
        raise ModelError(
            f"{model_id}: {type(loaded.model).__name__} has no layer called {HEAD!r}",
            "choose a decoder-only model such as Phi, Llama or Qwen2",
        )
    keep_head_in_float32(loaded.model)
    return loaded


def keep_head_in_float32(model: Any) -> None:
    """The head in float32 beside a decoder in 16 bits: its input is brought to its own format."""
    head = getattr(model, HEAD).float()
    head.register_forward_pre_hook(_to_own_dtype)  # the hidden states come in 16 bits


def _to_own_dtype(head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (inputs[0].to(head.weight.dtype), *inputs[1:])  # type: ignore[arg-type]


def label_token_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> list[int]:
    """The token that an answer with each word starts with, under the model's chat template.

    Raises:
        ModelError: two words start with the same token, so that one token cannot tell them apart.
    """
    question = [{"role": "user", "content": "?"}]
    answers = [[{"role": "assistant", "content": word}] for word in words]
    ids = [encode(tokenizer, {"prompt": question, "completion": answer})[1][0] for answer in answers]
    if len(set(ids)) < len(ids):
        raise ModelError(
            f"of the label words {', '.join(words)} two start with the same token of this tokenizer",
            "choose other words, or classifier='head'",
        )
    return ids
