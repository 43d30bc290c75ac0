"""CLIPScore: how well a caption fits its picture, judged by a CLIP (Hessel et al., 2021, arXiv:2104.08718).

It takes vectors, which ``models.clip`` makes. The authors write ``PREFIX`` before each caption.
A score says that CLIP finds picture and caption alike, not that the caption is right: a CLIP that cannot tell leather
from rubber scores both alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.errors import DataError

FloatArray = NDArray[np.float64]

PREFIX = "A photo depicts "
WEIGHT = 2.5  # the authors': brings the cosines of a ViT-B/32 into about 0 to 1


def clipscore(images: ArrayLike, captions: ArrayLike) -> FloatArray:
    """CLIP-S of each caption: 2.5 · max(cos(picture, caption), 0).

    Args:
        images: vectors of the pictures, ``(n, d)``; they need no unit length.
        captions: vectors of the captions, ``(n, d)``. A row of zeros, an empty caption's, scores 0.

    Returns:
        One score a row, ``(n,)``, between 0 and 2.5.

    Raises:
        DataError: not one caption a picture, or a vector is not finite.
    """
    pictures, texts = _unit(images, "pictures"), _unit(captions, "captions")
    if pictures.shape != texts.shape:
        raise DataError(
            f"pictures {pictures.shape} and captions {texts.shape} are not the same number of vectors of one length",
            "give one caption for each picture, both from the same CLIP",
        )
    return WEIGHT * np.maximum((pictures * texts).sum(1), 0.0)


def _unit(vectors: ArrayLike, what: str) -> FloatArray:
    """Rows of length 1; rows of zeros stay."""
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise DataError(f"the vectors of the {what} have shape {rows.shape}", "give a table with one vector a row")
    if not np.isfinite(rows).all():
        raise DataError(
            f"a vector of the {what} is not finite", "compute them in float32, and look for broken pictures"
        )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
