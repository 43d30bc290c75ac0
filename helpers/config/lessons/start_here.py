"""Lesson 00: what machine is this, and what fits on it."""

from __future__ import annotations

from helpers.config.lessons.base import Lesson

LESSON = Lesson(
    id="00_start_here",
    title="Start here",
    parameters={"profile": "auto", "run_name": None, "output_dir": None},
)
