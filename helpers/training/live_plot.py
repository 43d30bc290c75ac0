"""Memory and throughput drawn while a model trains, for less than one percent of its time."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from helpers.progress.bars import LIVE, NONE, where_shown

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

_SHARE = 0.01  # of the time since training began
_PAUSE = 2.0  # seconds between two pictures at least


class LivePlot(TrainerCallback):
    """A picture of memory and throughput against the step, replaced in place.

    It is drawn only while all pictures so far and one more cost less than ``share`` of the time since training began,
    by their own measured cost; the last one is drawn when training has ended. What the first picture of a process costs
    (fonts, imports) is spent before training begins, on two that nobody sees.

    Args:
        mode: ``live``, ``final`` (only the last picture) or ``none``.
        show: called with each picture (PNG); replaces the one before.
        clock: seconds.
    """

    def __init__(
        self,
        mode: str | None = None,
        *,
        share: float = _SHARE,
        show: Callable[[bytes], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.mode = where_shown() if mode is None else mode
        self.share = share
        self.drawn = 0
        self.spent = 0.0  # seconds for pictures while training
        self._show = show or self._in_place
        self._shown: Any = None
        self._clock = clock
        self._cost = 0.0
        self._began = self._last = clock()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for _again in range(2 if self.mode == LIVE else 0):
            began = self._clock()
            _picture([{"step": n, "memory_gb": 1.0 + n, "tokens_per_s": 100.0 * n} for n in range(40)])
            self._cost = self._clock() - began
        self._began = self._last = self._clock()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.mode != LIVE:
            return
        now = self._clock()
        if now - self._last < _PAUSE or self.spent + self._cost > self.share * (now - self._began):
            return
        self._draw(state.log_history)
        self._last = self._clock()
        self._cost = self._last - now
        self.spent += self._cost

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.mode != NONE:
            self._draw(state.log_history)

    def _draw(self, rows: Sequence[Mapping[str, Any]]) -> None:
        measured = [row for row in rows if "loss" in row and "memory_gb" in row]
        if len(measured) < 2:
            return
        try:
            self._show(_picture(measured))
            self.drawn += 1
        except Exception as error:  # a picture is not worth the training
            print(f"note: memory and throughput are not drawn ({type(error).__name__}: {error})")
            self.mode = NONE

    def _in_place(self, png: bytes) -> None:
        """Show a picture in the place of the one before, as one output of a notebook's cell."""
        from IPython.display import Image, display

        picture = Image(data=png, format="png")
        if self._shown is None:
            self._shown = display(picture, display_id=True)
        else:
            self._shown.update(picture)


def _picture(rows: Sequence[Mapping[str, Any]]) -> bytes:
    from helpers.plots import memory_and_speed

    picture = io.BytesIO()
    memory_and_speed(rows).savefig(picture, format="png", dpi=80)
    return picture.getvalue()
