"""Idefics3 (Laurençon et al., 2024, arXiv:2408.12637), SmolVLM among them: here each picture is one tile."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from helpers.errors import ModelError
from helpers.models.families.base import Inputs, VisionFamily
from helpers.models.load import ModelSource, _from_pretrained


class Idefics3(VisionFamily):
    """One tile for each picture, which is squeezed into the square that the vision tower sees.

    The model can also read a picture cut into many tiles; each would take as many tokens as the whole picture here.
    """

    model_type = "idefics3"
    processor_class = "Idefics3Processor"
    modules = {"projection": "model.connector", "vision tower": "model.vision_model"}

    def processor(self, source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
        from transformers import AutoConfig, Idefics3Processor
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

        config = _from_pretrained(AutoConfig, source)
        tile = config.vision_config.image_size
        if max_pixels is not None and max_pixels != tile**2:
            raise ModelError(
                f"{source.model_id} reads each picture here as one tile of {tile} x {tile} pixels",
                "leave max_pixels out",
            )
        # Older checkpoints keep the chat format in a file that only processors read.
        files = SimpleNamespace(from_pretrained=Idefics3Processor.get_processor_dict)
        template = tokenizer.chat_template or _from_pretrained(files, source)[0].get("chat_template")
        if template is None:
            raise ModelError(f"{source.model_id} has no chat format", "use an instruction-tuned checkpoint")
        images = _from_pretrained(Idefics3ImageProcessorPil, source)
        images.do_image_splitting = False
        images.size = images.max_image_size = {"longest_edge": tile}
        processor = Idefics3Processor(
            images, tokenizer, image_seq_len=self.picture_tokens(config), chat_template=template
        )
        tokenizer.eos_token = processor.end_of_utterance_token  # the chat format ends each turn with it
        return processor

    def look(self, processor: Any, pictures: list[Any]) -> Mapping[str, Any]:
        """As if each picture were a row of its own, ``(n, 1, 3, h, w)``: so those of several rows can be joined."""
        singly = [[picture] for picture in pictures]
        return processor.image_processor(singly, return_row_col_info=True, return_tensors="pt")

    def picture_tokens(self, config: Any, max_pixels: int | None = None) -> int:
        vision = config.vision_config
        return int(vision.image_size // vision.patch_size // config.scale_factor) ** 2

    def pixels(self, config: Any, rows: int, max_pixels: int | None = None) -> Inputs:
        """One tile a row, ``(rows, 1, 3, h, w)``, with a mask that says all of it is picture."""
        import torch

        tiles = super().pixels(config, rows)["pixel_values"][:, None]
        seen = torch.ones(rows, 1, *tiles.shape[-2:], dtype=torch.bool)
        return {"pixel_values": tiles, "pixel_attention_mask": seen}
