"""Energy that a run takes, where the machine lets it be read: the GPU's power, or the processor's energy counters.

A GPU says how many watts it draws (NVML, through ``torch.cuda.power_draw`` where its package is there, else through
``nvidia-smi``). Processors count the joules of each socket (RAPL; Intel, and AMD under Linux), in files that many
systems show to the administrator alone. Both are of the whole device, whatever else runs on it, and of that device
only: not of fans, disks, or the GPU's host. So what is recorded is a proxy. Where nothing can be read there is only the
time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from helpers.machine.free import of_card
from helpers.machine.out_of_memory import torch_on_gpu
from helpers.machine.probes import SMI_TIMEOUT

POWERCAP = Path("/sys/class/powercap")
EVERY = 5.0  # seconds between two readings
QUERY = ["nvidia-smi", "--query-gpu=index,uuid,name,power.draw", "--format=csv,noheader,nounits"]
NOT_READ = "no GPU says what it draws, and the processor's energy counters cannot be read"


class Source(Protocol):
    """Something that says what a device draws. ``of``: the device, ``how``: where the number comes from."""

    of: str
    how: str

    def watts(self, seconds: float) -> float:
        """Watts over the last ``seconds``, since the call before, or at this moment.

        Raises:
            OSError, ValueError: it cannot be read.
        """


class GpuPower:
    """What the GPU named ``name`` draws at this moment."""

    of = "GPU"

    def __init__(self, name: str) -> None:
        self._name = name
        self.how = "nvidia-smi"
        self.watts(0.0)

    def watts(self, seconds: float) -> float:
        if (torch := torch_on_gpu()) is not None:  # where CUDA has not been started, asking torch would start it
            with contextlib.suppress(Exception):  # without NVML's package, or with a driver that is older than it
                found = torch.cuda.power_draw() / 1000
                self.how = "torch.cuda.power_draw"
                return float(found)
        null = subprocess.DEVNULL
        try:
            output = subprocess.check_output(QUERY, stderr=null, stdin=null, timeout=SMI_TIMEOUT)
        except subprocess.SubprocessError as error:
            raise OSError(str(error)) from None
        self.how = "nvidia-smi"
        found = of_card(output.decode(errors="replace"), self._name, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return float(found or "nothing")  # "[N/A]" is a ValueError too


class Counters:
    """The energy counters of all sockets, and of their memory where that is counted apart."""

    of = "processor"
    how = "RAPL counters"

    def __init__(self, place: Path) -> None:
        zones = [zone for zone in place.glob("*-rapl:*") if self._name(zone).startswith(("package", "dram"))]
        if not zones:
            raise OSError(f"{place} has no counters")
        self._wraps = {zone / "energy_uj": int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self._last = {file: int(file.read_text()) for file in self._wraps}

    @staticmethod
    def _name(zone: Path) -> str:
        with contextlib.suppress(OSError):
            return (zone / "name").read_text().strip()
        return ""

    def watts(self, seconds: float) -> float:
        spent = 0
        for file, wraps in self._wraps.items():
            now = int(file.read_text())
            # A counter begins again at 0 after its range, within the hour on a large machine.
            spent += now - self._last[file] + (wraps + 1 if now < self._last[file] else 0)
            self._last[file] = now
        return spent / 1e6 / seconds if seconds > 0 else 0.0


def find(device: str, name: str, powercap: Path = POWERCAP) -> Source | None:
    """The source for a machine that computes on ``device`` ("cuda" or "cpu"); None where nothing can be read."""
    with contextlib.suppress(OSError, ValueError):
        return GpuPower(name) if device == "cuda" else Counters(powercap)
    return None


class EnergyMeter:
    """Joules from when it was made, read every few seconds by a thread that does not keep the process alive.

    Args:
        source: from ``find``; without one it only counts seconds.
        every: seconds between two readings; 0: ``read`` is called by hand.
    """

    def __init__(
        self, source: Source | None, every: float = EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._every, self._clock = source, every, clock
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._joules, self._measured, self._watts = 0.0, 0.0, list[tuple[float, float]]()
        self._began = self._last = clock()
        self.resume()

    def resume(self) -> None:
        """Go on reading, after ``stop``; what was drawn in between is not counted."""
        self._stop = threading.Event()
        if self._source is not None:
            with contextlib.suppress(OSError, ValueError):
                self._source.watts(0.0)
        self._last = self._clock()
        if self._source is not None and self._every > 0:
            threading.Thread(target=self._run, args=(self._stop,), name="energy", daemon=True).start()

    def stop(self) -> None:
        """Read a last time."""
        self._stop.set()
        self.read()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._every):
            self.read()

    def read(self) -> None:
        """Take one reading; one that fails leaves a gap, which ``record`` shows."""
        with self._lock:
            now = self._clock()
            seconds, self._last = now - self._last, now
            if self._source is None or seconds <= 0:
                return
            with contextlib.suppress(OSError, ValueError):
                watts = self._source.watts(seconds)
                self._joules += watts * seconds
                self._measured += seconds
                self._watts.append((watts, seconds))

    def record(self) -> dict[str, Any]:
        """For run.json.

        Returns:
            ``of`` and ``how`` (None: nothing was read, and ``why``), ``joules``, ``measured_s``, the seconds that they
            are of, ``readings``, and ``watts``: their mean and the range in which 95 % of the time was spent.
        """
        if self._source is None or not self._watts:
            return {"of": None, "how": None, "joules": None, "why": NOT_READ}
        values, seconds = zip(*sorted(self._watts), strict=True)
        return {
            "of": self._source.of, "how": self._source.how, "joules": round(self._joules, 1),
            "measured_s": round(self._measured, 1), "readings": len(values),
            "watts": {
                "mean": round(self._joules / self._measured, 1),
                "low": round(_quantile(values, seconds, 0.025), 1), "high": round(_quantile(values, seconds, 0.975), 1),
            },
        }  # fmt: skip


def _quantile(values: tuple[float, ...], weights: tuple[float, ...], share: float) -> float:
    """The smallest of the sorted values below or at which so large a share of the weight lies."""
    so_far, whole = 0.0, sum(weights)
    for value, weight in zip(values, weights, strict=True):
        so_far += weight
        if so_far >= share * whole * (1 - 1e-9):
            return value
    return values[-1]
