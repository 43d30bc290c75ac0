"""Lesson 01: look at the data before training on it."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, MAIN_FORM, PLACE, TEXT_TASKS, Lesson
from helpers.config.profiles import LLAMA2, SMOLLM2

LESSON = Lesson(
    id="01_eda",
    title="Know the data",
    task_names=TEXT_TASKS,
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "recipes",
        "model_id": ("tiny/llama", SMOLLM2, LLAMA2),
        **DATA,
        "form": MAIN_FORM,
        "n_train": (400, 2000, 5000),
        "n_eval": (120, 300, 1000),
        "max_length": (192, 256, 1024),
        **PLACE,
    },
    by_task={
        # The generator has about 1,450 dialogues to give.
        "dialogsum": {"n_train": (400, 1000, 5000), "n_eval": (120, 150, 1000), "max_length": (256, 256, 1024)},
        "kitchen": {"form": "QAC", "max_length": (320, 320, 1024)},
    },
    figures=("lengths", "map"),
)
