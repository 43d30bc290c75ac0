"""What runs beside a training loop: progress lines, a stop at NaN, memory kept count of and given back."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

_M_MMAP_THRESHOLD = -3  # the option's number in glibc's malloc.h
LARGE = 4 * 2**20  # bytes from which a tensor gets memory of its own


class ProgressLine(TrainerCallback):
    """One short line per log, in place of a progress bar that floods a saved notebook."""

    def __init__(self, lines: int = 10) -> None:
        self.lines = lines
        self._printed = -1
        self._start = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start = time.monotonic()
        print(f"{'step':>10}  {'epoch':>5}  {'loss':>7}  {'learning rate':>13}  {'seconds':>7}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or not ("loss" in logs or "eval_loss" in logs):
            return
        seconds = time.monotonic() - self._start
        where = f"{state.global_step:>4} of {state.max_steps:<4}"
        if "eval_loss" in logs:
            print(f"{where}  {state.epoch or 0:5.2f}  {logs['eval_loss']:7.4f}  {'validation':>13}  {seconds:7.1f}")
            return
        shown = state.global_step * self.lines // max(1, state.max_steps)
        if shown > self._printed:
            self._printed = shown
            rate = logs.get("learning_rate", math.nan)
            print(f"{where}  {state.epoch or 0:5.2f}  {logs['loss']:7.4f}  {rate:13.2e}  {seconds:7.1f}")


class StopOnNaN(TrainerCallback):
    """Stop at the first loss that is not a number; the checkpoints before it stay."""

    def __init__(self) -> None:
        self.step: int | None = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        values = [v for k, v in (logs or {}).items() if k in {"loss", "eval_loss", "grad_norm"}]
        if any(not math.isfinite(float(v)) for v in values):
            self.step = state.global_step
            control.should_training_stop = True
            control.should_save = False


class PeakMemory(TrainerCallback):
    """Memory at each log: highest so far on the GPU, or what the process holds in RAM."""

    def __init__(self) -> None:
        self.by_step: dict[int, float] = {}

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.by_step[state.global_step] = round(_memory_bytes() / 2**30, 3)


class ReturnFreedMemory(TrainerCallback):
    """On a CPU, keep the process from holding memory that nothing uses.

    Batches differ in shape, so freed activations leave gaps in glibc's heap that the next batch does not fit into:
    over some hundred updates a process grows by gigabytes. Large tensors therefore get memory of their own, which
    goes back when they are freed, and the rest of the heap is handed back every few updates.
    """

    def __init__(self, every: int = 4) -> None:
        self.every = every

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _libc("mallopt", _M_MMAP_THRESHOLD, LARGE)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.every == 0:
            _libc("malloc_trim", 0)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _libc("malloc_trim", 0)


def _libc(function: str, *arguments: int) -> None:
    """Call glibc's function; nothing happens where there is none of that name."""
    import ctypes

    call = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    if call is not None:
        call(*arguments)


def _memory_bytes() -> int:
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
