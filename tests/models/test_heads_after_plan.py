"""A plan leaves libraries as they are, whether or not they were imported before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from helpers.memory import Job, plan
plan(Job("tiny/phi", step="classify", quant="nf4", batch_size=2, length=16, labelled=1, device="cpu", dtype="float32"))
from helpers import models
head = models.load_classifier("tiny/phi", ["a", "b", "c"], quant="none", seed=0).model.score.weight
print(float(head.std()), float(head.mean()))
"""


def test_a_head_is_drawn_after_a_plan_in_a_new_process(root: Path) -> None:
    """In a process that has imported everything beforehand this cannot be seen."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    std, mean = map(float, done.stdout.split()[-2:])
    assert 0.015 < std < 0.025 and abs(mean) < 0.005, "transformers draws a head's weights with a deviation of 0.02"
