"""Lesson 06: LoRA on a vision-language model."""

from __future__ import annotations

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

ALONE = (55, 61, 69, 74, 79)  # tokens of a question with a choice that has no solution before it
OPTIONS = 3  # choices of a question, each of which is read to be rated
WORK = (
    # As written and by the likelihood of each choice; three other prompts; on validation questions three prompts, two
    # without worked examples, in both ways; on the test questions the best of them.
    Work("before training", "write", ("n_eval",), 4, QUESTIONS),
    Work("before training", "read", ("n_eval",), 1, QUESTIONS, share=OPTIONS),
    Work("before training", "write", ("n_eval",), 2, QUESTIONS, share=VALIDATION),
    Work("before training", "write", ("n_eval",), 1, QUESTIONS, share=VALIDATION, shots=3),
    Work("before training", "read", ("n_eval",), 2, ALONE, share=OPTIONS * VALIDATION),
    Work("before training", "read", ("n_eval",), 1, ALONE, share=OPTIONS * VALIDATION, shots=3),
    Work("before training", "read", ("n_eval",), 1, ALONE, share=OPTIONS),
    Work("training", "train", ("n_train",), 1, QUESTIONS, grouped=False),
    Work("training", "read", ("n_eval",), 4, QUESTIONS, share=VALIDATION),
    Work("after training", "write", ("n_eval",), 4, QUESTIONS, until=ENDED),
    Work("after training", "read", ("n_eval",), 1, QUESTIONS, share=OPTIONS),
    # Half of the questions have a picture: taken away, replaced, and in five resolutions.
    Work("after training", "write", ("n_eval",), 9, QUESTIONS, share=0.5, until=ENDED, pictures=True),
    Work("other trainings", "train", ("n_train",), 1, QUESTIONS, grouped=False),
    Work("other trainings", "write", ("n_eval",), 1, QUESTIONS, until=ENDED),
    Work("other trainings", "read", ("n_eval",), 1, QUESTIONS, share=OPTIONS),
)

LESSON = Lesson(
    id="06_lora_vlm",
    title="LoRA on a vision-language model",
    task_names=("scienceqa", "kitchen"),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "scienceqa",
        # No vision-language model ships in a package: on a CPU a language model gets the questions in words.
        "model_id": ("tiny/qwen2_vl", SMOLLM2, "Qwen/Qwen2-VL-2B-Instruct"),
        **DATA,
        "form": MAIN_FORM,
        "teacher": "simulated",
        "others": None,
        "n_train": (600, 240, 3000),
        "n_eval": (240, 100, 500),
        "epochs": 2.0,
        "learning_rate": (5e-3, 5e-3, 2e-4),
        "batch_size": (16, 8, 4),
        "grad_accumulation": (1, 1, 8),
        "gradient_checkpointing": (False, False, True),
        "max_new_tokens": (48, 48, 256),
        "max_pixels": (None, None, 256 * 28 * 28),
        "lora_r": (16, 16, 8),
        "lora_alpha": (32, 32, 16),
        "lora_dropout": (0.0, 0.0, 0.05),
        "lora_targets": "q_proj+v_proj",
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
        answer_batch=3,
        language_only=True,
        shots=600,
        shots_batch=3,
        rated=5,
        faster=True,
        work=WORK,
        besides=22.0,
    ),
    figures=("groups", "resolution"),
    result="gold",
)
