"""Task ``recipes``: relate title, ingredients and instructions of a dish."""

from __future__ import annotations

from helpers.tasks.recipes.task import RecipesTask

TASK = RecipesTask()
