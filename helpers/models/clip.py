"""CLIP (Radford et al., 2021, arXiv:2103.00020): pictures and texts as unit vectors whose dot product is comparable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoConfig, CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from helpers.errors import DataError, ModelError
from helpers.models.load import ModelSource, _from_pretrained, load_tokenizer, load_with, resolve_model
from helpers.progress import each
from helpers.sources.pictures import as_rgb

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from helpers.machine.hardware import Machine

CLIP = "openai/clip-vit-base-patch32"
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP with its processor, and what is worth recording about them."""

    model: CLIPModel
    processor: Any
    source: ModelSource
    dtype: str

    @property
    def scale(self) -> float:
        """What the model multiplies cosines with to get logits: e to its learned ``logit_scale``."""
        return float(self.model.logit_scale.detach().float().exp())

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self.model.config.projection_dim)


def load_clip(model_id: str = CLIP, *, machine: Machine | None = None, dtype: str | None = None) -> LoadedClip:
    """Load a CLIP for this machine.

    Args:
        model_id: ``tiny/NAME``, a local folder or a Hub id.
        machine, dtype: see ``models.load``.

    Raises:
        ModelError: not found, no CLIP, or it does not fit into memory.
    """
    source = resolve_model(model_id)
    kind = _from_pretrained(AutoConfig, source).model_type
    if kind != "clip":
        raise ModelError(f"{model_id} is of kind {kind!r}, not a CLIP", f"use model_id={CLIP!r}")
    images = _from_pretrained(CLIPImageProcessorPil, source)
    processor = CLIPProcessor(images, load_tokenizer(model_id))
    loaded = load_with(CLIPModel, model_id, machine=machine, dtype=dtype)
    return LoadedClip(loaded.model, processor, source, loaded.dtype)


def image_features(clip: LoadedClip, images: Iterable[Image], *, batch_size: int = 64) -> FloatArray:
    """Vectors of pictures, in their order.

    Args:
        images: read one batch at a time, so an iterator over a large collection takes little memory.

    Returns:
        Unit rows, ``(n, d)``.

    Raises:
        DataError: a picture cannot be read; says which.
    """
    import torch

    rows = [np.zeros((0, clip.dimension), dtype=np.float32)]
    done = 0
    total = len(images) if isinstance(images, Sized) else None
    for pictures in each("embedding pictures", _chunks(images, batch_size), total, len):
        pixels = torch.stack([_pixels(clip, picture, done + i) for i, picture in enumerate(pictures)])
        rows.append(unit(project_pixels(clip.model, pixels)[:, 0]).cpu().numpy())
        done += len(pictures)
    return np.concatenate(rows)


def text_features(clip: LoadedClip, texts: Sequence[str], *, batch_size: int = 256) -> FloatArray:
    """Vectors of texts, in their order.

    A text longer than the model reads (77 tokens) is cut, its end token kept. One without content has a vector of
    zeros, whose cosine with anything is 0: the end token alone would be given a meaning.

    Returns:
        Unit rows, ``(n, d)``.
    """
    found = np.zeros((len(texts), clip.dimension), dtype=np.float32)
    written = [i for i, text in enumerate(texts) if text.strip()]
    if written:
        most = clip.model.config.text_config.max_position_embeddings
        ids = clip.processor.tokenizer([texts[i] for i in written], truncation=True, max_length=most)["input_ids"]
        found[written] = encode_ids(clip.model, ids, batch_size).numpy()
    return found


def project_pixels(model: CLIPModel, pixel_values: torch.Tensor, *, patches: bool = False) -> torch.Tensor:
    """One pass of the image tower without gradients: vectors in the space shared with text, not of unit length.

    The vector of a patch is made as that of the picture is from the class token: layer norm, then projection.

    Args:
        pixel_values: (n, 3, height, width) from the model's image processor.
        patches: keep them.

    Returns:
        (n, 1, d), or (n, 1 + patches, d) with that of the picture first; float32.
    """
    import torch

    weight = model.visual_projection.weight
    with torch.no_grad():
        hidden = model.vision_model(pixel_values=pixel_values.to(weight.device, weight.dtype)).last_hidden_state
        hidden = hidden if patches else hidden[:, :1]
        return model.visual_projection(model.vision_model.post_layernorm(hidden)).float()


def project_ids(model: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    """Unit vectors ``(n, d)`` of token ids ``(n, length)`` without padding, with gradients where they are wanted."""
    return unit(model.text_projection(model.text_model(input_ids=ids).pooler_output))


def encode_ids(model: CLIPModel, rows: Sequence[Sequence[int]], batch_size: int = 256) -> torch.Tensor:
    """Unit vectors ``(n, d)`` of token ids, without gradients, on the CPU.

    Texts of equal length share a batch, so none is padded.
    """
    import torch

    by_length: dict[int, list[int]] = defaultdict(list)
    for i, ids in enumerate(rows):
        by_length[len(ids)].append(i)
    found = torch.empty(len(rows), model.config.projection_dim)
    groups = [chosen for places in by_length.values() for chosen in _chunks(places, batch_size)]
    for chosen in each("embedding texts", groups, len(rows), len):
        batch = torch.tensor([list(rows[i]) for i in chosen], device=model.device)
        with torch.no_grad():
            found[chosen] = project_ids(model, batch).cpu()
    return found


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, rows of zeros as they are.

    In float32 before the length is taken: 16 bits would leave rows a thousandth too long or short.
    """
    from torch.nn import functional

    return functional.normalize(rows.float(), dim=-1)


def _pixels(clip: LoadedClip, picture: Image, index: int) -> Any:
    try:
        return clip.processor.image_processor(as_rgb(picture), return_tensors="pt")["pixel_values"][0]
    except (OSError, ValueError) as error:
        raise DataError(
            f"picture {index:,} ({picture.width} x {picture.height} pixels) cannot be read: {error}",
            "leave it out, or mend it",
        ) from error


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk
