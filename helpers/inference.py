"""Batched greedy generation, completion likelihoods and likelihood scoring of given options."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.models.quantize import dequantised

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGITS = 2**27  # most logits held at once by completion_nll: half a GiB in float32
OPTION_ROWS = 128  # options in one forward pass: their logits take rows × tokens × vocabulary × 4 bytes

Message = Mapping[str, str]
Conversation = Mapping[str, Sequence[Message]]  # {"prompt": [...], "completion": [...]}


def encode(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the completion under the chat template.

    The completion ends with the end-of-turn token; what a template writes after it (a line break, say) is
    not the model's to predict and is cut.

    Returns:
        ``(prompt_ids, completion_ids)``; the model sees ``prompt_ids + completion_ids``.
    """
    prompt = list(conversation["prompt"])
    prompt_ids = _render(tokenizer, prompt, add_generation_prompt=True)
    full = _render(tokenizer, prompt + list(conversation["completion"]), add_generation_prompt=False)
    if full[: len(prompt_ids)] != prompt_ids:
        raise DataError(
            "the chat template renders a prompt differently once an answer follows",
            "use a template whose generation prompt is a prefix of the full conversation",
        )
    completion = full[len(prompt_ids) :]
    eos = tokenizer.eos_token_id
    if eos in completion:
        completion = completion[: len(completion) - completion[::-1].index(eos)]
    return prompt_ids, completion


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Message], *, add_generation_prompt: bool) -> list[int]:
    rendered: Any = tokenizer.apply_chat_template(
        [dict(m) for m in messages], add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True
    )
    return list(rendered["input_ids"])


@contextmanager
def _evaluation(model: PreTrainedModel) -> Iterator[torch.device]:
    """Evaluation mode, no gradients, and on a CPU the 4-bit weights dequantised once; all put back after."""
    import torch

    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        with torch.inference_mode(), dequantised(model) if device.type == "cpu" else nullcontext():
            yield device
    finally:
        model.train(training)


