"""Parameters with which a lesson runs in profile ``full`` on the local Hub: real ids, sizes of profile ``smoke``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.config.lessons import find_lesson

# What profile ``full`` keeps as it is; all else that a table decides is a size.
KEPT = (
    "model_id", "reasoner_id", "quant", "lora_r", "lora_alpha", "lora_dropout", "lora_targets",
    "gradient_checkpointing",
)  # fmt: skip
TINY_PIXELS = 64 * 64  # what the tiny Qwen2-VL was trained on; larger pictures mean nothing to it
# Twenty keys and values do less in a model whose few weights are rounded to 4 bits: one answer in 240 named no choice.
PREFIX = "05_prefix_tuning"
KITCHEN = "Qwen/Qwen2-VL-7B-Instruct"  # the one on the local Hub that has seen food
SIZED = "HuggingFaceTB/SmolLM2-360M-Instruct"  # what is planned for it is what the local Hub gives
# Lessons that come on top of the seeds in profile smoke, for whose claims fewer rows are enough.
SMALLER: dict[str, dict[str, Any]] = {
    "01_eda": {"n_train": 300, "n_eval": 90},
    "02_zero_shot_baselines": {"n_train": 200, "n_eval": 60, "n_generate": 20},
    "03_qlora_nli": {"n_train": 600},
    "04_qlora_instruct": {"n_train": 240, "n_text": 240, "n_eval": 90, "n_generate": 30},
    "06_lora_vlm": {"n_train": 480, "n_eval": 200},
    "07_compositional_prompts": {"epochs": 4.0},
    "08_blip2_captioning": {"n_eval": 200, "epochs": 2.5},
    "10_adapters": {"n_train": 160, "n_eval": 20},  # the dialogues there have a test split of 20
    "11_low_rank": {"n_seeds": 1, "n_rates": 1},
    "12_scale_out": {"model_id": SIZED},
    "13_llm_as_adapter": {"dataset": "generator-small", "model_id": KITCHEN, "reasoner_id": KITCHEN},
}
SHOES = 1600  # pictures in the folder that stands for UT-Zappos50K, which is on Kaggle


def parameters(notebook: str, shoes: Path) -> dict[str, Any]:
    """Sizes of profile ``smoke`` for a notebook and its first task; ``shoes``: the folder of pictures."""
    spec = find_lesson(notebook)
    task = spec.tasks[0] if spec.tasks else "none"
    small = spec.defaults("smoke")
    chosen = {name: value for name, value in small.items() if value is not None and name not in KEPT}
    chosen |= SMALLER.get(notebook, {})
    if notebook == PREFIX:
        chosen["quant"] = small["quant"]
    if "check_memory" in spec.parameters:  # it plans for the published model, which need not fit here
        chosen["check_memory"] = False
    if "max_pixels" in spec.parameters:
        chosen["max_pixels"] = TINY_PIXELS
    return chosen | ({"dataset": str(shoes)} if task == "zappos" else {})
