"""Task ``scienceqa``: multiple-choice questions of school science, about half of them with a picture."""

from helpers.tasks.scienceqa.task import ScienceqaTask

TASK = ScienceqaTask()
