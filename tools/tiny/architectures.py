"""The tiny models' shapes: the real classes of transformers with small numbers."""

from __future__ import annotations

from typing import Any

PICTURE = 64  # pixels a side that the tiny vision-language models see
PATCH = 8  # Qwen2-VL merges 2 × 2 of them into a token


def _shared(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def llama(tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        **_shared(tokenizer),
    )
    return LlamaForCausalLM(config)


def phi(tokenizer: Any) -> Any:
    from transformers import PhiConfig, PhiForCausalLM

    config = PhiConfig(
        hidden_size=128,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        partial_rotary_factor=0.5,
        resid_pdrop=0.0,
        **_shared(tokenizer),
    )
    return PhiForCausalLM(config)


def qwen2_vl(tokenizer: Any) -> Any:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in QWEN_TOKENS.items()}
    text = {
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 4, 4]},
        "tie_word_embeddings": True,
    }
    vision = {"depth": 3, "embed_dim": 96, "hidden_size": 96, "num_heads": 4, "mlp_ratio": 3}
    config = Qwen2VLConfig(
        text_config=text | _shared(tokenizer),
        vision_config=vision | {"patch_size": PATCH, "temporal_patch_size": 1},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        **ids,
    )
    return Qwen2VLForConditionalGeneration(config)


QWEN_TOKENS = {
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
}


def qwen2_vl_processor(tokenizer: Any) -> Any:
    """Adds Qwen2-VL's picture tokens and chat format to `tokenizer`."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from helpers.models.families.qwen2_vl_processor import PictureProcessor

    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_TOKENS.values())})
    tokenizer.chat_template = QWEN_TEMPLATE
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH, temporal_patch_size=1, merge_size=2, min_pixels=PICTURE**2, max_pixels=PICTURE**2
    )
    return PictureProcessor(images, tokenizer, chat_template=QWEN_TEMPLATE)


# ChatML whose contents may be texts or lists of pictures and texts; no default system message.
QWEN_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def paligemma(tokenizer: Any) -> Any:
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    text = {
        "model_type": "gemma",
        "hidden_size": 96,
        "intermediate_size": 224,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 24,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 80,
        "intermediate_size": 240,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": PICTURE,
        "patch_size": 16,
        "vision_use_head": False,
    }
    config = PaliGemmaConfig(
        text_config=text | _shared(tokenizer),
        vision_config=vision,
        projection_dim=96,
        hidden_size=96,
        vocab_size=len(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    return PaliGemmaForConditionalGeneration(config)


def paligemma_processor(tokenizer: Any) -> Any:
    """Adds PaliGemma's picture, location and segment tokens to `tokenizer`; there is no chat format."""
    from transformers import PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    images = SiglipImageProcessorPil(size={"height": PICTURE, "width": PICTURE})
    images.image_seq_length = (PICTURE // 16) ** 2
    tokenizer.chat_template = None
    return PaliGemmaProcessor(images, tokenizer)
