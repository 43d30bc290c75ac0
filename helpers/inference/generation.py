"""Batched greedy generation, and what the model knows at the end of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.inference.batching import Message, batches, evaluation, pad_id, pad_left, positions, render
from helpers.inference.shared import Start
from helpers.machine.out_of_memory import explained
from helpers.progress import each

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@explained("generating")
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int = 16,
    shots: Sequence[Message] = (),
) -> list[str]:
    """Greedy answers to `prompts`, in their order.

    Prompts are batched by length and padded on the left, so that every answer starts right after its prompt.

    Args:
        prompts: one list of messages each.
        max_new_tokens: longest answer, in tokens; an answer ends earlier at the end-of-turn token.
        batch_size: prompts per forward pass.
        shots: worked examples that stand in front of every prompt; their keys and values are computed once.

    Returns:
        Decoded answers without special tokens, stripped.
    """
    import torch

    encoded = [render(tokenizer, [*shots, *p], add_generation_prompt=True) for p in each("tokenising", prompts)]
    answers = [""] * len(encoded)
    with evaluation(model) as device:
        start = Start(model, encoded if shots else [], device)
        for batch in each("generating", batches([len(e) for e in encoded], batch_size), len(encoded), len):
            ids, mask = pad_left([start.rest(encoded[i]) for i in batch], pad_id(tokenizer), device)
            # The whole text is given; what the cache has already is not read again.
            shared = torch.tensor([encoded[0][: start.length]] * len(batch), dtype=ids.dtype, device=device)
            ids = torch.cat([shared, ids], dim=1)
            output = generating_model(model).generate(
                input_ids=ids,
                attention_mask=start.mask(mask),
                **start.cache(len(batch)),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad_id(tokenizer),
                eos_token_id=tokenizer.eos_token_id,
            )
            new: Any = output[:, ids.shape[1] :]
            for i, text in zip(batch, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[i] = text.strip()
    return answers


def generating_model(model: Any) -> Any:
    """The model whose ``generate`` is called.

    ``PeftModel.generate`` computes the logits of every prompt token, gigabytes for a batch of long prompts. A
    LoRA update sits inside the base model's layers, so the base model generates the same with the last only.
    """
    configs = getattr(model, "peft_config", {}).values()
    inside = configs and all(config.peft_type == "LORA" for config in configs)
    return model.get_base_model() if inside and hasattr(model, "get_base_model") else model


def last_hidden_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    batch_size: int = 16,
) -> np.ndarray:
    """What the model knows at the end of each prompt: last layer, last token; float32 ``(n, hidden size)``."""
    encoded = [render(tokenizer, list(p), add_generation_prompt=True) for p in each("tokenising", prompts)]
    states: list[np.ndarray] = [np.empty(0)] * len(encoded)
    with evaluation(model) as device:
        for batch in each("reading prompts", batches([len(e) for e in encoded], batch_size), len(encoded), len):
            ids, mask = pad_left([encoded[i] for i in batch], pad_id(tokenizer), device)
            output = model(
                input_ids=ids, attention_mask=mask, position_ids=positions(mask), logits_to_keep=1,
                output_hidden_states=True, use_cache=False,
            )  # fmt: skip
            for i, row in zip(batch, output.hidden_states[-1][:, -1].float().cpu().numpy(), strict=True):
                states[i] = row
    return np.stack(states)
