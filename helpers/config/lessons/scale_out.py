"""Lesson 12: from one GPU to several."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, PLACE, Lesson
from helpers.config.profiles import SMOLLM2

LESSON = Lesson(
    id="12_scale_out",
    title="From one GPU to several",
    task_names=("dialogsum",),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "dialogsum",
        # Two processes on a CPU stand for two cards in every profile: the model has to be one that a CPU trains.
        "model_id": ("tiny/llama", SMOLLM2, SMOLLM2),
        **DATA,
        "n_train": (51, 51, 59),
        "n_eval": (48, 40, 100),
        "learning_rate": (1e-2, 2e-3, 1e-3),
        "batch_size": 2,
        "max_length": (256, 224, 512),
        "lora_r": 8,
        "quant": "nf4-double",
        "plan_for": ("7B+70B", "7B+13B+34B+70B", "7B+13B+34B+70B"),
        **PLACE,
    },
    figures=("gaps", "who_works"),
)
