"""What there is to know about a vision-language family: the record that each of them fills in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from helpers.errors import DataError, ModelError

if TYPE_CHECKING:
    import torch

    from helpers.models.load import ModelSource


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
        """Messages of a prompt, and those of its completion → (text of the prompt, text of the completion).

        Raises:
            DataError: the template renders a prompt in another way once an answer follows.
        """
        # Parts everywhere: SmolVLM's template leaves out a content that is one text.
        prompt, completion = ([{**m, "content": parts(m)} for m in messages] for messages in (prompt, completion))
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
        """Pictures → what the vision tower reads, and what ``place`` needs to write their tokens."""
        return processor.image_processor(pictures, return_tensors="pt")

    def place(self, processor: Any, seen: Mapping[str, Any], which: int) -> str:
        """The text that takes the place of picture `which` of those in `seen`, from ``look``."""
        return processor.replace_image_token(seen, which)

    def extras(self, ids: torch.Tensor, completion: torch.Tensor, image_token: int) -> dict[str, torch.Tensor]:
        """Inputs that the model wants besides ids, mask and pixels.

        Args:
            ids: token ids ``(b, t)``.
            completion: which of them belong to completions, 0 or 1, ``(b, t)``.
            image_token: the id that a picture's tokens have.
        """
        return {}


class VisionFamily(ChatFormat, ABC):
    """One family of vision-language models. ``config`` is a configuration of transformers, or kept sizes as one.

    Attributes:
        model_type: as in the configuration.
        processor_class: name of the class that ``processor`` returns an instance of.
        modules: part → its module's full name, for all that a picture goes through; inner modules first.
        head: full name of the output head.
        positions: how positions are counted.
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
        """The processor of a checkpoint, for pictures and text.

        Args:
            max_pixels: most pixels of a picture, for a family that reads any number.

        Raises:
            ModelError: `max_pixels` is not possible, or the checkpoint's files do not do.
        """

    @abstractmethod
    def picture_tokens(self, config: Any, max_pixels: int | None = None) -> int:
        """Tokens that the largest picture takes in a prompt."""

    def pixels(self, config: Any, rows: int, max_pixels: int | None = None) -> dict[str, torch.Tensor]:
        """Random inputs of the vision tower for a largest picture in each row; here one square of one size."""
        import torch

        side = config.vision_config.image_size
        return {"pixel_values": torch.rand(rows, 3, side, side)}

    def image_token(self, config: Any) -> int:
        """The id that a picture's tokens have."""
        return config.image_token_id

    def writer(self, model: Any) -> Any:
        """The module that writes on from a cache, one token at a time."""
        return model


def parts(message: Mapping[str, Any]) -> list[dict[str, str]]:
    """A message's content as a list of parts."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def joined(processor: Any, messages: list[Any], between: str) -> str:
    """The texts of messages, with the image token where a picture is."""
    image = str(processor.image_token)
    return between.join(
        "".join(image if part["type"] == "image" else part["text"] for part in parts(message)) for message in messages
    )


def apart(processor: Any, text: str) -> tuple[str, str]:
    """The places for pictures, and the text without them."""
    image = str(processor.image_token)
    return image * text.count(image), text.replace(image, "")


def check_pixels(source: ModelSource, images: Any, max_pixels: int | None, more: str = "") -> None:
    """Refuse another resolution than the one that `images` are brought to."""
    if max_pixels is not None and max_pixels != images.size["height"] * images.size["width"]:
        raise ModelError(
            f"{source.model_id} reads pictures of {images.size['height']} x {images.size['width']} pixels only",
            f"leave max_pixels out{more}",
        )