def _batches(lengths: Sequence[int], batch_size: int, most_tokens: int | None = None) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first, so that little is padded.

    Args:
        most_tokens: rows × longest row of a batch stay within this, whatever `batch_size` says.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start = 0
    while start < len(order):
        rows = batch_size
        if most_tokens is not None:
            rows = max(1, min(rows, most_tokens // max(1, lengths[order[start]])))
        yield order[start : start + rows]
        start += rows


def _pad_left(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    width = max(len(r) for r in rows)
    ids = torch.tensor([[pad] * (width - len(r)) + list(r) for r in rows], device=device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=device)
    return ids, mask


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    batch_size: int = 16,
) -> list[str]:
    """Greedy answers to `prompts`, in their order.

    Prompts are batched by length and padded on the left, so that every answer starts right after its prompt.

    Args:
        prompts: one list of messages each.
        max_new_tokens: longest answer, in tokens; an answer ends earlier at the end-of-turn token.
        batch_size: prompts per forward pass.

    Returns:
        Decoded answers without special tokens, stripped.
    """
    encoded = [_render(tokenizer, list(p), add_generation_prompt=True) for p in prompts]
    answers = [""] * len(encoded)
    with _evaluation(model) as device:
        for batch in _batches([len(e) for e in encoded], batch_size):
            ids, mask = _pad_left([encoded[i] for i in batch], _pad_id(tokenizer), device)
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=_pad_id(tokenizer),
                eos_token_id=tokenizer.eos_token_id,
            )
            new: Any = output[:, ids.shape[1] :]
            for i, text in zip(batch, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[i] = text.strip()
    return answers


def last_hidden_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    batch_size: int = 16,
) -> np.ndarray:
    """What the model knows at the end of each prompt: last layer, last token; float32 ``(n, hidden size)``."""
    encoded = [_render(tokenizer, list(p), add_generation_prompt=True) for p in prompts]
    states: list[np.ndarray] = [np.empty(0)] * len(encoded)
    with _evaluation(model) as device:
        for batch in _batches([len(e) for e in encoded], batch_size):
            ids, mask = _pad_left([encoded[i] for i in batch], _pad_id(tokenizer), device)
            output = model(
                input_ids=ids, attention_mask=mask, position_ids=_positions(mask), logits_to_keep=1,
                output_hidden_states=True, use_cache=False,
            )  # fmt: skip
            for i, row in zip(batch, output.hidden_states[-1][:, -1].float().cpu().numpy(), strict=True):
                states[i] = row
    return np.stack(states)


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each token counted from its row's first real one, shape like `mask`."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def completion_nll(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    *,
    batch_size: int = 16,
    max_length: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood of each completion given its prompt.

    Args:
        conversations: ``{"prompt": messages, "completion": messages}`` each.
        max_length: tokens of prompt + completion that are kept, from the left, as in training.

    Returns:
        ``(nll, tokens)``: summed nats, float64 of shape ``(n,)``, and scored tokens, int64 of shape ``(n,)``
        (0 where truncation left nothing of the completion). ``exp(nll.sum() / tokens.sum())`` is the perplexity.
    """
    pairs = [encode(tokenizer, c) for c in conversations]
    if max_length is not None:
        pairs = [(p[:max_length], c[: max(0, max_length - len(p))]) for p, c in pairs]
    nll = np.zeros(len(pairs), dtype=np.float64)
    tokens = np.array([len(c) for _, c in pairs], dtype=np.int64)
    scored = [i for i in range(len(pairs)) if tokens[i]]
    with _evaluation(model) as device:
        room = max(1, LOGITS // int(model.config.get_text_config().vocab_size))
        for batch in _batches([len(pairs[i][0]) + len(pairs[i][1]) for i in scored], batch_size, room):
            rows = [pairs[scored[j]] for j in batch]
            ids, mask = _pad_left([p + c for p, c in rows], _pad_id(tokenizer), device)
            keep = max(len(c) for _, c in rows)
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=_positions(mask),
                logits_to_keep=keep + 1,
                use_cache=False,
            ).logits[:, :-1]
            logp = _token_logp(logits, ids[:, -keep:])
            for j, (_, completion), row in zip(batch, rows, logp, strict=True):
                nll[scored[j]] = -row[-len(completion) :].double().sum().item()
    return nll, tokens


def _token_logp(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of `targets` under `logits`; shapes ``(b, t, v)`` and ``(b, t)`` → ``(b, t)``."""
    logits = logits.float()
    return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def score_options(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    options: Sequence[Sequence[str]],
    *,
    batch_size: int = 8,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log-likelihood of each given option as the answer to its prompt, end-of-turn token included.

    The prompt's keys and values are computed once and shared by its options.

    Args:
        prompts: one list of messages each.
        options: the candidate answers of each prompt; their number may differ between prompts.

    Returns:
        ``(logp, tokens)``: for each prompt a float64 array with one summed log-probability (nats) per option,
        and an int64 array with the number of tokens of each.

    Raises:
        DataError: a prompt has no options.
    """
    if any(len(o) == 0 for o in options):
        raise DataError("a prompt has no options to score", "give at least one option per prompt")
    pairs = [
        [encode(tokenizer, {"prompt": p, "completion": [{"role": "assistant", "content": o}]}) for o in choices]
        for p, choices in zip(prompts, options, strict=True)
    ]
    logp = [np.zeros(len(o), dtype=np.float64) for o in options]
    tokens = [np.array([len(c) for _, c in row], dtype=np.int64) for row in pairs]
    with _evaluation(model) as device:
        for batch in _batches([len(row[0][0]) for row in pairs], batch_size):
            values = _score_batch(model, [pairs[i] for i in batch], _pad_id(tokenizer), device)
            for i, row in zip(batch, values, strict=True):
                logp[i][:] = row
    return logp, tokens


def _score_batch(
    model: PreTrainedModel, rows: list[list[tuple[list[int], list[int]]]], pad: int, device: torch.device
) -> list[list[float]]:
    """Summed log-probabilities for the options of a few prompts: one pass over prompts, one over options."""
    ids, mask = _pad_left([row[0][0] for row in rows], pad, device)
    first = model(input_ids=ids, attention_mask=mask, position_ids=_positions(mask), logits_to_keep=1, use_cache=True)
    flat = [(r, completion) for r, row in enumerate(rows) for _, completion in row]
    values: list[list[float]] = [[] for _ in rows]
    for start in range(0, len(flat), OPTION_ROWS):
        part = flat[start : start + OPTION_ROWS]
        # Selecting rows changes a cache in place, so all but the last part work on a copy.
        cache = first.past_key_values if start + OPTION_ROWS >= len(flat) else copy.deepcopy(first.past_key_values)
        for (row, _), value in zip(part, _score_part(model, first.logits, cache, mask, part, pad), strict=True):
            values[row].append(value)
    return values


def _score_part(
    model: PreTrainedModel,
    first_logits: torch.Tensor,
    cache: Any,
    mask: torch.Tensor,
    part: list[tuple[int, list[int]]],
    pad: int,
) -> list[float]:
    """Log-probabilities of some options: `part` has the prompt's row and the option's tokens of each."""
    import torch

    device = mask.device
    owner = torch.tensor([row for row, _ in part], device=device)
    width = max(len(c) for _, c in part)
    option = torch.tensor([c + [pad] * (width - len(c)) for _, c in part], device=device)
    real = torch.tensor([[1] * len(c) + [0] * (width - len(c)) for _, c in part], device=device)
    logits = first_logits[owner]
    if width > 1:
        cache.batch_select_indices(owner)
        prefix = mask[owner]
        full_mask = torch.cat([prefix, real[:, :-1]], dim=1)
        positions = prefix.sum(1, keepdim=True) + torch.arange(width - 1, device=device)
        rest = model(
            input_ids=option[:, :-1],
            attention_mask=full_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).logits
        logits = torch.cat([logits, rest], dim=1)
    summed: list[float] = (_token_logp(logits, option) * real).double().sum(1).tolist()
    return summed
