"""Lesson 11: how much rank an update needs, and low rank on purpose."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, PLACE, VALIDATION, Lesson, MemoryStep, Work
from helpers.config.profiles import SMOLLM2

TALKS = (62, 95, 125, 150, 196)  # tokens of a generated dialogue with its summary
# Trainings beside the one of rank lora_r: until each rank and full fine-tuning have a learning rate with a worse one on
# either side, and in profile cpu for other scales, penalties, variants and layers.
SEARCHED, FURTHER = 13, 24

LESSON = Lesson(
    id="11_low_rank",
    title="Rank on purpose",
    task_names=("dialogsum",),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "dialogsum",
        # Full fine-tuning takes 16 bytes a weight: of the models taught this one leaves a small GPU room for it.
        "model_id": ("tiny/llama", SMOLLM2, SMOLLM2),
        **DATA,
        "n_train": (40, 40, 1000),
        "n_eval": (48, 40, 200),
        "n_seeds": (3, 1, 3),
        "n_rates": (2, 2, 3),
        "ranks": ("1+8+64", "1+8+64", "1+2+4+8+16+64"),
        "penalties": ("nuclear+factor_l2", "nuclear", "nuclear+factor_l2+orthogonality"),
        # In the larger model 0.1 leaves nothing of the update but jitter, whose effective rank is higher again.
        "strengths": ("0.0001+0.001+0.01+0.1", "0.0001+0.001+0.003+0.01", "0.0001+0.001+0.003+0.01"),
        "epochs": 1.0,
        "learning_rate": (1e-2, 5e-3, 1e-3),
        "batch_size": (4, 4, 8),
        "max_length": (256, 224, 1024),
        "lora_r": 8,
        "lora_alpha": 16,
        "check_memory": True,
        **PLACE,
    },
    memory=MemoryStep(
        "completion",
        prompt=512,
        completion=64,
        method="full",
        faster=True,
        besides=20.0,
        work=(
            Work("before training", "read", ("n_eval",), 1, TALKS, share=1 + VALIDATION),
            Work("training", "train", ("n_train",), 1, TALKS),
            Work("training", "read", ("n_eval",), 1, TALKS, share=VALIDATION),
            Work("after training", "read", ("n_eval",), 6, TALKS),
            Work("other trainings", "train", ("n_train",), SEARCHED + FURTHER, TALKS),
            Work("other trainings", "read", ("n_eval",), SEARCHED + FURTHER, TALKS, share=0.7 + VALIDATION),
            # Signed rows: all, without four twice; their gradients and those of twelve questions; who signed.
            Work("other trainings", "train", ("n_train",), 4, TALKS, most=20),
            Work("other trainings", "read", ("n_eval",), 6, TALKS, most=24),
        ),
    ),
    figures=("rates", "low_rank"),
)
