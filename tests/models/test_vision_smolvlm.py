"""SmolVLM as it is published: files of an older form, one tile a picture, its chat format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from idefics3_cases import idefics3_processor
from PIL import Image

from helpers.errors import ModelError
from helpers.models.vision import load_processor
from helpers.models.vision_inputs import encode_vision
from tools.tiny.build import train_tokenizer

SMOLVLM = {  # sizes of SmolVLM-256M-Instruct, with settings of its time that no class reads any more
    "architectures": ["Idefics3ForConditionalGeneration"],
    "model_type": "idefics3",
    "image_token_id": 49190,
    "scale_factor": 4,
    "text_config": {
        "architectures": ["VLlama3ForCausalLM"], "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49280, "pixel_shuffle_factor": 4,
    },
    "vision_config": {
        "model_type": "idefics3", "hidden_size": 768, "image_size": 512, "patch_size": 16, "num_attention_heads": 12,
        "max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}, "use_base_siglip": False,
    },
}  # fmt: skip
PICTURES = {
    "image_processor_type": "Idefics3ImageProcessor", "processor_class": "Idefics3Processor", "resample": 1,
    "do_image_splitting": True, "max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048},
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
}  # fmt: skip


@pytest.fixture
def smolvlm(tmp_path: Path) -> Path:
    """A folder with the files of the Hub's SmolVLM in their older form, but for the weights and the vocabulary."""
    tokenizer = train_tokenizer(["User: Is it so? Assistant: yes"], 300)
    template = idefics3_processor(tokenizer).chat_template
    tokenizer.chat_template, tokenizer.eos_token = None, "<|im_end|>"
    tokenizer.save_pretrained(tmp_path)
    written = {
        "config.json": SMOLVLM, "preprocessor_config.json": PICTURES, "chat_template.json": {"chat_template": template},
        "processor_config.json": {"image_seq_len": 81, "processor_class": "Idefics3Processor"},  # not its own length
    }  # fmt: skip
    for name, content in written.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert not (tmp_path / "chat_template.jinja").exists()
    return tmp_path


def test_a_published_smolvlm_shows_each_picture_as_one_tile(smolvlm: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 700, 3), dtype=np.uint8))
    content = [{"type": "image"}, {"type": "text", "text": "Is it so?"}, {"type": "image"}]
    talk = {
        "prompt": [{"role": "user", "content": content}],
        "completion": [{"role": "assistant", "content": "yes"}],
        "images": [picture, picture.rotate(90, expand=True)],
    }
    for most in (None, 512 * 512):
        processor = load_processor(str(smolvlm), most)
        item = encode_vision(processor, talk)
        seen = "<fake_token_around_image><global-img>" + "<image>" * 64 + "<fake_token_around_image>"
        prompt = f"<|im_start|>User:{seen}Is it so?{seen}<end_of_utterance>\nAssistant:"
        assert processor.tokenizer.decode(item.prompt_ids) == prompt
        assert processor.tokenizer.decode(item.completion_ids) == " yes<end_of_utterance>"
        assert {n: tuple(p.shape) for n, p in item.pixels.items()} == {
            "pixel_values": (2, 1, 3, 512, 512), "pixel_attention_mask": (2, 1, 512, 512),
        }  # fmt: skip
        assert item.pixels["pixel_attention_mask"].all()
        small = item.pixels["pixel_values"][0, 0, :, ::8, ::8]
        assert small.std() > 0.1 and small.min() >= -1 and small.max() <= 1
    with pytest.raises(ModelError, match="one tile of 512 x 512 pixels"):
        load_processor(str(smolvlm), 384 * 384)


def test_a_model_without_a_chat_format_is_refused(smolvlm: Path) -> None:
    (smolvlm / "chat_template.json").unlink()
    with pytest.raises(ModelError, match="has no chat format") as caught:
        load_processor(str(smolvlm))
    assert "instruction-tuned" in str(caught.value) and "\n" not in str(caught.value)
