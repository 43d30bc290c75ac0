"""SmolVLM's kind with small numbers, its weights drawn at random; no tiny checkpoint is trained of it."""

from __future__ import annotations

from typing import Any

from tools.tiny.architectures import PATCH, PICTURE, _shared

SMOL_TOKENS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
# As SmolVLM writes a conversation: begun once, roles in words, lists of parts only, a space before a text that
# opens a turn.
SMOL_TEMPLATE = (
    "{{ '<|im_start|>' }}{% for message in messages %}{{ message['role'] | capitalize + ':' }}"
    "{% if message['content'][0]['type'] != 'image' %}{{ ' ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<end_of_utterance>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def idefics3(tokenizer: Any) -> Any:
    """With 16 tokens a picture."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    text = {
        "model_type": "llama",
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    vision = {
        "hidden_size": 80,
        "intermediate_size": 240,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": PICTURE,
        "patch_size": PATCH,
    }
    config = Idefics3Config(
        text_config=text | _shared(tokenizer),
        vision_config=vision,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Idefics3ForConditionalGeneration(config)


def idefics3_processor(tokenizer: Any) -> Any:
    """Adds SmolVLM's picture tokens and chat format to `tokenizer`; one tile for each picture."""
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer.add_special_tokens({"additional_special_tokens": list(SMOL_TOKENS)})
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = "<|im_start|>", "<end_of_utterance>", "<|im_end|>"
    tokenizer.chat_template = SMOL_TEMPLATE
    tile = {"longest_edge": PICTURE}
    images = Idefics3ImageProcessorPil(do_image_splitting=False, size=tile, max_image_size=tile)
    tokens = (PICTURE // PATCH // 2) ** 2
    return Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=SMOL_TEMPLATE)
