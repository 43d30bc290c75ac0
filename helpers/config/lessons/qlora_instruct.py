"""Lesson 04: QLoRA instruction tuning."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, PLACE, RESUMABLE, TRAINED_FORMS, VALIDATION, Lesson, MemoryStep, Work
from helpers.config.profiles import LLAMA2, SMOLLM2

# Tokens of the Wikibooks recipes with SmolLM2's tokenizer: a recipe to write, and a question with four answers.
TEXTS, CHOICES = (82, 202, 258, 333, 860), (53, 67, 75, 84, 132)
SECRETS, PLANTED = (48,) * 5, 3.25  # tokens of a planted address, and rows for a canary

LESSON = Lesson(
    id="04_qlora_instruct",
    title="QLoRA instruction tuning",
    task_names=("recipes", "dialogsum"),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "recipes",
        "model_id": ("tiny/llama", SMOLLM2, LLAMA2),
        **DATA,
        "forms": TRAINED_FORMS,
        "n_train": (600, 1900, 2000),
        "n_text": (600, 100, 2000),
        "n_eval": (120, 700, 300),
        "n_generate": (40, 80, 150),
        "n_shots": 3,
        "n_canaries": 16,
        "epochs": (2.0, 1.0, 1.0),
        "learning_rate": (5e-3, 1e-3, 2e-4),
        "batch_size": (8, 8, 4),
        "grad_accumulation": (1, 1, 4),
        "gradient_checkpointing": (False, False, True),
        # On a CPU, 224 tokens rather than 256 keep a batch of the longest texts below 6 GB.
        "max_length": (192, 224, 1024),
        "max_new_tokens": (80, 96, 256),
        "lora_r": 16,
        "lora_alpha": 32,
        # Drawing dropout masks takes a fifth of a training step on a CPU; one epoch does not need them.
        "lora_dropout": (0.0, 0.0, 0.05),
        "quant": "nf4-double",
        "check_memory": True,
        **PLACE,
        **RESUMABLE,
    },
    by_task={
        # The generator has about 1,450 dialogues to give.
        "dialogsum": {"n_train": (600, 1000, 2000), "n_eval": (120, 150, 300), "max_length": (256, 224, 1024)},
    },
    memory=MemoryStep(
        "completion",
        prompt=512,
        completion=512,
        shots=1000,
        faster=True,
        besides=22.0,
        work=(
            # Without and with worked examples, which are read once; a question is read, and then its options.
            Work("before training", "read", ("n_eval",), 3, CHOICES, share=1 + VALIDATION),
            Work("before training", "write", ("n_generate",), 1, TEXTS),
            Work("before training", "write", ("n_generate",), 1, TEXTS, at_once=0.25),
            Work("before training", "read", ("n_generate",), 2, TEXTS),
            Work("training", "train", ("n_text",), 1, TEXTS),
            Work("training", "train", ("n_train",), 1, CHOICES),
            Work("training", "train", ("n_canaries",), 1, SECRETS, share=PLANTED),
            Work("training", "read", ("n_eval",), 4, TEXTS, most=16),
            Work("training", "read", ("n_eval",), 4, CHOICES, most=16),
            Work("after training", "write", ("n_generate",), 1, TEXTS),
            Work("after training", "read", ("n_generate",), 1, TEXTS),
            Work("after training", "read", ("n_eval",), 1.5, CHOICES),
            # Questions under four names, before and after; the planted rows alone at two ranks, in twice the passes.
            Work("before training", "read", ("n_eval",), 4, CHOICES, most=32),
            Work("after training", "read", ("n_eval",), 4, CHOICES, most=32),
            Work("other trainings", "train", ("n_canaries",), 4, SECRETS, share=PLANTED),
        ),
    ),
    figures=("training", "differences"),
    result="qlora",
)
