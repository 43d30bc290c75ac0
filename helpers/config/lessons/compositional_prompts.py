"""Lesson 07: compositional prompts for CLIP."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, PLACE, RESUMABLE, Lesson, MemoryStep, Work

# Four trainings on the pictures of the pairs that are shown, two fifths of all. Every update reads all prompts, and
# Troika, which two of them train, three kinds of them.
PROMPT = (16,) * 5
WORK = (
    Work("training", "train", ("n_train",), 1, PROMPT, share=0.44, grouped=False),
    Work("other trainings", "train", ("n_train",), 7, PROMPT, share=0.44, grouped=False),
)

LESSON = Lesson(
    id="07_compositional_prompts",
    title="Compositional prompts",
    task_names=("zappos",),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "zappos",
        # No CLIP ships in a package: on a CPU the tiny one, with more pictures.
        "model_id": ("tiny/clip", "tiny/clip", "openai/clip-vit-base-patch32"),
        **DATA,
        "n_train": (1200, 6000, 20_667),
        "n_eval": (300, 1000, 2500),
        "epochs": (6.0, 15.0, 15.0),
        "learning_rate": (5e-3, 5e-3, 5e-4),
        "batch_size": (64, 64, 128),
        "check_memory": True,
        **PLACE,
        **RESUMABLE,
    },
    # Pictures are embedded before; a step has as many prompts as there are pairs of words.
    memory=MemoryStep(
        "contrast",
        prompt=16,
        completion=1,
        answer_batch=1,
        method="soft",
        batch_is_fixed=True,
        usual_rows=40,
        work=WORK,
        besides=28.0,
    ),
    result="Troika",
)
