"""Lesson 03: QLoRA for classification. Project E's settings, but for what was wrong in them."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, PLACE, RESUMABLE, VALIDATION, Lesson, MemoryStep, Shorter, Work
from helpers.config.profiles import SMOLLM2

# Tokens of a pair: assumed from SNLI's published means (14 and 8 words), and of one that is padded to max_length.
PAIRS, PADDED = (14, 22, 27, 33, 78), (128,) * 5
ASKED = (42, 50, 55, 61, 106)  # as a question in a chat

LESSON = Lesson(
    id="03_qlora_nli",
    title="QLoRA for classification",
    task_names=("snli",),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "snli",
        "model_id": ("tiny/phi", SMOLLM2, "microsoft/phi-2"),
        **DATA,
        "classifier": "head",
        "head": "trained",
        "padding": "dynamic",
        "n_train": (900, 1000, 1000),
        "n_eval": (300, 300, 100),
        "epochs": (3.0, 3.0, 5.0),
        "learning_rate": (2e-3, 5e-4, 1e-4),
        # As published an update sees 16 pairs; on a GPU they would take 20 GB in one pass, 11 in two.
        "batch_size": (16, 16, 8),
        "grad_accumulation": (1, 1, 2),
        "gradient_checkpointing": False,
        "max_length": 128,
        "lora_r": 16,
        "lora_alpha": 64,
        # Drawing dropout masks takes a fifth of a training step on a CPU.
        "lora_dropout": (0.0, 0.0, 0.05),
        "lora_targets": ("q_proj+v_proj+fc1+fc2", "all-linear", "q_proj+v_proj+fc1+fc2"),
        "quant": "nf4",
        "check_memory": True,
        **PLACE,
        **RESUMABLE,
    },
    memory=MemoryStep(
        "classify",
        prompt=128,
        completion=1,
        shots=240,
        faster=True,
        besides=18.0,
        work=(
            # The labels' words without and with three solved questions; the classifier bare and with its adapter.
            Work("before training", "read", ("n_eval",), 1, ASKED, share=1 + VALIDATION),
            Work("before training", "read", ("n_eval",), 1, ASKED, share=1 + VALIDATION, shots=3),
            Work("before training", "read", ("n_eval",), 2, PAIRS),
            Work("training", "train", ("n_train",), 1, PAIRS),
            Work("training", "read", ("n_eval",), 4, PAIRS, share=VALIDATION),
            Work("after training", "read", ("n_eval",), 4, PAIRS),
            # A quarter of the pairs twice; a ninth of the updates twice with few pairs, watched on the way and tested
            # at the best point and at the end; nine batches of pairs, two of padded ones.
            Work("other trainings", "train", ("n_train",), 0.77, PAIRS),
            Work("other trainings", "train", ("n_train",), 0.011, PADDED),
            Work("other trainings", "read", ("n_eval",), 6, PAIRS),
            Work("other trainings", "read", ("n_eval",), 12, PAIRS, share=VALIDATION),
        ),
    ),
    figures=("learning_curve", "reliability"),
    result="qlora",
    # Every training of the lesson takes a part of these pairs. With 250 of them a model without a network is better.
    shorter={"n_train": Shorter(least=600, share=0.6), "n_eval": Shorter(least=200, share=0.2)},
)
