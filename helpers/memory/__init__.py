"""How much memory a job takes, before anything is downloaded; torch is imported on first use only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helpers.memory.jobs import Job, job_of

if TYPE_CHECKING:
    from helpers.memory.plan import CARDS, Plan, plan
    from helpers.memory.search import Change, cheapest

__all__ = ["CARDS", "Change", "Job", "Plan", "cheapest", "job_of", "plan"]

_PLACES = {"CARDS": "plan", "Plan": "plan", "plan": "plan", "Change": "search", "cheapest": "search"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'helpers.memory' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"helpers.memory.{_PLACES[name]}"), name)
