"""A plan: how much memory one step of a job takes, what for, and on which GPUs it fits.

The step is the real one, run on fake tensors. Added to what it shows are things that no tensor shows: the CUDA context,
cuBLAS' workspace, states of optimizers without fake kernels, and the allocator's rounding and gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from helpers.machine.free import CUDA_CONTEXT as CONTEXT
from helpers.machine.hardware import NEEDED
from helpers.memory import steps
from helpers.memory.allocator import Reserved, replay
from helpers.memory.build import ADAPTERS, BUFFERS, SCALES, WEIGHTS
from helpers.memory.jobs import Job
from helpers.memory.ledger import Ledger
from helpers.memory.recording import Record, record_of

GB = 1e9
# Bytes that torch can use of each card, as its driver reports them, and compute capability.
CARDS: dict[str, tuple[float, tuple[int, int]]] = {
    "P100 16 GB": (17.06e9, (6, 0)),
    "T4 16 GB": (15.83e9, (7, 5)),
    "L4 24 GB": (23.80e9, (8, 9)),
    "A100 40 GB": (42.28e9, (8, 0)),
    "A100 80 GB": (84.97e9, (8, 0)),
    "H100 80 GB": (84.97e9, (9, 0)),
}
# Share of a plan that has to be free beyond it before it "fits". Measurements that others published, with software that
# takes memory like the one that is planned with, are at most 5 % above their plans (``published``); and CUDA's own
# part is assumed.
MARGIN = 0.07
FITS, CLOSE, TOO_LARGE, NO_KERNELS = "fits", "close", "does not fit", "no kernels"
PROCESS = 0.7e9  # Python and its libraries, where everything is in one memory
CUBLAS = {True: 32 * 2**20, False: 8_519_680}  # workspace of a thread, from compute capability 9.0 on, and before

LOGITS, WORK, ROUNDING, OWN = "logits and loss", "workspace", "allocator", "CUDA context"
# Rows of a table, in this order: what a storage was made for -> what it is called.
PARTS: dict[str, str] = {
    WEIGHTS: "weights", BUFFERS: "weights", SCALES: SCALES, steps.KEPT: steps.KEPT, ADAPTERS: ADAPTERS,
    steps.GATHERED: steps.GATHERED, steps.SENT: steps.SENT,
    steps.GRADIENTS: "gradients", steps.STATES: "optimizer states", steps.INPUTS: "activations",
    steps.ACTIVATIONS: "activations", LOGITS: LOGITS, steps.BACKWARD: WORK, steps.UPDATE: WORK, WORK: WORK,
    ROUNDING: ROUNDING, OWN: OWN,
}  # fmt: skip
UNPACKED = ("dequantize_4bit", "dequantize_blockwise")  # weights written out for one product


@dataclass(frozen=True)
class Plan:
    """What one step of a job takes. Bytes.

    Attributes:
        tensors: the most that storages take together.
        parts: cause -> bytes, at that moment; a GPU's context and the allocator's share besides.
        extra: what is there from the start without being a tensor of the step.
        events: births and deaths of storages, (key, bytes) and (key, -bytes).
        largest: what is there at that moment, a row for equal tensors of one operation: "made by", "shape", "dtype",
            "count", "GB"; the largest rows first.
    """

    job: Job
    tensors: int
    parts: dict[str, int]
    extra: int
    events: list[tuple[int, int]] = field(repr=False)
    largest: list[dict[str, Any]] = field(default_factory=list, repr=False)

    @cached_property
    def allocator(self) -> Reserved:
        """What a GPU's allocator makes of the step, when it may take any number of bytes."""
        return replay(self._all_events())

    @property
    def allocated(self) -> int:
        """``torch.cuda.max_memory_allocated`` of the step; on a CPU the sum of its tensors."""
        return self.allocator.allocated if self.job.device == "cuda" else self.tensors + self.extra

    @cached_property
    def total(self) -> int:
        """What the machine has to have: with the allocator's gaps and the CUDA context, or with the process."""
        return int(self.needed + CONTEXT) if self.job.device == "cuda" else int(self.allocated + PROCESS)

    @cached_property
    def needed(self) -> int:
        """The least that the allocator can do with, within 1 %: when memory runs out, it gives back unused segments."""
        low, high = self.allocator.allocated, self.allocator.reserved
        while high - low > 0.01 * low:
            middle = (low + high) // 2
            low, high = (low, middle) if self._runs_in(middle) else (middle, high)
        return high

    def _runs_in(self, capacity: int) -> bool:
        return replay(self._all_events(), capacity).failed_at is None

    def verdict(self, available: float) -> str:
        """``FITS`` with ``MARGIN`` to spare, ``CLOSE`` without it, or ``TOO_LARGE``, where this many bytes are free."""
        return judged(self.total, available)

    def fits(self, available: float) -> bool:
        """Whether the step can run where this many bytes are free, gaps and all, with ``MARGIN`` to spare."""
        return self.verdict(available) == FITS

    def cards(self) -> dict[str, str]:
        """Name of each card in ``CARDS`` -> its verdict while empty, ``NO_KERNELS`` where its formats do not run."""
        need = NEEDED.get(self.job.quant.split("-")[0], (0, 0))
        return {
            name: self.verdict(size) if capability >= need else NO_KERNELS for name, (size, capability) in CARDS.items()
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row a part, largest causes as in ``PARTS``, for a table: part, GB, share."""
        sums: dict[str, int] = {}
        for cause, name in PARTS.items():
            sums[name] = sums.get(name, 0) + self.parts.get(cause, 0)
        if self.job.device == "cuda":
            sums[ROUNDING] = self.needed - self.tensors - self.extra
            sums[OWN] = int(CONTEXT)
        else:
            sums["process"] = int(PROCESS)
        return [
            {"part": name, "GB": size / GB, "share": size / self.total} for name, size in sums.items() if size >= 5e5
        ]

    def _all_events(self) -> list[tuple[int, int]]:
        return [(-1, self.extra), *self.events] if self.extra else self.events


def judged(needed: float, available: float) -> str:
    """What to say of a job that is planned to need some bytes where others are free; see ``MARGIN``."""
    if needed * (1 + MARGIN) <= available:
        return FITS
    return CLOSE if needed <= available else TOO_LARGE


@lru_cache(maxsize=32)
def plan(job: Job) -> Plan:
    """Run one step of `job` on fake tensors: no weights, no GPU, seconds. The same job is planned once.

    Raises:
        ModelError: the model's configuration cannot be found.
        ParameterError: the pictures of the job take more tokens than its rows have.
    """
    return plan_of(job, record_of(job))


def plan_of(job: Job, record: Record) -> Plan:
    """The plan that follows from the record of a step of `job`."""
    tensors, index = record.ledger.peak()
    extra = record.states + _cublas(job)
    parts = _parts(record.ledger, index, record.config)
    if extra:
        parts[steps.STATES] = parts.get(steps.STATES, 0) + record.states
        parts[WORK] = parts.get(WORK, 0) + _cublas(job)
    return Plan(job, tensors, parts, extra, record.ledger.events, _largest(record.ledger, index))


def _cublas(job: Job) -> int:
    """Workspace of each thread that multiplies: the backward pass has one of its own."""
    threads = 2 if job.trains else 1
    return threads * CUBLAS[job.capability >= (9, 0)] if job.device == "cuda" else 0


def _largest(ledger: Ledger, index: int, most: int = 40) -> list[dict[str, Any]]:
    """Equal tensors of one operation that are there after an event, in groups, the largest first."""
    groups: dict[Any, list[int]] = {}
    for key, size in ledger.live(index).items():
        groups.setdefault(ledger.shapes[key], []).append(size)
    rows = [
        {
            "made by": operation,
            "shape": shape,
            "dtype": str(dtype).split(".")[-1],
            "count": len(sizes),
            "GB": sum(sizes) / GB,
        }
        for (shape, dtype, operation), sizes in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["GB"])[:most]


def _parts(ledger: Ledger, index: int, config: Any) -> dict[str, int]:
    """Cause -> bytes of what is there after an event."""
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    found: dict[str, int] = {}
    for key, size in ledger.live(index).items():
        cause = ledger.causes[key]
        shape, dtype, operation = ledger.shapes[key]
        if cause in (steps.ACTIVATIONS, steps.BACKWARD):
            if operation in UNPACKED or operation == "workspace":
                cause = WORK
            elif shape and vocabulary in (shape[-1], shape[0]) and dtype.is_floating_point:
                cause = LOGITS
        found[cause] = found.get(cause, 0) + size
    return found
