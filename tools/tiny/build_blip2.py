"""Train the tiny BLIP-2: ``python -m tools.tiny.build_blip2 blip2``.

As the published models were trained (Li et al., 2023, arXiv:2301.12597), with both stages at once: the Q-Former's
queries are aligned with words (there by contrast and matching, here by naming what they see), and the language model
writes what people remark about the picture.
"""

from __future__ import annotations

import random
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from helpers.models.vision_inputs import collate_vision, encode_vision
from tools.tiny import architectures_blip2
from tools.tiny.architectures import PICTURE
from tools.tiny.build import Recipe, command, fit, save, train_tokenizer
from tools.tiny.shoes import PICTURES, STRAY, album, remark, remarks, stray_line

# As many remarks as ``sentences`` make the tokenizer.
CHECKPOINTS = {"blip2": Recipe(vocabulary=480, sentences=3000, steps=5000, learning_rate=2e-3)}


def build(name: str, folder: Path, recipe: Recipe | None = None, stop: int | None = None) -> dict[str, Any]:
    """Train the checkpoint into `folder`; see ``build.build``.

    Losses are nats per token of a remark plus nats per word named.
    """
    import torch
    from torch import nn

    from tools.tiny.naming import Naming

    recipe = recipe or CHECKPOINTS[name]
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    seen = album(min(PICTURES, (stop or recipe.steps) * recipe.batch), recipe.seed, PICTURE)
    said = remarks(recipe.sentences, recipe.seed, rng)
    said += [stray_line(rng) for _ in range(int(STRAY * len(said)))]
    processor = architectures_blip2.blip2_processor(train_tokenizer(said, recipe.vocabulary))
    model = architectures_blip2.blip2(processor.tokenizer)
    naming = Naming(model.config.qformer_config.hidden_size)
    shown = cycle(seen)

    def next_loss() -> Any:
        chosen = list(islice(shown, recipe.batch))
        texts = [stray_line(rng) if rng.random() < STRAY else remark(shoe, rng) for shoe, _ in chosen]
        talks = [
            {
                "prompt": [{"role": "user", "content": [{"type": "image"}]}],
                "completion": [{"role": "assistant", "content": text}],
                "images": [picture],
            }
            for text, (_, picture) in zip(texts, chosen, strict=True)
        ]
        out = model(**collate_vision(processor, [encode_vision(processor, talk) for talk in talks]))
        queries = out.qformer_outputs.last_hidden_state.mean(1)
        return out.loss + naming(queries, [shoe for shoe, _ in chosen])

    losses = fit(nn.ModuleList([model, naming]), next_loss, recipe, stop)
    return save(model, processor, losses, folder)


if __name__ == "__main__":
    command(CHECKPOINTS, build, __doc__ or "")
