"""Tasks: data sets with their splits, forms of question, and scores. One folder a task; its face has ``TASK``."""

from __future__ import annotations

from importlib import import_module

from helpers.errors import DataError
from helpers.hints import nearest_and_all
from helpers.tasks.answers import Answer, parse_answer, parse_choice
from helpers.tasks.base import LoadReport, Task

# One line a task: the name of its folder.
FOLDERS = (
    "recipes",
    "snli",
    "dialogsum",
    "scienceqa",
    "zappos",
    "kitchen",
)

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


for _folder in FOLDERS:
    register(import_module(f"{__name__}.{_folder}").TASK)
