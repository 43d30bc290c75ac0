"""Pictures of any mode → the RGB that every lesson sees, so that one file gives the same pixels everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # pragma: no cover
    import numpy as np
    from PIL.Image import Image

DEPTHS = (8, 10, 12, 14, 16)  # bits of a sample, as cameras, scanners and X-rays have them


def as_rgb(image: Image) -> Image:
    """The picture as a viewer shows it, in RGB with 8 bits.

    Of several frames or pages the one it stands at, which is the first of a file just opened. It is turned upright as
    its EXIF data say, and what is transparent becomes white (plain conversion makes it black). Deeper gray is scaled,
    not cut off: see ``_eight_bits``.

    Raises:
        OSError, ValueError: the picture is damaged, or cannot be converted.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        clear = image.info.get("transparency")
        gray = _eight_bits(image)
        if isinstance(clear, int):  # the one value that is transparent
            gray.paste(255, mask=_where(image, clear))
        return gray.convert("RGB")
    if image.mode == "LAB":
        from PIL import ImageCms

        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        turned = ImageCms.applyTransform(image, transform)
        assert turned is not None  # it is only in place that nothing is returned
        return turned
    clear_palette = image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    if clear_palette or "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        if image.mode in ("La", "PA"):
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def remarks(image: Image) -> list[str]:
    """What ``as_rgb`` does to a picture that a reader should know of."""
    said = []
    if getattr(image, "n_frames", 1) > 1:
        said.append("a picture of more than one frame or page, of which the first is shown")
    if image.mode == "F" or image.mode.startswith("I"):
        said.append("a picture of deep gray (16 bits, or fractions), scaled to 8 bits")
    return said


def _eight_bits(image: Image) -> Image:
    """Gray of 16 or 32 bits, or fractions, in 8 bits.

    Whole numbers are divided by the range of the fewest bits (8, 10, 12, 14, 16) that hold the brightest pixel, so an
    X-ray of 12 bits is not almost black, and a dark picture stays dark; fractions up to 1 by 1. Where there are
    negative or larger numbers, the darkest pixel becomes black and the brightest white.
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0 or high > 2 ** DEPTHS[-1] - 1:
        top = high
    elif image.mode == "F" and high <= 1:
        low, top = 0.0, 1.0
    else:
        low, top = 0.0, next(float(2**bits - 1) for bits in DEPTHS if high <= 2**bits - 1)
    scaled = (np.nan_to_num(values, nan=low, posinf=top, neginf=low) - low) / max(top - low, 1e-12) * 255
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _where(image: Image, value: int) -> Any:
    """A mask of the pixels with one value."""
    import numpy as np
    from PIL import Image

    found: np.ndarray = np.asarray(image) == value
    return Image.fromarray(found.astype(np.uint8) * 255)
