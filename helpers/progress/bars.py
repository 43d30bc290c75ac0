"""A bar for work that takes long, in a notebook; and a word to the runner of a headless one.

Short work leaves no trace: no bar, no line, and tqdm is not even imported.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

from helpers.progress import channel
from helpers.sources.tokens import headless, hosted_on

LIVE, FINAL, NONE = "live", "final", "none"
DELAY = 10.0  # seconds until a bar appears
PAUSE = 1.0  # seconds between two words to the runner
_WIDTH = 100

T = TypeVar("T")


def where_shown() -> str:
    """``live`` where somebody watches a notebook, ``final`` in one that runs headless, ``none`` elsewhere.

    PEFT_LAB_LIVE=1 or 0 decides where this guesses wrong.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        return NONE
    guess = FINAL if headless() else LIVE
    return {"0": NONE, "1": LIVE}.get(os.environ.get("PEFT_LAB_LIVE", ""), guess)


class Work:
    """A piece of work of many parts.

    Args:
        what: in words, for a reader: "generating".
        total: parts; None where nobody knows.
        bar: whether it may show a bar; without, it only tells the runner.
        clock: seconds.
    """

    def __init__(
        self, what: str, total: int | None, *, bar: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.what, self.total, self.done = what, total, 0
        self._clock = clock
        self._began = self._heard = clock()
        self._told = False
        self._wanted = bar
        self._bar: Any = None

    def advance(self, parts: int = 1, **facts: Any) -> None:
        """So many parts more are done; facts go to the runner, see ``channel.tell``."""
        self.done += parts
        now = self._clock()
        if now - self._heard >= PAUSE:
            self._heard, self._told = now, True
            left = (now - self._began) / self.done * (self.total - self.done) if self.total and self.done else None
            known = {} if left is None else {"left": (round(left, 1), round(left, 1))}
            channel.tell(self.what, done=self.done, total=self.total, **(known | facts))
        if self._bar is not None:
            self._try(lambda: self._bar.update(parts))
        elif self._wanted and now - self._began >= DELAY:
            self._try(lambda: self._open(now - self._began))

    def close(self) -> None:
        """The work has ended, or was given up."""
        if self._told:
            channel.tell(self.what, ended=True)
        if self._bar is not None:
            self._try(self._bar.close)
        self._bar, self._wanted, self._told = None, False, False

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception:  # a bar is not worth the work
            self._bar, self._wanted = None, False

    def _open(self, seconds: float) -> None:
        """Show the bar of work that has gone on for so long."""
        where = where_shown()
        self._wanted = where != NONE
        if where == NONE:
            return
        # disable: a runner switches the bars of other libraries off by tqdm's own variable.
        options: dict[str, Any] = {"disable": False, "miniters": 1, "smoothing": 0}
        if where == LIVE and not headless() and not hosted_on():
            from tqdm.auto import tqdm
        else:
            # A saved page has no widgets, and one that names some is not shown by GitHub: text, replaced in place.
            from tqdm import tqdm

            options |= {"file": _InPlace(), "position": 0, "ncols": _WIDTH, "mininterval": 0.5 if where == LIVE else 5}
        self._bar = tqdm(total=self.total, desc=self.what, **options)
        self._bar.start_t -= seconds
        self._bar.n = self.done
        self._bar.refresh()


def each(
    what: str, items: Iterable[T], total: int | None = None, parts: Callable[[T], int] | None = None
) -> Iterator[T]:
    """The items, one after the other; how many of them have been dealt with is shown.

    Args:
        what: is done with them, in words: "tokenising".
        total: parts of all items; default: their number, where it is known.
        parts: of an item, such as ``len`` for batches; default: 1.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    work = Work(what, total)
    try:
        for item in items:
            yield item
            work.advance(1 if parts is None else parts(item))
    finally:
        work.close()


class _InPlace:
    """What tqdm writes, as one output of a cell that is replaced: a saved page keeps the last line alone."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._shown: Any = None

    def write(self, text: str) -> None:
        from IPython.display import display

        if not (line := text.strip("\r\n ")):
            return
        if self._shown is None:
            self._shown = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._shown.update({"text/plain": line}, raw=True)

    def flush(self) -> None:
        """Nothing is kept back."""
