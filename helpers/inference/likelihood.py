"""Likelihoods: of reference completions, and of given options with what calibrates them."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.inference.batching import Conversation, Message, batches, encode, evaluation, pad_id, pad_left, render
from helpers.inference.shared import Start, cache_bytes
from helpers.machine.out_of_memory import explained
from helpers.progress import each

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGITS = 2**27  # most logits held at once by completion_nll: half a GiB in float32
OPTION_ROWS = 128  # options in one forward pass: their logits take rows × tokens × vocabulary × 4 bytes
OPTION_CACHE = 2**31  # bytes of keys and values copied for the options in one forward pass


@explained("measuring the loss")
def completion_nll(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    *,
    batch_size: int = 16,
    max_length: int | None = None,
    shots: Sequence[Message] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood of each completion given its prompt.

    Args:
        conversations: ``{"prompt": messages, "completion": messages}`` each.
        max_length: tokens of prompt + completion that are kept, from the left, as in training.
        shots: worked examples that stand in front of every prompt; they do not count for ``max_length``.

    Returns:
        ``(nll, tokens)``: summed nats, float64 of shape ``(n,)``, and scored tokens, int64 of shape ``(n,)``
        (0 where truncation left nothing of the completion). ``exp(nll.sum() / tokens.sum())`` is the perplexity.
    """
    pairs = [encode(tokenizer, c) for c in each("tokenising", conversations)]
    if max_length is not None:
        pairs = [(p[:max_length], c[: max(0, max_length - len(p))]) for p, c in pairs]
    if shots:  # the tokens that are scored stay the same
        prompts = [render(tokenizer, [*shots, *c["prompt"]], add_generation_prompt=True) for c in conversations]
        pairs = [(prompt, completion) for prompt, (_, completion) in zip(prompts, pairs, strict=True)]
    nll = np.zeros(len(pairs), dtype=np.float64)
    tokens = np.array([len(c) for _, c in pairs], dtype=np.int64)
    scored = [i for i in range(len(pairs)) if tokens[i]]
    with evaluation(model) as device:
        room = max(1, LOGITS // int(model.config.get_text_config().vocab_size))
        start = Start(model, [pairs[i][0] for i in scored], device)
        fitting = start.rows(batch_size)
        lengths = [len(pairs[i][0]) + len(pairs[i][1]) for i in scored]
        sizes = batches(lengths, lambda longest: min(fitting(longest), room // longest))
        for batch in each("measuring the loss", sizes, len(scored), len):
            rows = [pairs[scored[j]] for j in batch]
            ids, mask = pad_left([start.rest(p + c) for p, c in rows], pad_id(tokenizer), device)
            keep = max(len(c) for _, c in rows)
            logits = model(**start.inputs(ids, mask), logits_to_keep=keep + 1, use_cache=False).logits[:, :-1]
            logp = _token_logp(logits, ids[:, -keep:])
            for j, (_, completion), row in zip(batch, rows, logp, strict=True):
                nll[scored[j]] = -row[-len(completion) :].double().sum().item()
    return nll, tokens


def _token_logp(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of `targets` under `logits`; shapes ``(b, t, v)`` and ``(b, t)`` → ``(b, t)``."""
    logits = logits.float()
    return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


@explained("scoring options")
def score_options(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    options: Sequence[Sequence[str]],
    *,
    batch_size: int = 8,
    shots: Sequence[Message] = (),
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log-likelihood of each given option as the answer to its prompt, end-of-turn token included.

    The prompt's keys and values are computed once and shared by its options, those of its beginning by all prompts.

    Args:
        prompts: one list of messages each.
        options: the candidate answers of each prompt; their number may differ between prompts.
        shots: worked examples that stand in front of every prompt.

    Returns:
        ``(logp, tokens)``: for each prompt a float64 array with one summed log-probability (nats) per option,
        and an int64 array with the number of tokens of each.

    Raises:
        DataError: a prompt has no options.
    """
    if any(len(o) == 0 for o in options):
        raise DataError("a prompt has no options to score", "give at least one option per prompt")
    pairs = [
        [
            encode(tokenizer, {"prompt": [*shots, *p], "completion": [{"role": "assistant", "content": o}]})
            for o in choices
        ]
        for p, choices in each("tokenising", zip(prompts, options, strict=True), len(prompts))
    ]
    logp = [np.zeros(len(o), dtype=np.float64) for o in options]
    tokens = [np.array([len(c) for _, c in row], dtype=np.int64) for row in pairs]
    with evaluation(model) as device:
        start = Start(model, [row[0][0] for row in pairs], device)
        sizes = batches([len(row[0][0]) for row in pairs], start.rows(batch_size))
        for batch in each("scoring options", sizes, len(pairs), len):
            values = _score_batch(model, [pairs[i] for i in batch], pad_id(tokenizer), device, start)
            for i, row in zip(batch, values, strict=True):
                logp[i][:] = row
    return logp, tokens


def context_prior(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[Message],
    options: Sequence[Sequence[str]],
    *,
    shots: Sequence[Message] = (),
) -> list[np.ndarray]:
    """What the model thinks of each option after a prompt that asks about nothing.

    Subtracted from ``score_options`` it calibrates them in context (Zhao et al., 2021, arXiv:2102.09690).

    Args:
        prompt: the messages that stand for no question, for example a task's ``bare_prompt``.
        options: the candidate answers of each question; every distinct one is scored once.
        shots: worked examples that stand in front of the prompt, as they do for the questions.

    Returns:
        For each question a float64 array with the log-likelihood (nats) of each of its options.
    """
    distinct = sorted({option for choices in options for option in choices})
    logp, _ = score_options(model, tokenizer, [[*shots, *prompt]], [distinct])
    prior = dict(zip(distinct, logp[0], strict=True))
    return [np.array([prior[option] for option in choices]) for choices in options]


def batch_prior(logp: Sequence[np.ndarray], options: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """What the model thinks of each option on average over all the questions that offer it.

    Subtracted from the scores it is batch calibration (Zhou et al., 2023, arXiv:2309.17249), here in the log
    domain: an option wins where it is likelier than it usually is. No answers are used.

    Args:
        logp: the scores of each question's options, from ``score_options``.
        options: the same options; they have to come back in several questions.

    Returns:
        For each question a float64 array with one mean log-likelihood (nats) per option.

    Raises:
        DataError: the options are (nearly) all different, so there is nothing to average over.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for row, choices in zip(logp, options, strict=True):
        for value, option in zip(row, choices, strict=True):
            scores[option].append(float(value))
    offered = sum(map(len, options))
    if offered < 2 * len(scores):
        raise DataError(
            f"{offered} options, {len(scores)} of them different: an average over questions means nothing here",
            "calibrate with context_prior, or score more questions that share their options",
        )
    prior = {option: float(np.mean(values)) for option, values in scores.items()}
    return [np.array([prior[option] for option in choices]) for choices in options]


def _score_batch(
    model: PreTrainedModel,
    rows: list[list[tuple[list[int], list[int]]]],
    pad: int,
    device: torch.device,
    start: Start,
) -> list[list[float]]:
    """Summed log-probabilities for the options of a few prompts: one pass over prompts, one over options."""
    ids, mask = pad_left([start.rest(row[0][0]) for row in rows], pad, device)
    first = model(**start.inputs(ids, mask), logits_to_keep=1, use_cache=True)
    mask = start.mask(mask)
    flat = [(r, o, completion) for r, row in enumerate(rows) for o, (_, completion) in enumerate(row)]
    flat.sort(key=lambda entry: -len(entry[2]))  # options of one length together: little is padded
    values = [[0.0] * len(row) for row in rows]
    held = cache_bytes(first.past_key_values) // len(rows)
    size = max(1, min(OPTION_ROWS, OPTION_CACHE // max(1, held)))
    for begin in range(0, len(flat), size):
        part = flat[begin : begin + size]
        # Selecting rows changes a cache in place, so all but the last part work on a copy.
        cache = first.past_key_values if begin + size >= len(flat) else copy.deepcopy(first.past_key_values)
        scored = _score_part(model, first.logits, cache, mask, [(r, completion) for r, _, completion in part], pad)
        for (r, o, _), value in zip(part, scored, strict=True):
            values[r][o] = value
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
        places = prefix.sum(1, keepdim=True) + torch.arange(width - 1, device=device)
        rest = model(
            input_ids=option[:, :-1],
            attention_mask=full_mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
        ).logits
        logits = torch.cat([logits, rest], dim=1)
    summed: list[float] = (_token_logp(logits, option) * real).double().sum(1).tolist()
    return summed
