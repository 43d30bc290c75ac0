"""Class scores of a model with a classification head, or of a language model through its own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.inference.batching import batches, evaluation, pad_id, pad_left
from helpers.inference.shared import Start
from helpers.machine.out_of_memory import explained
from helpers.progress import each

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@explained("classifying")
def class_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[Sequence[int]],
    *,
    label_ids: Sequence[int] | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """One score per class for each input, in their order.

    Args:
        inputs: token ids of each example, not padded.
        label_ids: None for a model with a head. For a language model the token that stands for each class
            (``models.label_token_ids``): its scores are the logits of these tokens after the last input token. What
            all inputs begin with, such as solved questions, is then read once.
        batch_size: examples per forward pass; examples of similar length share one.

    Returns:
        float32 ``(n, classes)``; a softmax over each row gives probabilities.
    """
    rows: list[np.ndarray] = [np.empty(0)] * len(inputs)
    with evaluation(model) as device:
        start = Start(model, inputs if label_ids is not None else [], device)
        sizes = batches([len(ids) for ids in inputs], start.rows(batch_size))
        for batch in each("classifying", sizes, len(inputs), len):
            # Left padding with positions counted from the first real token: a row's last token is the batch's.
            ids, mask = pad_left([start.rest(inputs[i]) for i in batch], pad_id(tokenizer), device)
            given = start.inputs(ids, mask) | {"use_cache": False}
            if label_ids is None:
                logits = model(**given).logits
            else:
                logits = model(**given, logits_to_keep=1).logits[:, -1, list(label_ids)]
            for i, row in zip(batch, logits.float().cpu().numpy(), strict=True):
                rows[i] = row
    return np.stack(rows)
