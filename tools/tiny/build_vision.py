"""Train the tiny vision-language checkpoints: ``python -m tools.tiny.build_vision qwen2_vl``.

As ``build`` does for language models: real architecture, real processor, a small model that has seen pictures
described, and questions answered well by a textbook and at random by a class (see ``pictures``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from helpers.models.vision_inputs import collate_vision, encode_vision
from helpers.tasks.scienceqa.pictures import KINDS, sample
from tools.tiny import architectures, kitchen
from tools.tiny.build import Recipe, command, fit, save, train_tokenizer
from tools.tiny.pictures import DESCRIBE, STANDS_OUT, TEXTBOOK, describe, picture_chats, salad, stands_out, vocabulary

Reading = Callable[[Recipe, random.Random], tuple[list[str], Iterator[dict[str, Any]]]]


def science(recipe: Recipe, rng: random.Random) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Texts for a tokenizer and endless conversations about school science, see ``pictures``."""
    words = vocabulary(recipe.seed)
    sentences = salad(words.words, recipe.sentences, rng)
    pictures = [sample(kind, rng) for kind in KINDS for _ in range(100)]
    captions = [caption(picture) for picture in pictures for caption in (describe, stands_out)]
    return [*words.texts, *captions, *DESCRIBE, STANDS_OUT, *[TEXTBOOK] * 50], picture_chats(sentences, rng)


@dataclass(frozen=True)
class VisionCheckpoint:
    """One checkpoint: what makes a processor of a tokenizer, its architecture, how it is trained, and what it reads."""

    processor: Callable[[Any], Any]
    architecture: Callable[[Any], Any]
    recipe: Recipe
    reading: Reading = science


CHECKPOINTS = {
    "qwen2_vl": VisionCheckpoint(
        architectures.qwen2_vl_processor,
        architectures.qwen2_vl,
        Recipe(vocabulary=800, sentences=3000, steps=10000, learning_rate=2e-3),
    ),
    "paligemma": VisionCheckpoint(
        architectures.paligemma_processor,
        architectures.paligemma,
        Recipe(vocabulary=640, sentences=3000, steps=10000, learning_rate=2e-3),
    ),
    "qwen2_vl_kitchen": VisionCheckpoint(
        architectures.qwen2_vl_processor,
        architectures.qwen2_vl,
        Recipe(vocabulary=640, sentences=3000, steps=8000, learning_rate=2e-3),
        kitchen.reading,
    ),
}


def build(name: str, folder: Path, recipe: Recipe | None = None, stop: int | None = None) -> dict[str, Any]:
    """Train one tiny checkpoint into `folder`; see ``build.build``. Losses are in nats per answer token."""
    import torch

    checkpoint = CHECKPOINTS[name]
    recipe = recipe or checkpoint.recipe
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    texts, chats = checkpoint.reading(recipe, rng)
    processor = checkpoint.processor(train_tokenizer(texts, recipe.vocabulary))
    model = checkpoint.architecture(processor.tokenizer)

    def next_loss() -> Any:
        items = [encode_vision(processor, chat) for chat in islice(chats, recipe.batch)]
        return model(**collate_vision(processor, items)).loss

    return save(model, processor, fit(model, next_loss, recipe, stop), folder)


if __name__ == "__main__":
    command(CHECKPOINTS, build, __doc__ or "")
