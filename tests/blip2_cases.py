"""A small BLIP-2 with random weights, and what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from vision_cases import randomise

from tools.tiny import architectures_blip2, build

CAPTIONS = [
    f"A photo of {kind} with {colour} color and {material} material"
    for kind in ("ankle boots", "oxfords", "sandals")
    for colour in ("black", "white", "brown", "red")
    for material in ("leather", "an unspecified", "rubber")
]


QUESTION = "Question: which shoe is it? Answer:"


def noise(seed: int = 0, width: int = 90, height: int = 64) -> Image.Image:
    """A picture of noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def talk(seed: int = 0, text: str = "", caption: str = "") -> dict[str, Any]:
    """A conversation about a picture of noise."""
    content = [{"type": "image"}, *([{"type": "text", "text": text}] if text else [])]
    chat: dict[str, Any] = {"prompt": [{"role": "user", "content": content}], "images": [noise(seed)]}
    return chat | ({"completion": [{"role": "assistant", "content": caption}]} if caption else {})


def write_blip2(place: Path) -> Path:
    """Save a checkpoint with random weights, large enough for clear preferences, in ``place``."""
    tokenizer = build.train_tokenizer([*CAPTIONS, QUESTION, "\n"], 480)
    processor = architectures_blip2.blip2_processor(tokenizer)
    torch.manual_seed(0)
    model = architectures_blip2.blip2(processor.tokenizer)
    randomise(model, tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<image>"), stop=4)
    model.save_pretrained(place)
    processor.save_pretrained(place)
    return place
