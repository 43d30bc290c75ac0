"""The largest batch that a job can meet, made of whole numbers alone: what is written in it does not matter."""

from __future__ import annotations

from typing import Any

import torch

from helpers.errors import ParameterError
from helpers.memory.jobs import Job
from helpers.models.families import FAMILIES
from helpers.training.losses import IGNORED

TEXT = 7  # a token id that no model takes for something special


def batch(job: Job, config: Any) -> dict[str, torch.Tensor]:
    """Inputs of one forward pass on the CPU, labels included where the job trains; pixels are random.

    All rows are as long as the longest but one, which is a token shorter when ``padded``: the masks that uneven rows
    bring along are then there.

    Raises:
        ParameterError: the pictures take more tokens than the row has.
    """
    rows, length = job.batch_size, job.length
    ids = torch.full((rows, length), TEXT)
    mask = torch.ones_like(ids)
    if job.padded and rows > 1:
        # Where padding goes: in front of what is continued or read at its end.
        side = 0 if job.step in ("generate", "rate", "label_words") else length - 1
        mask[0, side] = 0
    found = {"input_ids": ids, "attention_mask": mask}
    answered = torch.zeros_like(ids)
    if job.trains and job.step not in ("classify", "label_words"):
        answered[:, length - min(max(1, job.labelled), length - 1) :] = 1
    if family := FAMILIES.get(config.model_type):
        tokens, token_id = family.picture_tokens(config, job.pixels), family.image_token(config)
        if tokens + 2 > length:
            what = f"length = {length} is too short for a picture of {tokens} tokens and a text"
            raise ParameterError(what, f"Give at least {tokens + 2}")
        ids[:, 1 : tokens + 1] = token_id  # the first place may be padding
        found |= family.pixels(config, rows, job.pixels) | family.extras(ids, answered, token_id)
    if job.step in ("classify", "label_words"):
        found["labels"] = torch.zeros(rows, dtype=torch.long)
    elif job.trains:
        found["labels"] = torch.full_like(ids, TEXT).masked_fill(answered * mask == 0, IGNORED)
    return found
