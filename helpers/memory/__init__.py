"""How much memory a job takes, before anything is downloaded; torch is imported on first use only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from helpers.memory.jobs import Job
from helpers.memory.lessons import lesson_jobs, row_tokens, tokens_of

if TYPE_CHECKING:
    from helpers.memory.counted import Counted
    from helpers.memory.fit import Fit, available, check
    from helpers.memory.planner import CARDS, plan
    from helpers.memory.search import cheapest
    from helpers.memory.several import plan_rank
    from helpers.memory.spread import spread_of

__all__ = [
    "CARDS",
    "Counted",
    "Fit",
    "Job",
    "available",
    "cheapest",
    "check",
    "lesson_jobs",
    "plan",
    "plan_rank",
    "row_tokens",
    "spread_of",
    "tokens_of",
    "uncompiled",
]

_PLACES = {
    "CARDS": "planner", "plan": "planner", "cheapest": "search", "Fit": "fit",
    "check": "fit", "available": "fit", "plan_rank": "several", "spread_of": "spread", "Counted": "counted",
}  # fmt: skip


@contextmanager
def uncompiled() -> Iterator[None]:
    """Import the planner without torch's compiler, half of the time that it takes to start.

    bitsandbytes asks for compiled kernels as it is imported. Only for a process that plans and computes nothing.
    """
    import torch

    own = torch.compile
    torch.compile = lambda function=None, **_: function or (lambda inner: inner)
    try:
        yield
    finally:
        torch.compile = own


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'helpers.memory' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"helpers.memory.{_PLACES[name]}"), name)
