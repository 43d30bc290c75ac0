"""The largest batch that a job can meet, made of whole numbers alone: what is written in it does not matter."""

from __future__ import annotations

import math
from typing import Any

import torch

from helpers.errors import ParameterError
from helpers.memory.jobs import Job
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
        side = 0 if job.step in ("generate", "label_words") else length - 1
        mask[0, side] = 0
    found = {"input_ids": ids, "attention_mask": mask}
    if config.model_type in PICTURES:
        pixels, tokens, token_id = PICTURES[config.model_type](job, config)
        if tokens + 2 > length:
            what = f"length = {length} is too short for a picture of {tokens} tokens and a text"
            raise ParameterError(what, f"Give at least {tokens + 2}")
        ids[:, 1 : tokens + 1] = token_id  # the first place may be padding
        found |= pixels
        shape = torch.zeros_like(ids)
        if config.model_type == "qwen2_vl":
            found["mm_token_type_ids"] = (ids == token_id).int()
        if config.model_type == "paligemma":
            found["token_type_ids"] = shape
    if job.step in ("classify", "label_words"):
        found["labels"] = torch.zeros(rows, dtype=torch.long)
    elif job.trains:
        labelled = min(max(1, job.labelled), length - 1)
        labels = torch.full_like(ids, IGNORED)
        labels[:, length - labelled :] = TEXT
        found["labels"] = labels.masked_fill(mask == 0, IGNORED)
        if "token_type_ids" in found:
            found["token_type_ids"] = (labels != IGNORED).long()
    return found


def _qwen2_vl(job: Job, config: Any) -> tuple[dict[str, torch.Tensor], int, int]:
    vision = config.vision_config
    merge, patch = vision.spatial_merge_size, vision.patch_size
    side = merge * patch
    tokens = max(1, (job.pixels or 1280 * side**2) // side**2)
    tall = max(i for i in range(1, math.isqrt(tokens) + 1) if tokens % i == 0)
    if tokens / tall**2 > 4:  # a prime number of tokens would make a ribbon
        tall = math.isqrt(tokens)
    wide = tokens // tall
    grid = torch.tensor([[1, merge * tall, merge * wide]] * job.batch_size)
    patches = job.batch_size * merge**2 * tall * wide
    width = vision.in_channels * vision.temporal_patch_size * patch**2
    pixels = torch.rand(patches, width)
    return {"pixel_values": pixels, "image_grid_thw": grid}, tall * wide, config.image_token_id


def _square(job: Job, config: Any) -> torch.Tensor:
    side = config.vision_config.image_size
    return torch.rand(job.batch_size, 3, side, side)


def _paligemma(job: Job, config: Any) -> tuple[dict[str, torch.Tensor], int, int]:
    vision = config.vision_config
    token = getattr(config, "image_token_id", None) or config.image_token_index
    return {"pixel_values": _square(job, config)}, (vision.image_size // vision.patch_size) ** 2, token


def _idefics3(job: Job, config: Any) -> tuple[dict[str, torch.Tensor], int, int]:
    vision = config.vision_config
    tokens = (vision.image_size // vision.patch_size // config.scale_factor) ** 2
    pixels = _square(job, config)[:, None]
    seen = torch.ones(pixels.shape[0], 1, *pixels.shape[-2:], dtype=torch.bool)
    return {"pixel_values": pixels, "pixel_attention_mask": seen}, tokens, config.image_token_id


def _blip2(job: Job, config: Any) -> tuple[dict[str, torch.Tensor], int, int]:
    token = config.image_token_index or config.text_config.vocab_size - 1
    return {"pixel_values": _square(job, config)}, config.num_query_tokens, token


PICTURES = {"qwen2_vl": _qwen2_vl, "paligemma": _paligemma, "idefics3": _idefics3, "blip-2": _blip2}
