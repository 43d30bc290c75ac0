"""Lesson 08: BLIP-2 captions. Project C's settings, but for what was wrong in them."""

from __future__ import annotations

from helpers.config.lessons.base import DATA, ENDED, PLACE, RESUMABLE, VALIDATION, Lesson, MemoryStep, Work

CAPTIONS = (10, 11, 12, 12, 14)  # tokens of a caption
WORK = (
    Work("before training", "write", ("n_eval",), 1, CAPTIONS),
    Work("training", "train", ("n_train",), 1, CAPTIONS, grouped=False),
    Work("training", "read", ("n_eval",), 2, CAPTIONS, share=VALIDATION, each_epoch=True),
    Work("after training", "write", ("n_eval",), 1, CAPTIONS, until=ENDED),
    Work("after training", "read", ("n_eval",), 1, CAPTIONS, share=VALIDATION),
    Work("other trainings", "train", ("n_train",), 1, CAPTIONS, grouped=False),
    Work("other trainings", "read", ("n_eval",), 2, CAPTIONS, share=VALIDATION, each_epoch=True),
    Work("other trainings", "write", ("n_eval",), 1, CAPTIONS, until=ENDED),
)

LESSON = Lesson(
    id="08_blip2_captioning",
    title="BLIP-2 captions",
    task_names=("zappos",),
    parameters={  # (smoke, cpu, full)
        "profile": "auto",
        "task": "zappos",
        # No BLIP-2 ships in a package: on a CPU the tiny one, with more pictures.
        "model_id": ("tiny/blip2", "tiny/blip2", "Salesforce/blip2-opt-2.7b"),
        **DATA,
        "n_train": (300, 2000, 800),
        "n_eval": (240, 500, 200),
        "epochs": (4.0, 4.0, 15.0),
        "learning_rate": (5e-3, 5e-3, 5e-4),
        "batch_size": (8, 8, 3),
        "grad_accumulation": (1, 1, 5),
        "gradient_checkpointing": False,
        "max_new_tokens": 32,
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": (0.0, 0.0, 0.1),
        "lora_targets": "q_proj+v_proj",
        "quant": ("none", "none", "nf4"),
        "check_memory": True,
        **PLACE,
        **RESUMABLE,
    },
    memory=MemoryStep("vision", prompt=4, completion=24, work=WORK, besides=20.0),
    result="repaired",
)
