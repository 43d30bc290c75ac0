"""A tiny CLIP: two towers of transformers' own class, and a tokenizer of CLIP's kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tools.tiny.architectures import PATCH, PICTURE

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def clip(tokenizer: Any) -> Any:
    """Two towers that meet in 64 dimensions, below 900,000 parameters for a vocabulary of 1,024."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,  # as in the published models
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 112,
        "intermediate_size": 288,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": PICTURE,
        "patch_size": PATCH,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def clip_tokenizer(sentences: Sequence[str], size: int) -> Any:
    """CLIP's tokenizer with at most `size` tokens, its merges learnt from `sentences`.

    Lower case; byte-level BPE inside words, whose last symbol is marked. The ids are in the published order: 256
    bytes, 256 bytes that end a word, merges, start, end. The text tower reads its result at the first end token; the
    published configurations do not name it and take the highest id of a row, which is the same here.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    raw = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    kind = CLIPTokenizer().backend_tokenizer
    raw.normalizer, raw.pre_tokenizer = kind.normalizer, kind.pre_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=letters, end_of_word_suffix=WORD_END, show_progress=False
    )
    raw.train_from_iterator(sentences, trainer)
    tokens = [*letters, *(letter + WORD_END for letter in letters)]
    learnt = [tuple(merge) for merge in json.loads(raw.to_str())["model"]["merges"]]
    merges = learnt[: max(0, size - len(tokens) - 2)]
    names = dict.fromkeys([*tokens, *("".join(merge) for merge in merges), START, END])
    vocab = {name: index for index, name in enumerate(names)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


def clip_processor(tokenizer: Any) -> Any:
    """CLIP's processor for square pictures of ``PICTURE`` pixels a side, cut from the middle."""
    from transformers import CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = CLIPImageProcessorPil(size={"shortest_edge": PICTURE}, crop_size={"height": PICTURE, "width": PICTURE})
    return CLIPProcessor(images, tokenizer)
