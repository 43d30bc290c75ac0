"""From the kernel to the process that runs the notebook: one JSON object a line, appended to a file.

``helpers.runs.worker`` makes the file and names it in ``VARIABLE``. A file, because writing to it never waits for a
reader, works on every system, and a kernel that dies or a runner that goes away leaves the other side as it was.
Nothing is written where the variable is not set. A line that cannot be written is lost, and nothing else.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "PEFT_LAB_PROGRESS"
WORK = "work"  # the kind of all events that come from a kernel
TRAINING = "training"  # the work whose parts are steps


def listening() -> bool:
    """Whether a runner wants to know."""
    return bool(os.environ.get(VARIABLE))


def tell(what: str, **facts: Any) -> None:
    """Say how far a piece of work is. Some 30 µs, nothing where nobody listens; never raises.

    Args:
        what: the work, in words: "generating".
        facts: ``done`` and ``total``; ``left``, seconds from … to; ``loss``; or ``ended=True``.
    """
    if not (place := os.environ.get(VARIABLE)):
        return
    with suppress(OSError, TypeError, ValueError):
        line = json.dumps({"event": WORK, "what": what, **facts}) + "\n"
        # Opened anew each time: the file may be gone by now, and a forked process must not share a position. It is
        # never made here, so that a path that somebody else's environment names stays empty.
        file = os.open(place, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


class Listener:
    """Reads the file as it grows; makes it."""

    def __init__(self, place: Path) -> None:
        place.touch()
        self._place, self._at, self._begun = place, 0, b""

    def events(self) -> list[dict[str, Any]]:
        """What came since the last call; a line that is no event is left out, one that is not complete waits."""
        try:
            with self._place.open("rb") as file:
                file.seek(self._at)
                new = file.read()
        except OSError:
            return []
        self._at += len(new)
        *lines, self._begun = (self._begun + new).split(b"\n")
        found = []
        for line in lines:
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == WORK and isinstance(event.get("what"), str):
                    found.append(event)
        return found
