"""Qwen2-VL (Wang et al., 2024, arXiv:2409.12191): pictures of any size, a token for each square of 28 x 28 pixels."""

from __future__ import annotations

import math
from typing import Any

from helpers.errors import ModelError
from helpers.models.families.base import Inputs, Positions, VisionFamily
from helpers.models.load import ModelSource, _from_pretrained

MOST_TOKENS = 1280  # of a picture, where nobody says how many pixels it may have


class Qwen2VL(VisionFamily):
    model_type = "qwen2_vl"
    processor_class = "PictureProcessor"
    modules = {"projection": "model.visual.merger", "vision tower": "model.visual"}
    positions = Positions(multimodal_rope=True)

    def processor(self, source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        from helpers.models.families.qwen2_vl_processor import PictureProcessor

        images = _from_pretrained(Qwen2VLImageProcessorPil, source)
        if max_pixels is not None:
            side = images.patch_size * images.merge_size
            if max_pixels < side**2:
                raise ModelError(
                    f"max_pixels={max_pixels:,} is less than one token of {source.model_id} shows",
                    f"give at least {side**2:,} ({side} pixels squared)",
                )
            # A small picture is enlarged to shortest_edge pixels, then each side rounded up to whole tokens: at most
            # doubled. A quarter leaves room for that.
            fewest = max(side**2, min(images.size["shortest_edge"], max_pixels // 4))
            images.size = {"shortest_edge": fewest, "longest_edge": max_pixels}
        return PictureProcessor(images, tokenizer, chat_template=tokenizer.chat_template)

    def extras(self, ids: Any, completion: Any, image_token: int) -> Inputs:
        return {"mm_token_type_ids": (ids == image_token).int()}

    def picture_tokens(self, config: Any, max_pixels: int | None = None) -> int:
        return math.prod(self._grid(config, max_pixels))

    def pixels(self, config: Any, rows: int, max_pixels: int | None = None) -> Inputs:
        """Patches of all pictures one after the other, and each picture's grid of patches."""
        import torch

        vision = config.vision_config
        tall, wide = (vision.spatial_merge_size * tokens for tokens in self._grid(config, max_pixels))
        width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        grid = torch.tensor([[1, tall, wide]] * rows)
        return {"pixel_values": torch.rand(rows * tall * wide, width), "image_grid_thw": grid}

    def _grid(self, config: Any, max_pixels: int | None) -> tuple[int, int]:
        """Tokens of a largest picture, (from top to bottom, from left to right)."""
        side = config.vision_config.spatial_merge_size * config.vision_config.patch_size
        tokens = max(1, (max_pixels or MOST_TOKENS * side**2) // side**2)
        tall = max(i for i in range(1, math.isqrt(tokens) + 1) if tokens % i == 0)
        if tokens / tall**2 > 4:  # a prime number of tokens would make a ribbon
            tall = math.isqrt(tokens)
        return tall, tokens // tall
