"""What tasks with pictures share."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.sources import reader

if TYPE_CHECKING:  # pragma: no cover
    from PIL.Image import Image

    from helpers.tasks.base import Row


class Unusable(Exception):
    """Why a row, or its picture, cannot be used."""


def as_rgb(image: Image) -> Image:
    """The picture in RGB; what is transparent becomes white (plain conversion makes it black)."""
    from PIL import Image

    if image.mode == "RGB":
        return image
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")


def picture_digest(image: Any) -> str:
    """Hash of an encoded picture ``{"bytes": …}``, "" for none."""
    return hashlib.sha256(image["bytes"]).hexdigest()[:16] if image else ""


def check_picture(data: bytes) -> None:
    """Decode a picture once, to see that it can be; Unusable where it cannot."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Unusable("image unreadable") from error


def undecoded(rows: Any) -> list[Row]:
    """Rows with pictures still encoded, where they come from a Dataset."""
    return [dict(row) for row in (reader.encoded(rows) if hasattr(rows, "features") else rows)]


def vision_messages(example: Mapping[str, Any], images: Sequence[Image]) -> dict[str, Any]:
    """The example as chat turns for a model that sees: prompt (pictures, then words), completion, and ``images``."""
    content: list[dict[str, str]] = [{"type": "image"} for _ in images]
    if example["prompt"]:
        content.append({"type": "text", "text": example["prompt"]})
    return {
        "prompt": [{"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": example["completion"]}]}],
        "images": list(images),
    }
