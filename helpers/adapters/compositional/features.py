"""What CLIP sees of pictures, computed once: one vector a picture and, where asked for, one a patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPModel

from helpers.adapters.compositional.measures import Pair
from helpers.errors import DataError
from helpers.models.clip import project_pixels, unit


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Pictures in the space that CLIP shares with text, not normalised.

    Attributes:
        vectors: (n, d).
        patches: (n, 1 + patches, d), the class token first; ``None`` if they were not kept.
    """

    vectors: torch.Tensor
    patches: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Any) -> ImageFeatures:
        """The pictures that a slice or an array of positions picks."""
        return ImageFeatures(self.vectors[rows], None if self.patches is None else self.patches[rows])

    def to(self, device: torch.device | str) -> ImageFeatures:
        """In float32 on that device."""
        patches = None if self.patches is None else self.patches.to(device, torch.float32)
        return ImageFeatures(self.vectors.to(device, torch.float32), patches)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Pictures and the true (state, object) of each.

    Raises:
        DataError: their numbers differ.
    """

    features: ImageFeatures
    pairs: Sequence[Pair]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.pairs):
            raise DataError(
                f"there are {len(self.features):,} pictures and {len(self.pairs):,} pairs", "give one pair per picture"
            )

    def __len__(self) -> int:
        return len(self.pairs)


def image_features(clip: CLIPModel, pixel_values: torch.Tensor, *, patches: bool = False) -> ImageFeatures:
    """One pass of the image tower without gradients; see ``models.clip.project_pixels``."""
    projected = project_pixels(clip, pixel_values, patches=patches)
    return ImageFeatures(projected[:, 0], projected if patches else None)


def cosine(images: Any, texts: Any) -> NDArray[np.float32]:
    """Cosine of each picture and each text, ``(n, k)`` in −1…1; a zero vector gives 0.

    Args:
        images, texts: (n, d) and (k, d) tensors or arrays, of any length.

    Raises:
        DataError: their widths differ.
    """
    left, right = (torch.as_tensor(x).detach().cpu().float() for x in (images, texts))
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise DataError(
            f"vectors of shape {tuple(left.shape)} and {tuple(right.shape)} have no cosine",
            "embed pictures and texts with the same CLIP model",
        )
    result: NDArray[np.float32] = (unit(left) @ unit(right).T).numpy()
    return result
