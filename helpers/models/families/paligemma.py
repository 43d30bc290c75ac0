"""PaliGemma (Beyer et al., 2024, arXiv:2407.07726): one square picture, a prompt read in both directions."""

from __future__ import annotations

from typing import Any

from helpers.models.families.base import Inputs, Positions, VisionFamily, check_pixels, plain_text
from helpers.models.load import ModelSource, _from_pretrained


class PaliGemma(VisionFamily):
    model_type = "paligemma"
    processor_class = "PaliGemmaProcessor"
    modules = {"projection": "model.multi_modal_projector", "vision tower": "model.vision_tower"}
    positions = Positions(first=1, bidirectional_prompt=True)

    def processor(self, source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
        from transformers import PaliGemmaProcessor
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        images = _from_pretrained(SiglipImageProcessorPil, source)
        check_pixels(source, images, max_pixels, "; PaliGemma has one checkpoint per resolution (224, 448, 896)")
        return PaliGemmaProcessor(images, tokenizer)

    def write(self, processor: Any, prompt: list[Any], completion: list[Any]) -> tuple[str, str]:
        """No chat template: picture, bos, turns of the prompt by line, line break, answer, eos."""
        tokenizer = processor.tokenizer
        pictures, question = plain_text(processor, prompt, "\n")
        answer = "".join(plain_text(processor, completion, "\n")) + tokenizer.eos_token
        return f"{pictures}{tokenizer.bos_token}{question}\n", answer if completion else ""

    def extras(self, ids: Any, completion: Any, image_token: int) -> Inputs:
        return {"token_type_ids": completion.long()}  # 0: read in both directions, 1: read from left to right

    def picture_tokens(self, config: Any, max_pixels: int | None = None) -> int:
        return int(config.vision_config.image_size // config.vision_config.patch_size) ** 2
