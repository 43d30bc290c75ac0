"""Answers of a vision-language model: generated, and read off the likelihood of what tells the options apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.inference.batching import batches, evaluation, pad_id
from helpers.inference.generation import generating_model
from helpers.models.vision_inputs import VisionInput, collate_vision, encode_vision

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Asked = Mapping[str, Any]  # messages of a prompt, and its pictures; see ``models.encode_vision``


def generate_vision(
    model: PreTrainedModel, processor: Any, asked: Sequence[Asked], *, max_new_tokens: int, batch_size: int = 16
) -> list[str]:
    """Greedy answers to prompts with or without a picture, in their order.

    Args:
        asked: conversations with ``prompt`` and, where there are pictures, ``images``.
        max_new_tokens: longest answer, in tokens; an answer ends earlier at the end-of-turn token.

    Returns:
        Decoded answers without special tokens, stripped.
    """
    answers = [""] * len(asked)
    with evaluation(model) as device:
        for rows in batches([_length(talk) for talk in asked], batch_size):
            items = [_prompt(processor, asked[i]) for i in rows]
            batch = collate_vision(processor, items, side="left", device=device)
            del batch["labels"]
            output = generating_model(model).generate(
                **batch,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad_id(processor.tokenizer),
                eos_token_id=processor.tokenizer.eos_token_id,
            )
            new = output[:, batch["input_ids"].shape[1] :]
            texts = processor.tokenizer.batch_decode(new, skip_special_tokens=True)
            for i, text in zip(rows, texts, strict=True):
                answers[i] = text.strip()
    return answers


def choice_scores(
    model: PreTrainedModel,
    processor: Any,
    asked: Sequence[Asked],
    options: Sequence[Sequence[str]],
    *,
    batch_size: int = 16,
) -> list[np.ndarray]:
    """Log-probability of each option where the options first differ, one forward pass per prompt.

    Answers such as ``{"answer": "A"`` share a beginning and differ in one token. The model reads the prompt and
    that beginning once; what it gives to each continuing token is the option's score.

    Args:
        asked: as in ``generate_vision``.
        options: for each prompt the texts of its possible answers, two or more, each a whole completion or its
            beginning.

    Returns:
        For each prompt a float64 array of log-probabilities (nats), one per option.

    Raises:
        DataError: a prompt has fewer than two options, or two of them do not differ in the token after their
            common beginning.
    """
    if len(options) != len(asked):
        raise DataError(
            f"there are {len(asked):,} prompts and {len(options):,} lists of options", "give one list for each prompt"
        )
    forks = [
        _fork([processor.tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts], texts)
        for texts in options
    ]
    scores: list[np.ndarray] = [np.empty(0)] * len(asked)
    with evaluation(model) as device:
        for rows in batches([_length(talk) for talk in asked], batch_size):
            items = [replace(_prompt(processor, asked[i]), completion_ids=forks[i][0]) for i in rows]
            batch = collate_vision(processor, items, side="left", device=device)
            del batch["labels"]
            logits = model(**batch, logits_to_keep=1, use_cache=False).logits[:, -1].float().log_softmax(-1)
            for i, row in zip(rows, logits.double().cpu().numpy(), strict=True):
                scores[i] = row[forks[i][1]]
    return scores


def _prompt(processor: Any, talk: Asked) -> VisionInput:
    return encode_vision(processor, {name: part for name, part in talk.items() if name != "completion"})


def _length(talk: Asked) -> int:
    """About how long a prompt is: characters, pictures counted by their pixels. Only its order matters.

    The exact length needs the pixels, and those of all prompts at once may not fit into memory.
    """
    texts = sum(len(str(message["content"])) for message in talk["prompt"])
    return texts + sum(image.width * image.height // 256 for image in talk.get("images", ()))


def _fork(tokens: Sequence[Sequence[int]], texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """The common beginning of all options, and the token that follows it in each."""
    if len(tokens) < 2:
        raise DataError(f"a prompt has {len(tokens)} options to choose from", "give at least two, or leave it out")
    shared = 0
    while all(len(row) > shared for row in tokens) and len({row[shared] for row in tokens}) == 1:
        shared += 1
    following = [row[shared] if len(row) > shared else -1 for row in tokens]
    if len(set(following)) < len(tokens) or -1 in following:
        raise DataError(
            f"the options {', '.join(map(repr, texts))} do not differ in the token after their common beginning",
            "name the options by letters or numbers",
        )
    return list(tokens[0][:shared]), following
