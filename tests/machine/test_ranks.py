"""One of several processes, or one of several GPUs: simulated."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from machine_cases import ready

from helpers.errors import HardwareError
from helpers.machine import gpus, probes, ranks
from helpers.machine.hardware import describe
from helpers.runs.display import start_screen
from helpers.training import launch

LAUNCHED = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}


@pytest.fixture(autouse=True)
def nobody_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCHED, "CUDA_VISIBLE_DEVICES", gpus.EVERY, gpus.BEFORE, "ACCELERATE_USE_FSDP"):
        monkeypatch.delenv(name, raising=False)


def two_cards(monkeypatch: pytest.MonkeyPatch, started: bool = False) -> list[int]:
    """A torch that sees as many T4s as the environment shows of two; the cards whose properties were asked for."""
    asked: list[int] = []

    def count() -> int:
        return len(os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(","))

    def properties(index: int) -> Any:
        asked.append(index)
        return SimpleNamespace(name="Tesla T4", total_memory=15e9, major=7, minor=5)

    cuda = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: started, device_count=count, get_device_properties=properties,
        get_arch_list=lambda: ["sm_75"],
    )  # fmt: skip
    cpu = SimpleNamespace(cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2"))
    fake = SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.8", hip=None), backends=cpu)
    fake.get_num_threads = lambda: 1
    monkeypatch.setitem(sys.modules, "torch", fake)
    return asked


def probed() -> dict[str, Any]:
    """What ``gather`` says of a machine with two T4s."""
    return ready("kaggle_t4x2", gpu_devices=2) | probes.gpu(True, "2.10.0+cu128")


def test_one_of_two_gpus_is_picked_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = two_cards(monkeypatch)
    machine = describe(probed())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0" and machine.gpu_count == 1 and asked == [0]
    assert not [problem for problem in machine.problems if "GPUs are visible" in problem.what]
    settings = SimpleNamespace(
        notebook="03_qlora_nli", profile="full", profile_reason="given", given=(), as_dict=lambda: {"seed": 0}
    )
    assert "the one of 2 GPUs that is used" in start_screen(settings, machine, launch.repo_root())


def test_a_launched_process_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = two_cards(monkeypatch)
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert describe(probed()).gpu_count == 2 and asked == [1]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert (ranks.rank(), ranks.local_rank(), ranks.world(), ranks.first()) == (1, 1, 2, False)


def test_what_a_process_has_begun_with_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA was started before: nothing can be hidden, so the machine says what is wrong."""
    two_cards(monkeypatch, started=True)
    machine = describe(probed())
    assert machine.gpu_count == 2 and "CUDA_VISIBLE_DEVICES" not in os.environ
    assert any("2 GPUs are visible" in problem.what for problem in machine.problems)


def test_all_gpus_again_for_what_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "2,3"):
        values = {} if before is None else {"CUDA_VISIBLE_DEVICES": before}
        assert gpus.pick_one(2, values)
        assert values["CUDA_VISIBLE_DEVICES"] == ("0" if before is None else "2")
        assert gpus.with_all(values) == ({} if before is None else {"CUDA_VISIBLE_DEVICES": before})
    assert gpus.with_all({"CUDA_VISIBLE_DEVICES": "1"}) == {"CUDA_VISIBLE_DEVICES": "1"}
    for values, count in (({gpus.EVERY: "1"}, 2), ({}, 1)):
        assert not gpus.pick_one(count, values) and "CUDA_VISIBLE_DEVICES" not in values
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv(gpus.BEFORE, "")
    assert "CUDA_VISIBLE_DEVICES" not in launch._environment()


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HardwareError, match="process 1 of 2 has no GPU of its own: this machine shows 1. Launch 1"):
        ranks.join("cuda", 1)


def test_alone_nothing_is_asked() -> None:
    assert (ranks.world(), ranks.rank(), ranks.first(), ranks.sharded()) == (1, 0, True, False)
    assert ranks.gathered("own") == ["own"] and ranks.from_first(lambda: 3) == 3
    ranks.agree("settings", {"seed": 1})
    ranks.join("cuda", 0)
