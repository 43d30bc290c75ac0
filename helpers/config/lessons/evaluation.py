"""Lesson 09: all runs side by side."""

from __future__ import annotations

from helpers.config.lessons.base import PLACE, Lesson

LESSON = Lesson(
    id="09_evaluation",
    title="All runs side by side",
    parameters={"profile": "auto", "runs": None, "ratings": None, "n_rate": 30, **PLACE},
    figures=("systems", "pareto_snli"),
    data="the runs of the other lessons",
    reads_runs=True,
)
