"""Task ``scienceqa``: multiple-choice questions of school science, about half of them with a picture."""

from __future__ import annotations

from helpers.tasks.scienceqa.task import (
    ScienceqaTask,
    answers_after,
    blank_image,
    named_choices,
    read_answer,
    read_solution,
)

TASK = ScienceqaTask()

__all__ = ["TASK", "ScienceqaTask", "answers_after", "blank_image", "named_choices", "read_answer", "read_solution"]
