"""Train the tiny CLIP: ``python -m tools.tiny.build_clip clip``.

As the published models were trained: pictures and remarks of one batch are to find each other (Radford et al., 2021,
arXiv:2103.00020). Where two pictures of a batch have the same remark, each counts half. Two thousand steps are few, so
pictures are named as well: what there is to see gets into their vectors, whatever people call it.
"""

from __future__ import annotations

import random
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tools.tiny import architectures_clip
from tools.tiny.architectures import PICTURE
from tools.tiny.build import Recipe, command, fit, save
from tools.tiny.shoes import PICTURES, album, on_the_web, remarks

# As many remarks as ``sentences`` make the tokenizer.
CHECKPOINTS = {"clip": Recipe(vocabulary=700, sentences=3000, steps=2000, batch=64, learning_rate=2e-3)}


def build(name: str, folder: Path, recipe: Recipe | None = None, stop: int | None = None) -> dict[str, Any]:
    """Train the checkpoint into `folder`; see ``build.build``.

    Losses are nats of matching, the mean of both directions, plus nats per word named.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    from tools.tiny.naming import Naming

    recipe = recipe or CHECKPOINTS[name]
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    seen = album(min(PICTURES, (stop or recipe.steps) * recipe.batch), recipe.seed, PICTURE)
    words = remarks(recipe.sentences, recipe.seed, rng)
    processor = architectures_clip.clip_processor(architectures_clip.clip_tokenizer(words, recipe.vocabulary))
    pixels = processor.image_processor([picture for _, picture in seen], return_tensors="pt")["pixel_values"]
    model = architectures_clip.clip(processor.tokenizer)
    naming = Naming(model.config.projection_dim)
    places = cycle(range(len(seen)))

    def next_loss() -> Any:
        chosen = list(islice(places, recipe.batch))
        said = [on_the_web(seen[i][0], rng) for i in chosen]
        batch = processor.tokenizer(said, padding=True, return_tensors="pt")
        out = model(**batch, pixel_values=pixels[chosen])
        logits = out.logits_per_image
        same = torch.tensor([[float(a == b) for b in said] for a in said])
        target = same / same.sum(1, keepdim=True)
        matched = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        vectors = out.vision_model_output.pooler_output  # projected, not yet of unit length
        return matched + naming(vectors, [seen[i][0] for i in chosen])

    losses = fit(nn.ModuleList([model, naming]), next_loss, recipe, stop)
    return save(model, processor, losses, folder)


if __name__ == "__main__":
    command(CHECKPOINTS, build, __doc__ or "")
