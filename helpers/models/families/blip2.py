"""BLIP-2 (Li et al., 2023, arXiv:2301.12597) with an OPT: a Q-Former asks the vision tower, its queries are tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.errors import DataError, ModelError
from helpers.models.families.base import VisionFamily, check_pixels, plain_text
from helpers.models.load import ModelSource, _from_pretrained


class Blip2(VisionFamily):
    model_type = "blip-2"
    processor_class = "Blip2Processor"
    modules = {"projection": "language_projection", "vision tower": "vision_model", "Q-Former": "qformer"}
    head = "language_model.lm_head"

    def processor(self, source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
        """Pictures as queries of the Q-Former; an answer ends with the token that the checkpoint names.

        The published OPT checkpoints end a caption with a line break, not with OPT's own end token.
        """
        from transformers import AutoConfig, Blip2Processor
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

        config = _from_pretrained(AutoConfig, source)
        if not config.use_decoder_only_language_model:
            kind = config.text_config.model_type
            raise ModelError(
                f"{source.model_id} has an encoder-decoder ({kind}), which answers in another way",
                "use a BLIP-2 with an OPT, such as Salesforce/blip2-opt-2.7b",
            )
        images = _from_pretrained(BlipImageProcessorPil, source)
        check_pixels(source, images, max_pixels)
        processor = Blip2Processor(images, tokenizer, num_query_tokens=config.num_query_tokens)
        processor.image_token_id = tokenizer.convert_tokens_to_ids(str(processor.image_token))
        if processor.image_token_id != config.image_token_id:
            raise ModelError(
                f"{source.model_id} keeps no place for pictures among its tokens: its files are of before 2024",
                "fetch the checkpoint again",
            )
        end = config.text_config.eos_token_id
        if end is not None and end != tokenizer.eos_token_id:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
        return processor

    def write(self, processor: Any, prompt: list[Any], completion: list[Any]) -> tuple[str, str]:
        """No chat template: picture, bos, turns of the prompt in one line, a space, answer, the end.

        Without a text in the prompt the answer is a caption and follows bos. The end may be a token that is a text,
        such as a line break, so it is written as it is decoded.
        """
        tokenizer = processor.tokenizer
        pictures, question = plain_text(processor, prompt, " ")
        if not pictures:
            raise DataError("BLIP-2 reads a picture with every prompt", "leave the row out, or give it a blank picture")
        question = question.strip()
        end = tokenizer.decode([tokenizer.eos_token_id])
        answer = (" " if question else "") + "".join(plain_text(processor, completion, " ")) + end
        return f"{pictures}{tokenizer.bos_token}{question}", answer if completion else ""

    def place(self, processor: Any, seen: Mapping[str, Any], which: int) -> str:
        """A token for each query of the Q-Former."""
        return str(processor.image_token) * int(processor.num_query_tokens)

    def picture_tokens(self, config: Any, max_pixels: int | None = None) -> int:
        return int(config.num_query_tokens)

    def image_token(self, config: Any) -> int:
        """The last token where the sizes are of before 2024, when no token stood for pictures."""
        return config.image_token_id or config.text_config.vocab_size - 1
