"""CLIPScore against a CLIP's own logits, and against the formula in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.errors import DataError
from helpers.evaluation.clipscore import PREFIX, clipscore
from helpers.models.clip import LoadedClip, image_features, text_features
from helpers.models.load import ModelSource
from tools.tiny import architectures_clip

RNG = np.random.default_rng(0)
TEXTS = [f"{PREFIX}a {colour} {kind}" for colour in ("red", "black", "brown") for kind in ("boot", "loafer")]


@pytest.fixture(scope="module")
def clip() -> LoadedClip:
    """Random towers; the text tower is large enough for captions to differ."""
    tokenizer = architectures_clip.clip_tokenizer(TEXTS, 560)
    torch.manual_seed(0)
    model = architectures_clip.clip(tokenizer).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3 if "token_embedding" in name else 0.1)
    return LoadedClip(model, architectures_clip.clip_processor(tokenizer), ModelSource("x", "x", "local"), "float32")


def pictures(count: int) -> list[Image.Image]:
    return [Image.fromarray(RNG.integers(0, 256, (80, 64, 3), dtype=np.uint8)) for _ in range(count)]


def own_cosines(clip: LoadedClip, images: list[Image.Image], texts: list[str]) -> np.ndarray:
    """From the model's own forward pass: logits are cosines times the learned scale."""
    inputs: Any = clip.processor(images=images, text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = clip.model(**inputs)
    return (output.logits_per_image / clip.model.logit_scale.detach().exp()).double().numpy()


def test_equals_the_models_own_logits(clip: LoadedClip) -> None:
    images = pictures(len(TEXTS))
    cosines = np.diag(own_cosines(clip, images, TEXTS))
    seen, read = image_features(clip, images, batch_size=4), text_features(clip, TEXTS, batch_size=4)
    scores = clipscore(seen, read)
    assert np.allclose(scores, 2.5 * np.clip(cosines, 0, None), atol=1e-5)
    signs = np.where(cosines > 0, 1, -1)[:, None]
    assert (clipscore(seen * signs, read) > 0).all() and (clipscore(-seen * signs, read) == 0).all()
    assert np.ptp(cosines) > 0.01  # rows mixed up would show


def test_lengths_do_not_matter_and_scores_stay_in_range() -> None:
    images, captions = RNG.normal(size=(50, 8)), RNG.normal(size=(50, 8))
    scores = clipscore(images, captions)
    assert scores.shape == (50,) and scores.min() == 0 and 0 < scores.max() <= 2.5
    assert np.allclose(clipscore(images * 7, captions * RNG.uniform(0.1, 9, (50, 1))), scores)
    assert np.allclose(clipscore(images, images), 2.5)


def test_what_has_no_content_scores_nothing() -> None:
    images, captions = RNG.normal(size=(3, 4)), np.zeros((3, 4))
    assert (clipscore(images, captions) == 0).all()
    assert clipscore(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: clipscore(np.ones((3, 4)), np.ones((2, 4))), "one caption for each picture"),
        (lambda: clipscore(np.ones((3, 4)), np.ones((3, 5))), "from the same CLIP"),
        (lambda: clipscore(np.ones(4), np.ones(4)), "one vector a row"),
        (lambda: clipscore(np.ones((2, 4)), np.full((2, 4), np.nan)), "captions is not finite"),
    ],
)
def test_wrong_shapes_are_one_clear_line(call: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_scores_follow_the_angle() -> None:
    """Two dimensions, one direction a colour: right captions score 2.5, wrong ones 0, halves between."""
    red, black = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    images = np.stack([red, red, red])
    captions = np.stack([red, black, red + black])
    assert np.allclose(clipscore(images, captions), [2.5, 0, 2.5 / np.sqrt(2)])
