"""What a person sees while notebooks run: one line each that changes in a terminal, plain lines anywhere else.

Events come from the threads that read the worker processes; everything is written by the thread that waits for them.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from helpers.progress.channel import TRAINING, WORK
from helpers.runs.display import duration

if TYPE_CHECKING:
    from rich.live import Live

TICK = 1.0  # seconds between two looks
STAYED = 2.0  # seconds until the title of a cell is worth a line; by then its work has been heard of
QUIET = 30.0  # seconds between two lines under one title
_SHORTEST = 12  # characters of a title that are shown at least


@dataclass(frozen=True)
class _Work:
    """How far a piece of work was when it told so."""

    told: float
    done: int
    total: int | None
    loss: float | None
    left: tuple[float, float] | None
    more: bool


class Lesson:
    """A notebook that runs, as far as its worker has told.

    Attributes:
        number: of the cell that runs, ``of`` how many.
        title: of this cell.
        since: when it began.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.number, self.of, self.title = 0, 0, "starting"
        self._clock = clock
        self._began = self.since = clock()
        self._here: float | None = None  # seconds that this cell is expected to take, and those after it
        self._later: float | None = None
        self._works: dict[str, _Work] = {}
        self._lock = threading.Lock()

    def take(self, event: Mapping[str, Any]) -> None:
        """Something happened; see ``helpers.runs.worker`` and ``helpers.progress.channel``."""
        with self._lock:
            now = self._clock()
            if event["event"] == "cell":
                self.number, self.of = event["k"], event["n"]
                self.title, self.since = event.get("title") or self.title, now
                self._here, self._later = event.get("here"), event.get("later")
                self._works = {}
            elif event["event"] == WORK and event.get("ended"):
                self._works.pop(event["what"], None)
            elif event["event"] == WORK:
                total, loss, (low, high) = event.get("total"), event.get("loss"), event.get("left") or (math.nan,) * 2
                left = (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None
                self._works[str(event["what"])] = _Work(
                    now, int(event["done"]), total and int(total), loss if loss is None else float(loss), left,
                    bool(event.get("more")),
                )  # fmt: skip

    def parts(self) -> list[str]:
        """What there is to say beside name, title and time: work within the cell, time left, place."""
        with self._lock:
            now = self._clock()
            found = []
            work_left = 0.0
            for what, work in self._works.items():
                verb = "step" if what == TRAINING else what
                found.append(f"{verb} {work.done:,}" + (f" of {work.total:,}" if work.total else ""))
                if work.loss is not None:
                    found.append(f"loss {work.loss:.4g}")
                if work.left is not None:
                    low, high = (max(0.0, seconds - (now - work.told)) for seconds in work.left)
                    work_left = max(work_left, (low + high) / 2)
                    found.append(("more than " if work.more else "") + f"{roughly(low, high)} left")
            if self._later is not None:
                here = max((self._here or 0.0) - (now - self.since), work_left)
                longer = "more than " if here <= 0 else ""  # this cell takes longer than it did
                found.append(f"lesson {longer}{roughly(max(here, 0.0) + self._later)} left")
            return [*found, f"cell {self.number} of {self.of}"] if self.of else found

    def line(self, width: int | None = None) -> str:
        """All of it; the title is shortened where there is room for so many characters only."""
        name, title, parts = self.name, self.title, [*self.parts(), _spent(int(self._clock() - self._began))]
        if width is not None:
            room = max(_SHORTEST, width - len(" · ".join([name, "", *parts])))
            title = title if len(title) <= room else title[: room - 1].rstrip() + "…"
        return " · ".join([name, title, *parts])


def _spent(seconds: int) -> str:
    """To the second, so that a line that is written anew is a new one: "7 s", "4 min 05 s", "2:07:30"."""
    return f"{seconds} s" if seconds < 60 else duration(seconds) if seconds < 3600 else str(timedelta(seconds=seconds))


def roughly(low: float, high: float | None = None) -> str:
    """Seconds to come, no more exact than anybody knows: "40 s", "3 to 5 min", "1 h 20 min"."""
    texts = []
    for seconds in (low, low if high is None else high):
        if seconds < 55:
            texts.append(f"{max(5, 5 * round(seconds / 5))} s")
        elif seconds < 3570:
            texts.append(f"{max(1, round(seconds / 60))} min")
        else:
            hours, minutes = divmod(10 * round(seconds / 600), 60)
            texts.append(f"{hours} h {minutes:02d} min")
    first, last = texts
    if first == last:
        return first
    (number, unit), (_, other) = first.split(" ", 1), last.split(" ", 1)
    return f"{number if unit == other else first} to {last}"


class Lines:
    """Plain lines: one when a cell has a new title, and under one title every half minute what is new."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._lock = threading.Lock()
        self._running: list[Lesson] = []
        self._ended: list[str] = []
        self._said: dict[Lesson, tuple[float, str, list[str]]] = {}  # when, which title, what

    def begin(self, name: str) -> Lesson:
        """A notebook starts; give its events to what is returned."""
        lesson = Lesson(name, self._clock)
        with self._lock:
            self._running.append(lesson)
        return lesson

    def end(self, lesson: Lesson, line: str) -> None:
        """It has ended; the line says how, and stays."""
        with self._lock:
            self._running.remove(lesson)
            self._ended.append(line)

    def wait(self, futures: Iterable[Future[Any]]) -> None:
        """Until all have ended, and show meanwhile how far they are."""
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=TICK, return_when=FIRST_COMPLETED)
            self.tick()

    def tick(self) -> None:
        """Write what is new."""
        with self._lock:
            running, ended, self._ended = list(self._running), self._ended, []
        self._show(running, ended)

    def _tell(self, line: str) -> None:
        self._say(line)
        sys.stdout.flush()

    def _show(self, running: list[Lesson], ended: list[str]) -> None:
        for line in ended:
            self._tell(line)
        for lesson in running:
            now, title, parts = self._clock(), lesson.title, lesson.parts()
            before, old_title, old_parts = self._said.get(lesson, (-QUIET, "", []))
            new_title = title != old_title and now - lesson.since >= STAYED
            if new_title or (parts != old_parts and title == old_title and now - before >= QUIET):
                self._said[lesson] = now, title, parts
                self._tell(lesson.line())

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.tick()


class Terminal(Lines):
    """One line for each notebook that runs, at the bottom of the terminal; gone when it has ended."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(say)
        self._live: Live | None = None
        self._shown = ""

    def _show(self, running: list[Lesson], ended: list[str]) -> None:
        from rich.text import Text

        if self._live is None:
            return
        # One column stays free: some terminals begin a new line after the last one.
        text = "\n".join(lesson.line(self._live.console.width - 1) for lesson in running)
        if ended:
            text = ""  # printing goes above the lines and draws them once more, so they are away until the next look
        if text != self._shown:
            self._shown = text
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
        for line in ended:
            self._tell(line)

    def __enter__(self) -> Terminal:
        from rich.live import Live

        self._live = Live(auto_refresh=False, transient=True)
        self._live.start()
        return self

    def __exit__(self, *how: Any) -> None:
        assert self._live is not None
        try:
            self.tick()
        finally:
            self._live.stop()
            self._live = None


def screen(say: Callable[[str], None]) -> Lines:
    """Where it is shown: a terminal that can, unless somebody else takes the lines."""
    if say is print and sys.stdout.isatty():
        from rich.console import Console

        if Console().is_interactive:
            return Terminal(say)
    return Lines(say)
