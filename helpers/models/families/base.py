"""What there is to know about a vision-language family: the record that each of them fills in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from helpers.errors import DataError, ModelError
from helpers.models.load import ModelSource

Inputs = dict[str, Any]  # of a model: name → tensor


@dataclass(frozen=True)
class Positions:
    """How a model counts positions and reads its prompt, where that is not what most decoders do.

    Attributes:
        first: position of the first token.
        multimodal_rope: the model computes three-dimensional positions itself where a row holds pictures.
        bidirectional_prompt: tokens of the prompt see each other in both directions.
        learned: positions are rows of a table, so that there is none beyond its last.
    """

    first: int = 0
    multimodal_rope: bool = False
    bidirectional_prompt: bool = False
    learned: bool = False


class ChatFormat:
    """How a conversation becomes text and pixels; as it stands, by the chat template, with no other inputs."""

    def write(self, processor: Any, prompt: list[Any], completion: list[Any]) -> tuple[str, str]:
        """Messages of a prompt, and those of its completion → (text of the prompt, text of the completion)."""
        # Parts everywhere: SmolVLM's template leaves out a content that is one text.
        prompt, completion = ([{**m, "content": _parts(m)} for m in messages] for messages in (prompt, completion))
        start = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        if not completion:
            return start, ""
        whole = processor.apply_chat_template(prompt + completion, tokenize=False)
        if not whole.startswith(start):
            raise DataError(
                "the chat template renders a prompt differently once an answer follows",
                "use a template whose generation prompt is a prefix of the full conversation",
            )
        end = processor.tokenizer.eos_token
        answer = whole[len(start) :]
        return start, answer[: answer.rindex(end) + len(end)] if end in answer else answer + end

    def look(self, processor: Any, pictures: list[Any]) -> Mapping[str, Any]:
        """Pictures → what the vision tower reads, and what ``place`` needs."""
        return processor.image_processor(pictures, return_tensors="pt")

    def place(self, processor: Any, seen: Mapping[str, Any], which: int) -> str:
        """The text of picture `which` of those that ``look`` has seen."""
        return processor.replace_image_token(seen, which)

    def extras(self, ids: Any, completion: Any, image_token: int) -> Inputs:
        """Inputs besides ids, mask and pixels, from ids and a 1 for each token of a completion, both ``(b, t)``."""
        return {}


class VisionFamily(ChatFormat, ABC):
    """One family. ``config`` is its configuration in transformers; ``max_pixels`` only counts where sizes vary.

    Attributes:
        model_type: as in the configuration.
        processor_class: name of the class of its processors.
        modules: part → full name of its module, for all that a picture goes through; inner modules first.
        head: full name of the output head.
    """

    model_type: ClassVar[str]
    processor_class: ClassVar[str]
    modules: ClassVar[Mapping[str, str]]
    head: ClassVar[str] = "lm_head"
    positions: ClassVar[Positions] = Positions()

    @property
    def kept(self) -> tuple[str, ...]:
        """Modules that never are quantised: all that a picture goes through, and the output head."""
        return (*self.modules.values(), self.head)

    @abstractmethod
    def processor(self, source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
        """The processor of a checkpoint; ModelError where `max_pixels` or the checkpoint does not do."""

    @abstractmethod
    def picture_tokens(self, config: Any, max_pixels: int | None = None) -> int:
        """Tokens that the largest picture takes in a prompt."""

    def pixels(self, config: Any, rows: int, max_pixels: int | None = None) -> Inputs:
        """Random inputs of the vision tower, a largest picture in each row; here all have one square size."""
        import torch

        side = config.vision_config.image_size
        return {"pixel_values": torch.rand(rows, 3, side, side)}

    def image_token(self, config: Any) -> int:
        """The id that a picture's tokens have."""
        return config.image_token_id


def plain_text(processor: Any, messages: list[Any], between: str) -> tuple[str, str]:
    """Messages without a chat format: the places for pictures, and the texts."""
    image = str(processor.image_token)
    parts = [[image if part["type"] == "image" else part["text"] for part in _parts(m)] for m in messages]
    text = between.join(map("".join, parts))
    return image * text.count(image), text.replace(image, "")


def _parts(message: Mapping[str, Any]) -> list[dict[str, str]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def check_pixels(source: ModelSource, images: Any, max_pixels: int | None, more: str = "") -> None:
    """Refuse another resolution than the one that `images` are brought to."""
    height, width = images.size["height"], images.size["width"]
    if max_pixels is not None and max_pixels != height * width:
        raise ModelError(
            f"{source.model_id} reads pictures of {height} x {width} pixels only", f"leave max_pixels out{more}"
        )
