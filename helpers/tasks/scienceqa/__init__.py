"""Task ``scienceqa``: multiple-choice questions of school science, about half of them with a picture."""

from helpers.tasks.scienceqa.task import (
    ScienceqaTask,
    answers_after,
    as_rgb,
    blank_image,
    named_choices,
    read_answer,
    read_solution,
)

TASK = ScienceqaTask()
