"""Memory that is free now: of the GPU that torch uses, and in a container."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machine_cases import fresh, ready

from helpers.machine import free, probes
from helpers.machine.hardware import describe

T4_X2 = "0, GPU-11aa, Tesla T4, 14910\n1, GPU-22bb, Tesla T4, 9000\n"
MIXED = "0, GPU-33cc, Quadro P400, 1900\n1, GPU-44dd, NVIDIA A100-SXM4-40GB, 40000\n"


@pytest.mark.parametrize(
    ("text", "name", "visible", "mib"),
    [
        (T4_X2, "Tesla T4", None, 14910),
        (T4_X2, "Tesla T4", "1", 9000),
        (T4_X2, "Tesla T4", "GPU-22", 9000),
        (T4_X2, "Tesla T4", "1,0", 9000),
        (MIXED, "NVIDIA A100-SXM4-40GB", "0", 40000),  # CUDA counts the fastest first, nvidia-smi by slots
        (MIXED, "Tesla T4", None, None),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "Tesla T4", None, None),
        ("", "Tesla T4", None, None),
    ],
)
def test_what_the_driver_says_of_the_card_that_torch_uses(
    text: str, name: str, visible: str | None, mib: int | None
) -> None:
    assert free.parse_free(text, name, visible) == (None if mib is None else mib * 2**20)


def _smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("script", "gb"),
    [
        ("echo '0, GPU-11aa, Tesla T4, 9000'", 9.44),
        ("echo '0, GPU-11aa, Tesla T4, 99999'", 15.64),  # never more than torch can use
        ("echo '0, GPU-11aa, Tesla T4, [N/A]'", None),
        ("exit 9", None),
    ],
)
def test_a_recorded_t4_is_asked_without_starting_cuda(
    script: str, gb: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _smi(tmp_path, monkeypatch, script)
    t4 = describe(ready("colab_t4", gpu_memory_gb=15.64))
    assert t4.gpu_free_gb is None
    monkeypatch.setitem(sys.modules, "torch", None)  # as a build for the CPU: it cannot be asked
    assert free.refreshed(t4).gpu_free_gb == gb


def test_a_p100_without_kernels_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _smi(tmp_path, monkeypatch, f"touch {tmp_path}/asked; echo '0, GPU-1, Tesla P100-PCIE-16GB, 16000'")
    monkeypatch.setitem(sys.modules, "torch", None)
    found = free.refreshed(describe(fresh("kaggle_p100")))
    assert (found.device, found.gpu_free_gb) == ("cpu", None)
    assert not (tmp_path / "asked").exists()


def test_what_this_process_holds_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again, a lesson's cells replace the model that they loaded before."""
    cuda: Any = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, mem_get_info=lambda: (4 * 10**9, 16 * 10**9),
        memory_reserved=lambda: 9 * 10**9,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert free.gpu_free_gb("Tesla T4", 15.83) == 13.5


@pytest.mark.parametrize("version", [1, 2])
def test_files_kept_in_memory_count_as_free_in_a_container(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's file that was just downloaded is in the cache: not free, and yet there for whoever needs it."""
    limit, used, cached = 8 * 10**9, 7 * 10**9, 5 * 10**9
    names = ("memory.max", "memory.current", "memory.stat", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file")
        tmp_path = tmp_path / "memory"
        tmp_path.mkdir()
    for name, text in zip(names, (limit, used, f"anon 2\n{names[3]} {cached}\nfile 3"), strict=False):
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(probes, "CGROUP", tmp_path.parent if version == 1 else tmp_path)
    assert probes.memory() == (8.0, pytest.approx(6.0, abs=0.01))
