"""Energy from counters that wrap, from readings of a GPU, and from nothing at all."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.machine import energy
from helpers.machine.energy import NOT_READ, Counters, EnergyMeter, GpuPower, find

CARDS = "0, GPU-11, Tesla T4, 31.5\n1, GPU-22, Tesla T4, 60.00\n2, GPU-33, NVIDIA A100, 250\n"


class Steady:
    """Draws what a list says, one entry a reading."""

    of, how = "GPU", "a list"

    def __init__(self, *watts: float | None) -> None:
        self.left = list(watts)

    def watts(self, seconds: float) -> float:
        found = self.left.pop(0) if seconds > 0 else 0.0
        if found is None:
            raise OSError("gone")
        return found


def clock_of(*times: float) -> Any:
    return iter(times).__next__


def test_joules_are_watts_times_seconds() -> None:
    meter = EnergyMeter(Steady(10.0, 40.0), every=0, clock=clock_of(0.0, 0.0, 2.0, 5.0))
    meter.read()
    meter.read()
    found = meter.record()
    assert (found["of"], found["how"], found["joules"], found["measured_s"]) == ("GPU", "a list", 140.0, 5.0)
    assert found["watts"] == {"mean": 28.0, "low": 10.0, "high": 40.0} and found["readings"] == 2


def test_a_reading_that_fails_leaves_a_gap() -> None:
    meter = EnergyMeter(Steady(10.0, None, 20.0), every=0, clock=clock_of(0.0, 0.0, 1.0, 2.0, 3.0))
    for _ in range(3):
        meter.read()
    assert meter.record()["joules"] == 30.0 and meter.record()["measured_s"] == 2.0


def test_the_range_holds_95_percent_of_the_time() -> None:
    watts = [float(w) for w in range(100)]
    meter = EnergyMeter(Steady(*watts), every=0, clock=clock_of(0.0, *map(float, range(101))))
    for _ in watts:
        meter.read()
    assert meter.record()["watts"] == {"mean": 49.5, "low": 2.0, "high": 97.0}


def test_stopped_and_resumed_the_pause_is_not_counted() -> None:
    meter = EnergyMeter(Steady(10.0, 10.0), every=0, clock=clock_of(0.0, 0.0, 3.0, 100.0, 101.0))
    meter.stop()
    meter.resume()
    meter.stop()
    assert meter.record()["joules"] == 40.0


def test_without_a_source_there_is_nothing_but_a_reason() -> None:
    meter = EnergyMeter(None)
    meter.stop()
    assert meter.record() == {"of": None, "how": None, "joules": None, "why": NOT_READ}


def test_a_thread_reads_by_itself_and_ends() -> None:
    meter = EnergyMeter(Steady(*[5.0] * 1000), every=0.01)
    deadline = time.monotonic() + 10
    while meter.record()["how"] is None or meter.record()["readings"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    meter.stop()
    time.sleep(0.1)
    assert not any(thread.name == "energy" for thread in threading.enumerate())
    assert meter.record()["watts"]["mean"] == 5.0


def zone(place: Path, folder: str, name: str, energy_uj: int, wraps: int = 1_000_000_000) -> Path:
    (place / folder).mkdir(parents=True)
    for file, text in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", wraps)):
        (place / folder / file).write_text(f"{text}\n")
    return place / folder / "energy_uj"


def test_counters_are_added_and_wrap(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 7)  # is in its package already
    counters = find("cpu", "", tmp_path)
    assert isinstance(counters, Counters)
    first.write_text("8999999\n")  # past its range of 1,000 J, by 9 J and a microjoule
    second.write_text("6000000")
    memory.write_text("9000000")
    assert counters.watts(4.0) == pytest.approx((10 + 6 + 4) / 4)
    assert counters.watts(4.0) == 0


def test_counters_that_cannot_be_read(tmp_path: Path) -> None:
    assert find("cpu", "", tmp_path / "none") is None and find("cpu", "", tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "package-0", 0).unlink()
    assert find("cpu", "", tmp_path) is None, "as where only the administrator may read"


def test_the_card_that_torch_uses_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "torch_on_gpu", lambda: None)  # CUDA has not been started, and is not for this
    monkeypatch.setattr(energy.subprocess, "check_output", lambda *_, **__: CARDS.encode())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = find("cuda", "Tesla T4")
    assert isinstance(found, GpuPower) and found.watts(1.0) == 60.0 and found.how == "nvidia-smi"
    monkeypatch.setattr(energy.subprocess, "check_output", lambda *_, **__: b"0, GPU-11, Tesla T4, [N/A]\n")
    assert find("cuda", "Tesla T4") is None, "a card that does not say"

    def hangs(*_: Any, **__: Any) -> bytes:
        raise subprocess.TimeoutExpired("nvidia-smi", 8)

    monkeypatch.setattr(energy.subprocess, "check_output", hangs)
    assert find("cuda", "Tesla T4") is None
    nvml = SimpleNamespace(cuda=SimpleNamespace(power_draw=lambda: 45_500))
    monkeypatch.setattr(energy, "torch_on_gpu", lambda: nvml)
    found = find("cuda", "Tesla T4")
    assert found is not None and found.watts(1.0) == 45.5 and found.how == "torch.cuda.power_draw"
