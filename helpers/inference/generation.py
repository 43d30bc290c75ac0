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

STAGE = 16  # tokens that are written before rows that have ended leave a batch


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
        batch_size: prompts per forward pass; fewer where what they begin with would take too much memory, see
            ``Start.rows``. For one more token all weights are read once, whatever the number of rows: on a CPU, and
            with small models, many rows take hardly longer than few.
        shots: worked examples that stand in front of every prompt. What all prompts begin with is read once.

    Returns:
        Decoded answers without special tokens, stripped.
    """
    import torch

    encoded = [render(tokenizer, [*shots, *p], add_generation_prompt=True) for p in each("tokenising", prompts)]
    lengths = [len(ids) for ids in encoded]
    answers = [""] * len(encoded)
    with evaluation(model) as device:
        start = Start(model, encoded, device)
        sizes = batches(lengths, start.rows(batch_size, max_new_tokens))
        for batch in each("generating", sizes, len(encoded), len):
            ids, mask = pad_left([start.rest(encoded[i]) for i in batch], pad_id(tokenizer), device)
            # The whole text is given; what the cache has already is not read again.
            shared = torch.tensor([encoded[0][: start.length]] * len(batch), dtype=ids.dtype, device=device)
            given = {"input_ids": torch.cat([shared, ids], dim=1), "attention_mask": start.mask(mask)}
            new = _written(model, tokenizer, given | start.cache(len(batch)), max_new_tokens)
            for i, text in zip(batch, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[i] = text.strip()
    return answers


def _written(
    model: Any, tokenizer: PreTrainedTokenizerBase, given: dict[str, Any], max_new_tokens: int
) -> list[list[int]]:
    """What the model writes behind each row, token by token the likeliest.

    Every ``STAGE`` tokens the rows that have ended are taken out: the others need not wait for them.

    Args:
        given: ``input_ids`` and ``attention_mask``, ``(rows, tokens)``, and ``past_key_values`` of their beginning.
    """
    import torch
    from transformers import DynamicCache, PreTrainedModel

    from helpers.inference.room import roomy

    writer, end = generating_model(model), tokenizer.eos_token_id
    options = {"do_sample": False, "pad_token_id": pad_id(tokenizer), "eos_token_id": end}
    # Of a learned prefix only its own ``generate`` knows what stands in the cache.
    stage = STAGE if isinstance(writer, PreTrainedModel) and end is not None else max_new_tokens
    if isinstance(writer, PreTrainedModel):
        begun = given.get("past_key_values") or DynamicCache(config=writer.config)
        given |= {"past_key_values": roomy(begun)}
    rows, found = list(range(len(given["input_ids"]))), [list[int]() for _ in given["input_ids"]]
    for done in range(0, max_new_tokens, stage):
        width = given["input_ids"].shape[1]
        output = writer.generate(
            **given, **options, max_new_tokens=min(stage, max_new_tokens - done), return_dict_in_generate=True
        )
        new = output.sequences[:, width:]
        for row, ids in zip(rows, new.tolist(), strict=True):
            found[row] += ids
        if done + stage >= max_new_tokens:
            break
        going = (new != end).all(1).nonzero().squeeze(1)
        rows = [rows[i] for i in going.tolist()]
        if not rows:
            break
        mask = torch.cat([given["attention_mask"], torch.ones_like(new)], dim=1)
        cache = output.past_key_values
        if len(going) < len(mask):
            cache.batch_select_indices(going)
        given = {"input_ids": output.sequences[going], "attention_mask": mask[going], "past_key_values": cache}
    return found


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
