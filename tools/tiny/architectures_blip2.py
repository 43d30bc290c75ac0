"""A tiny BLIP-2: vision tower, Q-Former with eight queries and an OPT, of transformers' own class."""

from __future__ import annotations

from typing import Any

from tools.tiny.architectures import PATCH, PICTURE, _shared

QUERIES = 8  # the published models have 32
# One over the root of the width, up to the picture's tokens. With the usual 0.02 they differ between pictures by a
# fiftieth of what they differ between queries.
INIT = 0.1


def blip2(tokenizer: Any) -> Any:
    """Below 950,000 parameters for a vocabulary of 800 and the image token."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    vision = {
        "hidden_size": 96,
        "intermediate_size": 288,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": PICTURE,
        "patch_size": PATCH,
        "initializer_range": INIT,  # the class's own, 1e-10, is for weights that are loaded
    }
    qformer = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "cross_attention_frequency": 2,
        "initializer_range": INIT,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    text = {
        "model_type": "opt",
        "hidden_size": 96,
        "ffn_dim": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "dropout": 0.0,
    }
    config = Blip2Config(
        vision_config=vision,
        qformer_config=qformer,
        text_config=text | _shared(tokenizer) | {"max_position_embeddings": 128},
        num_query_tokens=QUERIES,
        initializer_range=INIT,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    # transformers starts the queries at zero, where a layer norm's gradient is a million times too large. The authors
    # draw them (Li et al., 2023, arXiv:2301.12597, in their code).
    torch.nn.init.normal_(model.query_tokens, std=INIT)
    return model


def blip2_processor(tokenizer: Any) -> Any:
    """Adds BLIP-2's image token to `tokenizer`; there is no chat format."""
    from transformers import Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    tokenizer.chat_template = None
    images = BlipImageProcessorPil(size={"height": PICTURE, "width": PICTURE})
    return Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)
