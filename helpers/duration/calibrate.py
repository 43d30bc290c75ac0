"""What the machine at hand can do: its peak, its memory, the cost of a call, and operations at a model's own sizes.

All of it together takes ``BUDGET`` seconds at most and is kept in the user cache, one file for each processor, number
of threads and version of torch. Only CPUs: on a GPU the clock of a single call says little.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from helpers.duration.measure import measure_step
from helpers.duration.predict import depths
from helpers.duration.program import Program, operation_seconds
from helpers.duration.rates import VIEW_SHARE, MeasuredRates
from helpers.duration.timing import now
from helpers.files import write_atomic
from helpers.machine import hardware
from helpers.memory.jobs import Job
from helpers.memory.measure import load
from helpers.memory.operations import AGAIN, BACKWARD, FORWARD, UPDATE, VIEW, Counts
from helpers.memory.recording import layers_of
from helpers.sources import assets
from helpers.training.callbacks import reuse_freed_memory

BUDGET = 20.0
SHORT = 24  # tokens of the tiny model's rows: most of its step is calling
TURNS = 10
FORMAT = 1  # of the file


def file_of() -> Path:
    """Where this machine's calibration is kept."""
    machine = hardware.probe()
    described = f"{machine.device_name} {machine.cpu_isa} {torch.get_num_threads()} {torch.__version__} {FORMAT}"
    return assets.cache_dir() / "speed" / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.json"


def kept() -> MeasuredRates | None:
    """The calibration of this machine, ``None`` where there is none."""
    file = file_of()
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    rows = {name: [tuple(row) for row in measured] for name, measured in found.pop("rows").items()}
    return MeasuredRates(**found, rows=rows)


def keep(rates: MeasuredRates) -> Path:
    """Write a calibration to the user cache; returns its file."""
    file = file_of()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(vars(rates)) + "\n")
    return file


def calibrate(jobs: Sequence[Job] = (), budget: float = BUDGET, rates: MeasuredRates | None = None) -> MeasuredRates:
    """Measure this machine's CPU.

    Args:
        jobs: whose operations are measured, each job's when there is time left.
        budget: seconds.
        rates: an earlier calibration of this machine, to which the jobs' operations are added.
    """
    end = time.perf_counter() + budget
    reuse_freed_memory()
    rates = basics() if rates is None else rates
    for job in jobs:
        began = time.perf_counter()
        if began < end:
            measure_operations(job, rates)
        if time.perf_counter() - began > end - time.perf_counter():
            break  # another one would take too long
    return rates


def measure_operations(job: Job, rates: MeasuredRates, times: int = 3) -> None:
    """Add what the operations of a job take, measured in a model of few layers."""
    for layers in depths(job):
        for (operation, where), seconds in operation_seconds(Program(job, layers), times).items():
            rates.add(operation, where, seconds)


def basics() -> MeasuredRates:
    """Peak of products by format, bandwidth, and what a call costs beside computing: some five seconds."""
    machine = hardware.probe()
    peaks = {dtype: _peak(getattr(torch, dtype)) for dtype in sorted({"float32", machine.dtype})}
    nothing = dict.fromkeys((FORWARD, AGAIN, BACKWARD, UPDATE), 0.0)
    name = f"this machine's CPU, {torch.get_num_threads()} threads"
    rates = MeasuredRates(name, peaks, _bandwidth(), nothing)
    plain = Job("tiny/llama", quant="none", dtype=machine.dtype, device="cpu", batch_size=2, length=SHORT, labelled=8)
    beyond, counts = _beyond_computing(plain)
    rates.overhead = {where: max(0.0, beyond[where]) / _calls(counts, where) for where in beyond}
    rates.overhead[AGAIN] = rates.overhead[FORWARD]
    beyond, counts = _beyond_computing(plain.but(quant="nf4-double"))
    unpacked = sum(n for (op, _), n in counts.items() if op.name.endswith("dequantize_4bit.default"))
    explained = sum(seconds * _calls(counts, where) for where, seconds in rates.overhead.items())
    rates.unpacking = max(0.0, sum(beyond.values()) - explained) / unpacked
    return rates


def _calls(counts: Counts, where: str) -> float:
    """Calls at one place of a step, views for less than one."""
    return sum(n * (VIEW_SHARE if op.kind == VIEW else 1.0) for (op, place), n in counts.items() if place == where)


def _beyond_computing(job: Job) -> tuple[dict[str, float], Counts]:
    """Where in a real step -> its seconds less those of its operations alone; both the fastest of some turns."""
    program, model = Program(job, layers_of(job)), load(job)
    program.play()
    steps: dict[str, list[float]] = {FORWARD: [], BACKWARD: [], UPDATE: []}
    alone: dict[str, list[float]] = {FORWARD: [], BACKWARD: [], UPDATE: []}
    for _ in range(TURNS):
        for where, seconds in measure_step(job, model, times=3).items():
            steps[where].append(seconds)
        computing = dict.fromkeys(alone, 0.0)
        for (_, where), seconds in program.play().items():
            computing[BACKWARD if where == AGAIN else where] += seconds
        for where, seconds in computing.items():
            alone[where].append(seconds)
    return {where: min(steps[where]) - min(alone[where]) for where in steps}, program.counts


def _peak(dtype: torch.dtype) -> float:
    """FLOP/s of a product large enough to show the processor's best."""
    size = 1024
    a, b = (torch.full((size, size), 0.5, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _fastest(lambda: a @ b)


def _bandwidth() -> float:
    """Bytes a second of adding two tensors that no cache holds."""
    a, b = (torch.full((16 * 2**20,), 0.5) for _ in range(2))
    out = torch.empty_like(a)
    return 3 * a.numel() * a.element_size() / _fastest(lambda: torch.add(a, b, out=out))


def _fastest(call: Callable[[], Any], times: int = 12) -> float:
    """Seconds of the fastest of some calls."""
    found = []
    for _ in range(times):
        began = now()
        call()
        found.append(now() - began)
    return min(found)
