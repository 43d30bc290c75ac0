"""What tasks with pictures share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pragma: no cover
    from PIL.Image import Image


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
