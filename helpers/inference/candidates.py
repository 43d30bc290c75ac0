"""Likelihood of very many short candidates for the same place, such as all secrets that might have been planted."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.inference.batching import Message, encode, evaluation, pad_id
from helpers.machine.out_of_memory import explained
from helpers.progress import each

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS = 128  # beginnings in one forward pass


@explained("scoring candidates")
def candidate_logp(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    candidates: Sequence[str],
) -> np.ndarray:
    """Log-likelihood of each candidate as the *beginning* of the answer to each prompt.

    Unlike ``score_options`` no end of turn is asked for, so that all but the last token are shared by many candidates:
    a thousand numbers of three digits are read as a hundred rows of two.

    Args:
        prompts: one list of messages each.
        candidates: the same for all prompts.

    Returns:
        float64 ``(prompts, candidates)``, nats.

    Raises:
        DataError: no candidates, or an empty one.
    """
    import torch

    if not prompts:
        return np.zeros((0, len(candidates)))
    answers = [[{"role": "assistant", "content": text}] for text in candidates]
    # How a candidate is cut into tokens depends on the turn before it, which ends in the same way for all prompts.
    ids = [encode(tokenizer, {"prompt": list(prompts[0]), "completion": answer})[1] for answer in answers]
    ids = [row[:-1] if row[-1:] == [tokenizer.eos_token_id] else row for row in ids]
    if not ids or not all(ids):
        raise DataError("there are no candidates to score, or an empty one", "Give texts of one token at least")
    stems = list(dict.fromkeys(tuple(row[:-1]) for row in ids))
    of_stem: dict[tuple[int, ...], list[int]] = {stem: [] for stem in stems}
    for i, row_ids in enumerate(ids):
        of_stem[tuple(row_ids[:-1])].append(i)
    found = np.zeros((len(prompts), len(ids)))
    with evaluation(model) as device:
        for row, prompt in zip(found, each("scoring candidates", list(prompts)), strict=True):
            read, _ = encode(tokenizer, {"prompt": list(prompt), "completion": answers[0]})
            start = model(input_ids=torch.tensor([read], device=device), logits_to_keep=1, use_cache=True)
            for begin in range(0, len(stems), ROWS):
                part = stems[begin : begin + ROWS]
                scored = _read_stems(model, start, part, pad_id(tokenizer))
                for stem, (so_far, following) in zip(part, scored, strict=True):
                    last = [ids[i][-1] for i in of_stem[stem]]
                    row[of_stem[stem]] = so_far + following[last].double().cpu().numpy()
    return found


def _read_stems(
    model: PreTrainedModel, start: Any, stems: Sequence[tuple[int, ...]], pad: int
) -> Iterator[tuple[float, torch.Tensor]]:
    """For each beginning behind one prompt: its log-likelihood, and that of every token after it, ``(vocabulary,)``."""
    import torch

    first = start.logits[:, -1:].float().log_softmax(-1)
    device, read, width = first.device, start.past_key_values.get_seq_length(), max(map(len, stems))
    logp = first.expand(len(stems), -1, -1)
    if width:
        cache = copy.deepcopy(start.past_key_values)
        cache.batch_repeat_interleave(len(stems))
        ids = torch.tensor([[*stem, *[pad] * (width - len(stem))] for stem in stems], device=device)
        real = torch.tensor([[1] * len(stem) + [0] * (width - len(stem)) for stem in stems], device=device)
        places = read + torch.arange(width, device=device).expand(len(stems), -1)
        mask = torch.cat([real.new_ones(len(stems), read), real], dim=1)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
        ).logits
        logp = torch.cat([logp, logits.float().log_softmax(-1)], dim=1)
    for stem, row in zip(stems, logp, strict=True):
        yield sum(row[place, token].item() for place, token in enumerate(stem)), row[len(stem)]
