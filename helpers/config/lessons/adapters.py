"""Lesson 10: adapters in use."""

from __future__ import annotations

from helpers.config.lessons.base import PLACE, RESUMABLE, Lesson, MemoryStep, Work
from helpers.config.profiles import LLAMA2, SMOLLM2

TEXTS, PAIRS = (70, 120, 160, 220, 384), (42, 50, 55, 61, 106)  # tokens of a recipe or a dialogue, and of a question
SYSTEMS = 15  # the base, three adapters, eleven ways to combine them

LESSON = Lesson(
    id="10_adapters",
    title="Adapters in use",
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "model_id": ("tiny/llama", SMOLLM2, LLAMA2),
        "adapters": None,
        "n_train": (200, 120, 600),
        "n_eval": (48, 36, 150),
        "epochs": (2.0, 2.0, 1.0),
        "learning_rate": (5e-3, 2e-3, 2e-4),
        "batch_size": (8, 8, 2),
        "max_length": (256, 224, 1024),
        "max_new_tokens": (48, 48, 128),
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_targets": ("all-linear", "q_proj+v_proj", "q_proj+v_proj"),
        "quant": "nf4",
        "push": False,
        "repo_id": None,
        "check_memory": True,
        **PLACE,
        **RESUMABLE,
    },
    memory=MemoryStep(
        "completion",
        prompt=512,
        completion=384,
        faster=True,
        besides=40.0,
        work=(
            Work("training", "train", ("n_train",), 2, TEXTS),
            Work("training", "train", ("n_train",), 4, PAIRS),
            Work("after training", "read", ("n_eval",), 2 * SYSTEMS, TEXTS),
            Work("after training", "read", ("n_eval",), 2 * SYSTEMS, PAIRS),
            Work("after training", "write", ("n_eval",), 2, TEXTS, most=24),
            Work("after training", "write", ("n_eval",), 4, PAIRS, most=26),  # instructions, by the base and by each
        ),
    ),
    figures=("combined", "weights"),
    data="recipes, dialogues, pairs of sentences",
)
