"""Chat turns as token ids: what a language model reads, and what of it is the model's own to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]
Conversation = Mapping[str, Sequence[Message]]  # {"prompt": [...], "completion": [...]}


def encode(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the completion under the chat template.

    The completion ends with the end-of-turn token, also where a template writes none, for without it a model cannot
    learn to stop. What a template writes after that token (a line break, say) is not the model's to predict and is
    cut. Training, likelihoods and perplexity all take these ids.

    Returns:
        ``(prompt_ids, completion_ids)``; the model sees ``prompt_ids + completion_ids``.

    Raises:
        DataError: the prompt's ids are not the beginning of the conversation's.
    """
    prompt = list(conversation["prompt"])
    prompt_ids = render(tokenizer, prompt, add_generation_prompt=True)
    full = render(tokenizer, prompt + list(conversation["completion"]), add_generation_prompt=False)
    if full[: len(prompt_ids)] != prompt_ids:
        raise DataError(
            "the chat template renders a prompt differently once an answer follows",
            "use a template whose generation prompt is a prefix of the full conversation",
        )
    completion, end = full[len(prompt_ids) :], tokenizer.eos_token_id
    if end not in completion:
        return prompt_ids, completion + ([] if end is None else [end])
    return prompt_ids, completion[: len(completion) - completion[::-1].index(end)]


def render(tokenizer: PreTrainedTokenizerBase, messages: list[Message], *, add_generation_prompt: bool) -> list[int]:
    """Token ids of some turns, as the chat template writes them."""
    rendered: Any = tokenizer.apply_chat_template(
        [dict(m) for m in messages], add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True
    )
    return list(rendered["input_ids"])
