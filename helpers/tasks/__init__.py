"""Tasks: data sets with their splits, forms of question, and scores."""

from __future__ import annotations

from helpers.errors import DataError
from helpers.hints import nearest_and_all
from helpers.tasks.answers import Answer, parse_answer, parse_choice
from helpers.tasks.base import LoadReport, Task
from helpers.tasks.dialogsum import DialogsumTask
from helpers.tasks.recipes import RecipesTask
from helpers.tasks.scienceqa import ScienceqaTask
from helpers.tasks.snli import SnliTask
from helpers.tasks.zappos import ZapposTask

__all__ = ["TASKS", "Answer", "LoadReport", "Task", "get", "parse_answer", "parse_choice", "register"]

TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known by its name; a second one of that name replaces the first."""
    TASKS[task.name] = task
    return task


def get(name: str) -> Task:
    """The task of that name; DataError with the nearest name if there is none."""
    if name not in TASKS:
        raise DataError(f"there is no task {name!r}", nearest_and_all(str(name), TASKS, "task"))
    return TASKS[name]


register(RecipesTask())
register(SnliTask())
register(DialogsumTask())
register(ScienceqaTask())
register(ZapposTask())
