"""What runs beside a training loop: progress lines, a stop at NaN, a meter, memory given back."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psutil
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from helpers.machine import ranks

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerControl, TrainerState, TrainingArguments

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # the options' numbers in glibc's malloc.h
LARGE = 4 * 2**20  # bytes from which a tensor gets memory of its own
LARGEST = 32 * 2**20  # the highest that glibc takes for it


class ProgressLine(TrainerCallback):
    """One short line per log, in place of a progress bar that floods a saved notebook."""

    def __init__(self, lines: int = 10) -> None:
        self.lines = lines
        self._printed = -1
        self._start = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._start = time.monotonic()
        print(f"{'step':>10}  {'epoch':>5}  {'loss':>7}  {'learning rate':>13}  {'seconds':>7}")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        logs = rest.get("logs") or {}
        shown = state.global_step * self.lines // max(1, state.max_steps)
        if "eval_loss" in logs:
            loss, rate = logs["eval_loss"], "validation"
        elif "loss" in logs and shown > self._printed:
            self._printed = shown
            loss, rate = logs["loss"], f"{logs.get('learning_rate', math.nan):.2e}"
        else:
            return
        where, seconds = f"{state.global_step:>4} of {state.max_steps:<4}", time.monotonic() - self._start
        print(f"{where}  {state.epoch or 0:5.2f}  {loss:7.4f}  {rate:>13}  {seconds:7.1f}")


class StopOnNaN(TrainerCallback):
    """Stop at the first loss that is not a number, and keep the weights of the last state that was sound.

    A state counts as sound once a later loss was finite: weights can be finite and still give no finite output.
    ``step`` is where it stopped, ``good_step`` and ``good`` are the sound state's step and trained tensors, on the
    CPU; ``good`` is None where they would take more than ``largest`` bytes.
    """

    def __init__(self, largest: int = 2**30) -> None:
        self.step: int | None = None
        self.good_step = 0
        self.good: dict[str, torch.Tensor] | None = None
        self._next: tuple[int, dict[str, torch.Tensor] | None] = (0, None)
        self._largest = largest

    def _copy(self, model: nn.Module) -> dict[str, torch.Tensor] | None:
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if sum(p.numel() * p.element_size() for p in trained.values()) > self._largest:
            return None
        return {name: p.detach().to("cpu", copy=True) for name, p in trained.items()}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        self._next = (state.global_step, self._copy(rest["model"]))
        self.good_step, self.good = self._next  # all there is, until a loss is known

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        # A checkpoint due between two logs must not keep what the next log would stop at.
        trained = [p.detach() for p in rest["model"].parameters() if p.requires_grad] if control.should_save else []
        if not all(bool(p.isfinite().all()) for p in trained):
            self._stop(state, control)

    def _stop(self, state: TrainerState, control: TrainerControl) -> None:
        self.step = state.global_step if self.step is None else self.step
        control.should_training_stop = True
        control.should_save = False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        # In fp16 a gradient beyond the format's range is no accident: the scaler skips that step and scales down.
        watched = {"loss", "eval_loss"} | (set() if args.fp16 else {"grad_norm"})
        values = [float(v) for k, v in (rest.get("logs") or {}).items() if k in watched]
        if self.step is not None or any(not math.isfinite(v) for v in values):
            self._stop(state, control)
        elif values:
            self.good_step, self.good = self._next
            self._next = (state.global_step, self._copy(rest["model"]))


class Meter(TrainerCallback, ExportableState):
    """Seconds, memory and throughput, written into each row that the trainer logs and kept over a resume.

    Columns: ``seconds`` of training so far, those before an interruption included; ``memory_gb`` (GiB, the highest
    so far on the GPU, or what the process holds in RAM); ``examples_per_s`` and ``tokens_per_s`` (padding left out)
    since the row before, without the time for validation and for saving, of all processes together.
    """

    def __init__(self) -> None:
        self.spent = 0.0  # seconds in this callback
        self._before = self._busy = self._epoch = 0.0
        self._began = self._mark = time.perf_counter()
        self._tokens: Any = 0
        self._process = psutil.Process()

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self._before + time.perf_counter() - self._began

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"seconds_so_far": round(self.seconds, 3)}}

    @classmethod
    def kept(cls, state: TrainerState) -> float:
        """Seconds of training that a checkpoint has kept."""
        kept = state.stateful_callbacks.get(cls.__name__) or {}
        kept = kept[-1] if isinstance(kept, list) else kept
        return float(kept.get("attributes", {}).get("seconds_so_far", 0.0))

    def count(self, inputs: Mapping[str, Any]) -> None:
        """Add the tokens of a batch; on a GPU nothing waits for the sum."""
        began = time.perf_counter()
        if (mask := inputs.get("attention_mask")) is not None:
            self._tokens = self._tokens + mask.detach().sum()
        elif (ids := inputs.get("input_ids")) is not None:
            self._tokens = self._tokens + ids.numel()
        self.spent += time.perf_counter() - began

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._before = self.kept(state) if state.global_step else 0.0
        self._began = self._mark = time.perf_counter()
        self._epoch = float(state.epoch or 0.0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.perf_counter()
        self._busy += now - self._mark
        self._mark = now

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._mark = time.perf_counter()

    on_save = on_evaluate

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        began = time.perf_counter()
        row = state.log_history[-1]
        row["seconds"] = round(self.seconds, 3)
        on_gpu = torch.cuda.is_available()
        held = torch.cuda.max_memory_allocated() if on_gpu else self._process.memory_info().rss
        row["memory_gb"] = round(held / 2**30, 3)
        if "loss" in row and self._busy > 0:
            size = len(getattr(rest.get("train_dataloader"), "dataset", ()))
            passed = float(state.epoch or 0.0) - self._epoch
            if size and passed > 0:
                row["examples_per_s"] = round(passed * size / self._busy, 3)
            if (tokens := sum(ranks.gathered(int(self._tokens)))) > 0:
                row["tokens_per_s"] = round(tokens / self._busy, 1)
            self._busy, self._epoch, self._tokens = 0.0, float(state.epoch or 0.0), 0
        self.spent += time.perf_counter() - began


class Restored(TrainerCallback):
    """Give the other callbacks back what a checkpoint kept of them: how long early stopping has been patient."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for callback in self._handler.callbacks:
            if not isinstance(callback, ExportableState):
                continue
            # A checkpoint of a trainer without this callback has no entry; saving the next one wants one.
            kept = state.stateful_callbacks.setdefault(type(callback).__name__, {})
            if state.global_step and isinstance(kept, dict):
                for name, value in kept.get("attributes", {}).items():
                    setattr(callback, name, value)


class ReturnFreedMemory(TrainerCallback):
    """On a CPU, keep the process from holding memory that nothing uses.

    Batches differ in shape, so freed activations leave gaps in glibc's heap that the next batch does not fit into:
    over some hundred updates a process grows by gigabytes. So what was freed goes back every few updates; not at
    once, because the system has to clear each page of memory that it hands out again.
    """

    def __init__(self, every: int = 8) -> None:
        self.every = every

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        reuse_freed_memory()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.every == 0:
            _libc("malloc_trim", 0)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _libc("mallopt", _M_MMAP_THRESHOLD, LARGE)
        _libc("mallopt", _M_TRIM_THRESHOLD, 2**17)
        _libc("malloc_trim", 0)


def reuse_freed_memory() -> None:
    """Let the next tensors have what smaller ones free, from now on; see ``ReturnFreedMemory``. It decides speed."""
    _libc("mallopt", _M_MMAP_THRESHOLD, LARGEST)
    _libc("mallopt", _M_TRIM_THRESHOLD, 2**31 - 1)


def _libc(function: str, *arguments: int) -> None:
    """Call glibc's function; nothing happens where there is none of that name."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), function):
        getattr(libc, function)(*arguments)
