"""Lesson 13: logic over pictures of food, end to end and with a language model as adapter."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, ENDED, PLACE, RESUMABLE, VALIDATION, Lesson, MemoryStep, Work
from helpers.config.profiles import LLAMA2, SMOLLM2

# No vision-language model ships in a package: on a CPU a tiny one, kept in the repository, is the eye.
EYE = "tiny/qwen2_vl_kitchen"

# Tokens of a question with its solution: about a picture, with the scene in words, with facts too; of a description.
SEEN, TOLD, KNOWN = (70, 89, 94, 100, 113), (70, 109, 114, 121, 134), (79, 120, 128, 140, 158)
LOOKED = (41, 44, 44, 45, 46)
WORK = (
    # As it is, and with words in front.
    Work("before training", "write", ("n_eval",), 2, SEEN, pictures=True),
    Work("before training", "write", ("n_eval",), 1, KNOWN, reasoner=True),
    Work("training", "train", ("n_train",), 1, SEEN, grouped=False),
    Work("training", "read", ("n_eval",), 4, SEEN, share=VALIDATION),
    # In three states of focus, blind, and the deeper questions; the reasoner on what is true and what was seen.
    Work("after training", "write", ("n_eval",), 4.5, SEEN, until=ENDED, pictures=True),
    # The eye in three states of focus, and before it was trained.
    Work("other trainings", "write", ("n_eval",), 4, LOOKED, until=ENDED / 2, pictures=True),
    Work("other trainings", "write", ("n_eval",), 4, TOLD, until=ENDED, reasoner=True),
    Work("other trainings", "write", ("n_eval",), 2, KNOWN, until=ENDED, reasoner=True),
    # Beside the first training: the eye, the reasoner in two ways, and all but the eye without some of the questions.
    Work("other trainings", "train", ("n_train",), 1, LOOKED, grouped=False),
    Work("other trainings", "train", ("n_train",), 1, SEEN, grouped=False),
    Work("other trainings", "train", ("n_train",), 3, TOLD, grouped=False, reasoner=True),
    Work("other trainings", "train", ("n_train",), 2, KNOWN, grouped=False, reasoner=True),
    Work("other trainings", "write", ("n_eval",), 0.5, SEEN, until=ENDED, pictures=True),
    Work("other trainings", "write", ("n_eval",), 1.5, TOLD, until=ENDED, reasoner=True),
)

LESSON = Lesson(
    id="13_llm_as_adapter",
    title="An LLM as adapter",
    task_names=("kitchen",),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "kitchen",
        "model_id": (EYE, EYE, "Qwen/Qwen2-VL-2B-Instruct"),
        "reasoner_id": (EYE, SMOLLM2, LLAMA2),
        # The tiny eye knows the small menu only.
        **DATA | {"dataset": ("builtin", "generator-small", "builtin")},
        "n_train": (400, 200, 3000),
        "n_eval": (240, 150, 600),
        "epochs": (1.0, 1.0, 2.0),
        "learning_rate": (5e-3, 5e-3, 2e-4),
        "batch_size": (16, 8, 4),
        "grad_accumulation": (1, 1, 8),
        "gradient_checkpointing": (False, False, True),
        "max_new_tokens": (64, 80, 160),
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
    memory=MemoryStep(
        "vision",
        prompt=200,
        completion=96,
        answer_batch=8,
        language_only=True,
        faster=True,
        work=WORK,
        besides=20.0,
    ),
    figures=("depths", "blur"),
)
