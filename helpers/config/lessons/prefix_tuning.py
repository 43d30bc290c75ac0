"""Lesson 05: prefix tuning. Project B's settings, but for what was wrong in them."""

from __future__ import annotations

from typing import Any

from helpers.config.lessons.base import (
    DATA,
    ENDED,
    MAIN_FORM,
    ON_KITCHEN,
    PLACE,
    QUESTIONS,
    RESUMABLE,
    VALIDATION,
    Lesson,
    MemoryStep,
    Work,
)
from helpers.config.profiles import SMOLLM2

WATCHED: dict[str, Any] = {"share": 0.2, "most": 32}  # of the test questions, five times while a prefix is trained
WORK = (
    # Three prompts on validation questions, and on the test questions the two without worked examples and the best.
    Work("before training", "write", ("n_eval",), 2, QUESTIONS, share=1 + VALIDATION),
    Work("before training", "write", ("n_eval",), 1, QUESTIONS, share=VALIDATION, shots=3),
    Work("before training", "write", ("n_eval",), 1, QUESTIONS),
    Work("training", "train", ("n_train",), 1, QUESTIONS, grouped=False),
    Work("training", "write", ("n_eval",), 5, QUESTIONS, until=ENDED, **WATCHED),
    Work("training", "read", ("n_eval",), 4, QUESTIONS, share=VALIDATION),
    Work("after training", "write", ("n_eval",), 1, QUESTIONS, until=ENDED),
    # As published, for a quarter of the updates and for all; five other starts for a quarter; another kind of prefix.
    Work("other trainings", "train", ("n_train",), 3.5, QUESTIONS, grouped=False),
    Work("other trainings", "write", ("n_eval",), 10, QUESTIONS, until=ENDED, **WATCHED),
    Work("other trainings", "write", ("n_eval",), 5, QUESTIONS, share=VALIDATION, until=ENDED),
    Work("other trainings", "write", ("n_eval",), 3, QUESTIONS, until=ENDED),
)

LESSON = Lesson(
    id="05_prefix_tuning",
    title="Prefix tuning",
    task_names=("scienceqa", "kitchen"),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "scienceqa",
        # No vision-language model ships in a package: on a CPU a language model gets the questions in words.
        "model_id": ("tiny/qwen2_vl", SMOLLM2, "Qwen/Qwen2-VL-2B-Instruct"),
        **DATA,
        "form": MAIN_FORM,
        "n_train": (400, 160, 3000),
        "n_eval": (240, 100, 500),
        "epochs": 2.0,
        "learning_rate": (5e-2, 5e-2, 5e-3),
        # Checkpointing would drop the cache, and the prefix with it: fewer questions a pass, as many an update.
        "batch_size": (16, 8, 2),
        "grad_accumulation": (1, 1, 16),
        "max_new_tokens": (48, 48, 256),
        "max_pixels": (None, None, 256 * 28 * 28),
        "prefix": "key_value",
        "prefix_tokens": (20, 20, 50),
        "prefix_hidden": 0,
        "prefix_init": "text",
        "quant": ("none", "none", "nf4"),
        "check_memory": True,
        **PLACE,
        **RESUMABLE,
    },
    by_task={"kitchen": ON_KITCHEN},
    memory=MemoryStep(
        "vision",
        prompt=400,
        completion=112,
        method="",
        shots=600,
        shots_batch=4,
        faster=True,
        work=WORK,
        besides=20.0,
    ),
    figures=("invalid", "training"),
    result="prefix",
)
