"""Lesson 02: what a fine-tuned model has to beat."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, PLACE, TEXT_TASKS, Lesson, Shorter
from helpers.config.profiles import LLAMA2, SMOLLM2

LESSON = Lesson(
    id="02_zero_shot_baselines",
    title="The bar to beat",
    task_names=TEXT_TASKS,
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "recipes",
        "model_id": ("tiny/llama", SMOLLM2, LLAMA2),
        **DATA,
        "n_train": (400, 2000, 2000),
        "n_eval": (120, 120, 300),
        "n_generate": (40, 40, 150),
        "n_shots": 3,
        # Nothing is trained. A pass that writes a token takes hardly longer for many rows than for few.
        "batch_size": (8, 32, 4),
        "max_length": (192, 256, 1024),
        "max_new_tokens": (80, 96, 256),
        "quant": ("none", "none", "nf4-double"),
        **PLACE,
    },
    by_task={
        # The generator has about 1,450 dialogues to give.
        "dialogsum": {"n_train": (400, 1000, 2000), "n_eval": (120, 150, 300), "max_length": (256, 256, 1024)},
        "kitchen": {"max_length": (320, 320, 1024)},
    },
    figures=("accuracy", "random_heads"),
    # Reading the questions takes a third of the time, writing the texts half.
    shorter={"n_eval": Shorter(least=60, share=0.37), "n_generate": Shorter(least=10, share=0.5)},
)
