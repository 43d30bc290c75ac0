"""Tiny random models of six families, and batches for them, as the tests of prefixes use them.

Weights are drawn wide, so that a wrong position, mask or picture shows in the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

VOCABULARY = 60
PAD, IMAGE, START = 0, 50, 51
WIDE = 0.2
TEXT = [7, 23, 11, 38, 5]  # what the prefix stands for
ROWS = [[9, 14, 33, 21], [27, 6, 12, 18, 40, 3, 15], [31, 8, 44]]
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {"intermediate_size": 48, "initializer_range": WIDE, "pad_token_id": PAD}


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SIZES, **GATED, num_key_value_heads=2, max_position_embeddings=64))


def _phi() -> PreTrainedModel:
    return PhiForCausalLM(PhiConfig(**SIZES, **GATED, partial_rotary_factor=0.5, max_position_embeddings=64))


def _opt() -> PreTrainedModel:
    config = OPTConfig(
        **SIZES, ffn_dim=48, word_embed_proj_dim=32, init_std=WIDE, dropout=0.0, max_position_embeddings=64,
        pad_token_id=PAD,
    )  # fmt: skip
    return OPTForCausalLM(config)


def _paligemma() -> PreTrainedModel:
    config = PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 8, "patch_size": 4, "projection_dim": 32,
        },
        text_config={
            "model_type": "gemma", **SIZES, **GATED, "num_key_value_heads": 1, "head_dim": 8,
            "max_position_embeddings": 64,
        },
        image_token_id=IMAGE, projection_dim=32,
    )  # fmt: skip
    return PaliGemmaForConditionalGeneration(config)


def _qwen2_vl() -> PreTrainedModel:
    config = Qwen2VLConfig(
        text_config={
            **SIZES, **GATED, "num_key_value_heads": 2, "max_position_embeddings": 64,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
        },
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2},
        image_token_id=IMAGE, vision_start_token_id=START, video_token_id=52, vision_end_token_id=53,
    )  # fmt: skip
    return Qwen2VLForConditionalGeneration(config)


def _idefics3() -> PreTrainedModel:
    config = Idefics3Config(
        text_config={
            "model_type": "llama", **SIZES, **GATED, "num_key_value_heads": 2, "max_position_embeddings": 64,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 8, "patch_size": 2,
        },
        image_token_id=IMAGE, scale_factor=2,
    )  # fmt: skip
    return Idefics3ForConditionalGeneration(config)


@dataclass(frozen=True)
class Case:
    """One family: how its model is made and how its inputs look."""

    name: str
    make: Callable[[], PreTrainedModel]
    pictures: bool = False

    def model(self, seed: int = 0) -> PreTrainedModel:
        torch.manual_seed(seed)
        model = self.make().eval()
        for parameter in model.parameters():  # not every family draws all its weights with the range it is given
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=WIDE)
        model.generation_config.eos_token_id = None
        model.generation_config.pad_token_id = PAD
        return model

    def row(self, index: int) -> dict[str, Any]:
        """Token ids of one row and, where the family sees, its picture in the processor's format."""
        ids = list(ROWS[index])
        torch.manual_seed(100 + index)
        if self.name == "paligemma":
            return {"ids": [IMAGE] * 4 + ids, "pixel_values": torch.randn(1, 3, 8, 8)}
        if self.name == "qwen2_vl" and index != 1:  # the second row has no picture
            height, width = (4, 4) if index == 0 else (2, 6)
            picture = [START, *[IMAGE] * (height * width // 4), 53]
            return {
                "ids": [ids[0], *picture, *ids[1:]],
                "pixel_values": torch.randn(height * width, 3 * 2 * 4 * 4),
                "image_grid_thw": torch.tensor([[1, height, width]]),
            }
        if self.name == "idefics3" and index != 1:
            return {
                "ids": [ids[0], START, *[IMAGE] * 4, START, *ids[1:]],
                "pixel_values": torch.randn(1, 1, 3, 8, 8),
                "pixel_attention_mask": torch.ones(1, 1, 8, 8, dtype=torch.long),
            }
        return {"ids": ids}

    def batch(
        self, rows: Sequence[int], *, side: str = "left", before: Sequence[int] = (), suffix: int = 0
    ) -> dict[str, torch.Tensor]:
        """Padded inputs; `before` is put in front of every row, the last `suffix` tokens are to be predicted."""
        parts = [self.row(i) for i in rows]
        texts = [[*before, *part["ids"]] for part in parts]
        width = max(map(len, texts))

        def padded(values: list[list[int]], fill: int) -> torch.Tensor:
            return torch.tensor(
                [[fill] * (width - len(v)) + v if side == "left" else v + [fill] * (width - len(v)) for v in values]
            )

        inputs = {"input_ids": padded(texts, PAD), "attention_mask": padded([[1] * len(t) for t in texts], 0)}
        for name in ("pixel_values", "pixel_attention_mask", "image_grid_thw"):
            found = [part[name] for part in parts if name in part]
            if found:
                inputs[name] = torch.cat(found)
        if self.name == "paligemma":
            kinds = [[0] * (len(t) - suffix) + [1] * suffix for t in texts]
            inputs["token_type_ids"] = padded(kinds, 0)
        if self.name == "qwen2_vl":
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == IMAGE).int()
        return inputs

    def labels(self, inputs: dict[str, torch.Tensor], suffix: int) -> torch.Tensor:
        """Labels on the last `suffix` real tokens of each row."""
        left = inputs["attention_mask"].flip(1).cumsum(1).flip(1)
        wanted = (left <= suffix) & (inputs["attention_mask"] == 1)
        return inputs["input_ids"].masked_fill(~wanted, -100)


CASES = [
    Case("llama", _llama), Case("phi", _phi), Case("opt", _opt),
    Case("paligemma", _paligemma, True), Case("qwen2_vl", _qwen2_vl, True), Case("idefics3", _idefics3, True),
]  # fmt: skip


def real(logits: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """The logits of each row's real tokens."""
    return [row[kept.bool()] for row, kept in zip(logits, mask, strict=True)]


def one_way(text: int, prompt: int, suffix: int) -> torch.Tensor:
    """PaliGemma's mask for text + prompt + suffix in one pass where the text was read before the rest, 4-D.

    Text sees text; the prompt sees text and prompt; the suffix sees all before it.
    """
    length = text + prompt + suffix
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[:text, :text] = True
    mask[text : text + prompt, : text + prompt] = True
    return mask[None, None]
