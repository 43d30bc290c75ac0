"""Seconds of an operation: from a card's data sheet, or from what was measured on the machine at hand."""

from __future__ import annotations

import functools
import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from helpers.memory.operations import AGAIN, BACKWARD, FORWARD, UPDATE, VIEW, Operation

SHEET = Path(__file__).with_name("cards.toml")
PLACES = (FORWARD, BACKWARD, AGAIN, UPDATE)
FEW_BYTES = 4096  # what moves no more than this takes the time of its call


class Rates(Protocol):
    """How fast a device is.

    Attributes:
        overlaps: calls are made while earlier ones compute, as on a GPU.
        measured: on this device, rather than taken from a data sheet.
        where: the device in words.
    """

    @property
    def overlaps(self) -> bool: ...

    @property
    def measured(self) -> bool: ...

    @property
    def where(self) -> str: ...

    def device_seconds(self, operation: Operation, where: str) -> float:
        """What computing takes, at this place of a step."""

    def call_seconds(self, operation: Operation, where: str) -> float:
        """What the call takes besides: Python, torch's dispatcher, autograd."""


@functools.lru_cache(maxsize=1)
def sheet() -> dict[str, Any]:
    """``cards.toml``."""
    return tomllib.loads(SHEET.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class SheetRates:
    """Rates of a data sheet: the larger of computing at the peak and moving at the bandwidth, each with an efficiency.

    Attributes:
        peaks: dtype -> FLOP/s.
        bandwidth: bytes a second.
        efficiency: kind of operation -> share of the peak that it reaches.
        overhead: where in a step -> seconds of one call.
    """

    where: str
    peaks: Mapping[str, float]
    bandwidth: float
    efficiency: Mapping[str, float]
    overhead: Mapping[str, float]
    overlaps: bool = True
    measured: bool = False

    def device_seconds(self, operation: Operation, where: str) -> float:
        if operation.kind == VIEW:
            return 0.0
        peak = self.peaks.get(operation.dtype, self.peaks["float32"])
        return max(operation.flops / peak, operation.moved / self.bandwidth) / self.efficiency[operation.kind]

    def call_seconds(self, operation: Operation, where: str) -> float:
        return self.overhead[where] * (VIEW_SHARE if operation.kind == VIEW else 1.0)


VIEW_SHARE = 0.4  # of a call that computes nothing


def of_card(card: str) -> SheetRates:
    """Rates of a card of ``memory.CARDS`` by its data sheet."""
    row = sheet()[card]
    peaks = {name: value * 1e12 for name, value in row.items() if name in ("float32", "float16", "bfloat16")}
    overhead = {name: value * 1e-6 for name, value in sheet()["overhead"]["gpu"].items()}
    return SheetRates(card, peaks, row["bandwidth"] * 1e9, sheet()["efficiency"]["gpu"], overhead)


def of_processor(cores: int, name: str = "a CPU") -> SheetRates:
    """Guessed rates of a processor with this many cores that nobody has calibrated."""
    row = sheet()["CPU core"]
    peaks = {kind: row[kind] * 1e12 * cores for kind in ("float32", "bfloat16")}
    bandwidth = min(row["bandwidth"] * cores, row["shared_bandwidth"]) * 1e9
    overhead = {where: value * 1e-6 for where, value in sheet()["overhead"]["cpu"].items()}
    return SheetRates(name, peaks, bandwidth, sheet()["efficiency"]["cpu"], overhead, overlaps=False)


@dataclass
class MeasuredRates:
    """Rates measured on a machine; an operation that was not measured itself goes by the most similar one.

    Attributes:
        seconds: place in a step and ``Operation.key`` -> seconds of a call.
        rows: place, name and dtype -> (flops, bytes, seconds) of what was measured.
        overhead: where in a step -> seconds of one call besides.
        unpacking: seconds that a call with a packed weight takes besides.
    """

    where: str
    peaks: dict[str, float]
    bandwidth: float
    overhead: dict[str, float]
    unpacking: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    overlaps: bool = False
    measured: bool = True

    def device_seconds(self, operation: Operation, where: str) -> float:
        if operation.kind == VIEW:
            return 0.0
        if (own := self.seconds.get(_key(operation, where))) is not None:
            return own
        ideal = self._ideal(operation.flops, operation.moved, operation.dtype)
        similar = next(filter(None, (self.rows.get(_family(operation, place)) for place in (where, *PLACES))), None)
        if not similar:
            return ideal
        flops, moved, seconds = min(similar, key=lambda row: _apart(row, operation))
        floor = min(row[2] for row in similar)
        return max(floor, seconds * ideal / self._ideal(flops, moved, operation.dtype))

    def call_seconds(self, operation: Operation, where: str) -> float:
        if operation.kind == VIEW:
            return self.overhead[where] * VIEW_SHARE
        return self.overhead[where] + (self.unpacking if operation.name.endswith("dequantize_4bit.default") else 0.0)

    def add(self, operation: Operation, where: str, seconds: float) -> None:
        """Remember what a call took at a place of a step."""
        self.seconds[_key(operation, where)] = seconds
        row = (operation.flops, operation.moved, seconds)
        self.rows.setdefault(_family(operation, where), []).append(row)

    def _ideal(self, flops: int, moved: int, dtype: str) -> float:
        peak = self.peaks.get(dtype, self.peaks["float32"])
        return max(flops / peak, max(moved, FEW_BYTES) / self.bandwidth)


def _key(operation: Operation, where: str) -> str:
    return f"{where} {hashlib.sha256(operation.key.encode()).hexdigest()[:20]}"


def _family(operation: Operation, where: str) -> str:
    return f"{where} {operation.name} {operation.dtype}"


def _apart(row: tuple[int, int, float], operation: Operation) -> float:
    """How different two operations' sizes are, in powers of e."""
    flops, moved, _ = row
    return abs(math.log((1 + flops) / (1 + operation.flops))) + abs(math.log((1 + moved) / (1 + operation.moved)))
