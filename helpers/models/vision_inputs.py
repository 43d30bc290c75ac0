"""What a vision-language model reads: conversations with pictures as token ids and pixels, batches with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from helpers.errors import DataError
from helpers.models.families import format_of
from helpers.sources.pictures import as_rgb

IGNORED = -100  # labels that take no loss


@dataclass(frozen=True)
class VisionInput:
    """One example, ready to be put into a batch.

    Attributes:
        prompt_ids: tokens up to where the answer starts; a picture's tokens included.
        completion_ids: tokens of the answer with the end-of-turn token; empty for a prompt alone.
        pixels: what the vision tower reads; empty without a picture.
    """

    prompt_ids: list[int]
    completion_ids: list[int] = field(default_factory=list)
    pixels: dict[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


def encode_vision(processor: Any, conversation: Mapping[str, Any]) -> VisionInput:
    """One conversation as token ids and pixels.

    Args:
        processor: from ``models.load_processor``.
        conversation: ``prompt`` and, to train on, ``completion``: lists of messages whose content is a text or a
            list of ``{"type": "image"}`` and ``{"type": "text", "text": …}``; ``images``: the pictures, in order.

    Raises:
        DataError: there are more pictures than places for them in the messages, or fewer; an answer holds such a
            place; a picture cannot be read.
    """
    form = format_of(processor)
    images = list(conversation.get("images", ()))
    start, answer = form.write(processor, list(conversation["prompt"]), list(conversation.get("completion", ())))
    image = str(processor.image_token)
    before, *between = start.split(image)
    if len(between) != len(images):
        raise DataError(
            f"the messages have {len(between)} places for pictures and {len(images)} pictures were given",
            "give one {'type': 'image'} entry for each picture",
        )
    if image in answer:
        raise DataError("an answer holds a place for a picture", f"take {image!r} out of completions")
    pixels: dict[str, torch.Tensor] = {}
    if images:
        seen = _pixels(processor, images)
        start = before + "".join(form.place(processor, seen, i) + rest for i, rest in enumerate(between))
        pixels = {name: value for name, value in seen.items() if isinstance(value, torch.Tensor)}
    encoded = processor.tokenizer([start, answer], add_special_tokens=False)["input_ids"]
    return VisionInput(encoded[0], encoded[1], pixels)


def answer_opening(processor: Any, prompt: Sequence[Mapping[str, Any]]) -> str:
    """What is written between a prompt and the text of its answer: SmolVLM's space after "Assistant:", else "" mostly.

    An answer's first token holds it (" yes"), so a text whose likelihood is asked for has to begin with it.
    """
    probe = "x"
    answer = [{"role": "assistant", "content": probe}]
    return format_of(processor).write(processor, list(prompt), answer)[1].partition(probe)[0]


def _pixels(processor: Any, images: list[Any]) -> Mapping[str, Any]:
    try:
        return format_of(processor).look(processor, [as_rgb(image) for image in images])
    except (OSError, ValueError) as error:  # a damaged file; more than 200 times as long as wide
        sizes = ", ".join(f"{image.width} x {image.height}" for image in images)
        raise DataError(
            f"a picture cannot be read ({sizes} pixels): {error}", "leave the row out, or mend the picture"
        ) from error


def collate_vision(
    processor: Any, items: Sequence[VisionInput], *, side: str = "right", device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """A batch: ids, mask, labels (−100 everywhere but in completions), pixels and what the model wants besides.

    Args:
        side: where padding goes: ``"right"`` for training, ``"left"`` for generation.

    Returns:
        ``input_ids``, ``attention_mask``, ``labels`` of shape ``(b, t)``, the model's own extras of the same shape,
        and the pixels of all pictures in the order of their rows.
    """
    pad = processor.tokenizer.pad_token_id
    width = max(len(item) for item in items)

    def padded(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
        filled = [[fill] * (width - len(row)) for row in rows]
        return torch.tensor([f + r if side == "left" else r + f for r, f in zip(rows, filled, strict=True)])

    ids = padded([item.prompt_ids + item.completion_ids for item in items], pad)
    mask = padded([[1] * len(item) for item in items], 0)
    answered = padded([[0] * len(item.prompt_ids) + [1] * len(item.completion_ids) for item in items], 0)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(answered == 0, IGNORED)}
    image_token = processor.tokenizer.convert_tokens_to_ids(str(processor.image_token))
    batch |= format_of(processor).extras(ids, answered, image_token)
    pictured = [item.pixels for item in items if item.pixels]
    batch |= {name: torch.cat([pixels[name] for pixels in pictured]) for name in (pictured[0] if pictured else ())}
    return {name: tensor.to(device) for name, tensor in batch.items()}
