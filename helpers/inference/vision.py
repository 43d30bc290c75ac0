"""Answers of a vision-language model: generated, and read off the likelihood of what tells the options apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.inference.batching import batches, evaluation, pad_id
from helpers.inference.generation import generating_model
from helpers.machine.out_of_memory import explained
from helpers.models.vision_inputs import IGNORED, VisionInput, answer_opening, collate_vision, encode_vision
from helpers.progress import each

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Asked = Mapping[str, Any]  # messages of a prompt, and its pictures; see ``models.encode_vision``


@explained("generating")
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
        for rows in each("generating", batches([_length(talk) for talk in asked], batch_size), len(asked), len):
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


@explained("scoring choices")
def choice_scores(
    model: PreTrainedModel,
    processor: Any,
    asked: Sequence[Asked],
    options: Sequence[Sequence[str]],
    *,
    batch_size: int = 16,
) -> list[np.ndarray]:
    """Log-likelihood of each option as the beginning of the answer to its prompt.

    Pixels are computed once a prompt; the model reads prompt and option once an option.

    Args:
        asked: as in ``generate_vision``.
        options: for each prompt the texts of its possible answers, two or more: whole answers, or their beginnings
            up to where they are told apart. What the chat format writes before an answer (SmolVLM's a space) is
            added in front of them, no end-of-turn token behind.
        batch_size: prompts per forward pass, each with all of its options.

    Returns:
        For each prompt a float64 array of summed log-probabilities (nats), one per option.

    Raises:
        DataError: a prompt has fewer than two options, or two of them are the same tokens.
    """
    if len(options) != len(asked):
        raise DataError(
            f"there are {len(asked):,} prompts and {len(options):,} lists of options", "give one list for each prompt"
        )
    endings = []
    for talk, texts in each("tokenising", zip(asked, options, strict=True), len(asked)):
        opening = answer_opening(processor, talk["prompt"])
        endings.append([processor.tokenizer(opening + t, add_special_tokens=False)["input_ids"] for t in texts])
    for texts, ids in zip(options, endings, strict=True):
        if len({tuple(row) for row in ids}) < max(2, len(ids)):
            raise DataError(
                f"the options {', '.join(map(repr, texts)) or '(none)'} cannot be told apart",
                "give two or more different options for each prompt",
            )
    scores: list[np.ndarray] = [np.empty(0)] * len(asked)
    with evaluation(model) as device:
        for rows in each("scoring choices", batches([_length(talk) for talk in asked], batch_size), len(asked), len):
            prompts = {i: _prompt(processor, asked[i]) for i in rows}
            items = [replace(prompts[i], completion_ids=ids) for i in rows for ids in endings[i]]
            batch = collate_vision(processor, items, side="left", device=device)
            labels = batch.pop("labels")
            keep = max(len(item.completion_ids) for item in items)
            logits = model(**batch, logits_to_keep=keep + 1, use_cache=False).logits[:, :-1].float()
            targets = labels[:, -keep:]
            logp = logits.log_softmax(-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            summed = (logp.double() * (targets != IGNORED)).sum(1).cpu().numpy()
            ends = np.cumsum([len(endings[i]) for i in rows])[:-1]
            for i, values in zip(rows, np.split(summed, ends), strict=True):
                scores[i] = values
    return scores


@explained("measuring the loss")
def completion_losses(model: PreTrainedModel, processor: Any, conversations: Sequence[Asked]) -> list[np.ndarray]:
    """Loss of every token of each answer, its end included, given the prompt and the tokens before.

    One conversation is read at a time.

    Args:
        conversations: with ``prompt``, ``completion`` and, where there are pictures, ``images``.

    Returns:
        For each conversation a float64 array of nats, one per token of the completion.
    """
    losses = []
    with evaluation(model) as device:
        for talk in each("measuring the loss", conversations):
            item = encode_vision(processor, talk)
            batch = collate_vision(processor, [item], device=device)
            targets = batch.pop("labels")[0, 1:]
            logp = model(**batch).logits[0, :-1].float().log_softmax(-1)
            logp = logp.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            losses.append(-logp[targets != IGNORED].double().cpu().numpy())
    return losses


def _prompt(processor: Any, talk: Asked) -> VisionInput:
    return encode_vision(processor, {name: part for name, part in talk.items() if name != "completion"})


def _length(talk: Asked) -> int:
    """About how long a prompt is: characters, pictures counted by their pixels. Only its order matters.

    The exact length needs the pixels, and those of all prompts at once may not fit into memory.
    """
    texts = sum(len(str(message["content"])) for message in talk["prompt"])
    return texts + sum(image.width * image.height // 256 for image in talk.get("images", ()))
