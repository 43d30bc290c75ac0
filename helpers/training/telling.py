"""What a training tells the runner of a headless notebook: step, loss, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from helpers.progress import Remaining, Work, channel
from helpers.progress.bars import PAUSE

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class Telling(TrainerCallback):
    """Tells at most once a second; ``train`` leaves it out where nobody listens.

    It times whole steps from end to end, where ``Meter`` leaves validation and saving out: those take time as well.

    Args:
        measured: steps at which another callback measures something, such as ``EachQuarter``.
        clock: seconds.
    """

    def __init__(self, measured: Iterable[int] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._measured = frozenset(measured)
        self._clock = clock
        self._mark = self._heard = clock()
        self._loss: float | None = None
        self._remaining = Remaining(0)
        self._validation: Work | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        after = {step + 1 for step in validated(args, state)}  # the seconds of the step that follows hold it
        self._remaining = Remaining(state.max_steps, after | self._measured)
        self._mark = self._heard = self._clock()
        channel.tell(channel.TRAINING, done=state.global_step, total=state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = self._clock()
        self._remaining.add(state.global_step, now - self._mark)
        self._mark = now
        if now - self._heard >= PAUSE:
            self._heard = now
            self._tell(state)

    def _tell(self, state: TrainerState) -> None:
        facts: dict[str, Any] = {"done": state.global_step, "total": state.max_steps, "loss": self._loss}
        if (seconds := self._remaining.seconds()) is not None:
            low, high, all_of_it = seconds
            facts |= {"left": (round(low, 1), round(high, 1)), "more": not all_of_it}
        channel.tell(channel.TRAINING, **facts)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        if "loss" in (logs := rest.get("logs") or {}):
            self._loss = float(logs["loss"])

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        if self._validation is None:
            batches = rest.get("eval_dataloader")
            self._validation = Work("validating", len(batches) if isinstance(batches, Sized) else None, bar=False)
        self._validation.advance()

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._validation is not None:
            self._validation.close()
        self._validation = None


def validated(args: TrainingArguments, state: TrainerState) -> list[int]:
    """The steps after which the trainer validates."""
    if args.eval_strategy == "steps" and state.eval_steps:
        return list(range(state.eval_steps, state.max_steps + 1, state.eval_steps))
    if args.eval_strategy == "epoch" and args.num_train_epochs:
        epochs = max(1, round(args.num_train_epochs))
        return [round(state.max_steps * epoch / epochs) for epoch in range(1, epochs + 1)]
    return []
