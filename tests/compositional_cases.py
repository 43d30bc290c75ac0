"""What the compositional tests share: a very small random CLIP, its tokenizer, and a problem that can be learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from helpers.adapters.compositional import LabelledImages, closed_world
from helpers.adapters.compositional.features import ImageFeatures
from helpers.adapters.compositional.measures import Candidates

STATES = ["leather", "rubber", "faux fur", "suede", "wool"]
OBJECTS = ["boots", "sandals", "ankle boots", "slippers", "oxfords", "heels"]
UNSEEN = [
    ("leather", "sandals"), ("rubber", "ankle boots"), ("faux fur", "oxfords"), ("suede", "heels"),
    ("wool", "boots"), ("leather", "slippers"), ("suede", "boots"), ("rubber", "heels"),
]  # fmt: skip
SEEN = [(s, o) for s in STATES for o in OBJECTS if (s, o) not in UNSEEN]
SIZE = 16  # pixels
WIDTH = 32


def tokenizer(end: int = 2) -> PreTrainedTokenizerFast:
    """Word by word; the end token has the id `end`."""
    texts = [*STATES, *OBJECTS, "a photo of the picture showing , . big"]
    words = ["<pad>", "<bos>", "<unk>", *dict.fromkeys(word for text in texts for word in text.split())]
    words.insert(end, "<eos>")
    ids = {word: i for i, word in enumerate(words)}
    inner = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    inner.normalizer, inner.pre_tokenizer = Lowercase(), Whitespace()
    inner.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", ids["<bos>"]), ("<eos>", ids["<eos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def clip(words: Any, seed: int = 0, **text: Any) -> CLIPModel:
    """Random weights, wide enough that different texts and pictures get clearly different features."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": 0}
    config = CLIPConfig(
        text_config={"vocab_size": len(words), "max_position_embeddings": 16, **sizes, **special, **text},
        vision_config={"image_size": SIZE, "patch_size": 8, **sizes},
        projection_dim=WIDTH,
    )
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for table in (model.text_model.embeddings.token_embedding, model.text_model.embeddings.position_embedding):
            table.weight.normal_(std=0.3)
    return model


def image_processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})


def picture(i: int, size: int = SIZE) -> Image.Image:
    """One of many: a noisy patch of one colour."""
    rng = np.random.default_rng(i)
    colour = rng.integers(0, 256, 3)
    return Image.fromarray(np.clip(rng.normal(colour, 30, (size, size, 3)), 0, 255).astype(np.uint8))


def problem(seed: int, each: int = 8, noise: float = 0.7) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """Train, validation and test pictures; their features are state vector + object vector + noise.

    A patch shows the state, the object or neither; the picture's vector is the sum over its patches.
    """
    rng = np.random.default_rng(seed)
    vectors = {word: rng.normal(size=WIDTH) for word in (*STATES, *OBJECTS)}

    def draw(pairs: list[tuple[str, str]]) -> LabelledImages:
        rows = [pair for pair in pairs for _ in range(each)]
        patches = rng.normal(size=(len(rows), 5, WIDTH)) * noise
        for row, (state, thing) in zip(patches, rows, strict=True):
            row[1] += vectors[state]
            row[3] += vectors[thing]
        patches[:, 0] = patches[:, 1:].sum(axis=1)
        tensor = torch.tensor(patches, dtype=torch.float32)
        return LabelledImages(ImageFeatures(tensor[:, 0], tensor), rows)

    return draw(SEEN), draw(SEEN + UNSEEN), draw(SEEN + UNSEEN)


def candidates() -> Candidates:
    return closed_world(SEEN, UNSEEN)
