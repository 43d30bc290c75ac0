"""A step on real tensors with a clock: what a prediction is judged by."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from helpers.duration.timing import now
from helpers.memory import steps
from helpers.memory.batches import batch
from helpers.memory.jobs import Job
from helpers.memory.operations import BACKWARD, FORWARD, UPDATE
from helpers.models.skeletons import configuration
from helpers.training.callbacks import reuse_freed_memory


def measure_step(job: Job, model: Any, times: int = 5, most: float = 60.0) -> dict[str, float]:
    """Seconds of a step's forward pass, backward pass and update on this CPU, of each the fastest.

    What else a machine does only adds to a time.

    Args:
        model: the job's model with its adapter; ``memory.measure.load`` gives it.
        times: steps, after one that warms up.
        most: no step begins after this many seconds.
    """
    reuse_freed_memory()
    inputs = batch(job, configuration(job.model))
    if not job.trains:
        return {FORWARD: _fastest(lambda: steps.answering(job)(job, model, inputs), times, most)}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = steps.make_optimizer(job, trained)
    found: list[tuple[float, float, float]] = []
    end = time.perf_counter() + most
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while len(found) < 2 or (len(found) <= times and time.perf_counter() < end):
            marks = [now()]
            with steps.mixed_precision(job, model):
                loss = steps.loss_of(job, model, inputs)
            marks.append(now())
            loss.backward()
            marks.append(now())
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            marks.append(now())
            found.append((marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]))
    fastest = [min(column) for column in zip(*found[1:], strict=True)]
    return dict(zip((FORWARD, BACKWARD, UPDATE), fastest, strict=True))


def _fastest(call: Callable[[], Any], times: int, most: float) -> float:
    found: list[float] = []
    end = time.perf_counter() + most
    while len(found) < 2 or (len(found) <= times and time.perf_counter() < end):
        began = now()
        call()
        found.append(now() - began)
    return min(found[1:])
