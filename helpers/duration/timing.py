"""The clock that steps and operations are measured with."""

from __future__ import annotations

import time
from collections.abc import Callable

# Wall time. Of one thread on an idle machine, processor time is the same; on a busy one it leaves out what others run.
_clocks: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
_used = "wall"


def now() -> float:
    """Seconds since some moment."""
    return _clocks[_used]()


def use(clock: str) -> None:
    """Measure with another clock: "wall", or "processor", which is meant for one thread."""
    global _used
    if clock not in _clocks:
        raise ValueError(f"clock = {clock!r} is not one of {', '.join(_clocks)}")
    _used = clock
