"""A P100 on a service whose torch has no kernels for it: what is said, what is installed, what works then."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from machine_cases import CU126, CU128, p100, t4

from helpers import hosted
from helpers.config.lessons import LESSONS
from helpers.errors import HardwareError, ParameterError
from helpers.machine import pascal
from helpers.machine.hardware import describe
from helpers.memory.gpu import FLASH


class Pip:
    """Stands in for pip, which would fetch gigabytes."""

    def __init__(self, error: str = "") -> None:
        self.calls: list[list[str]] = []
        self.error = error

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command))
        return subprocess.CompletedProcess(list(command), int(bool(self.error)), "", self.error)


@pytest.fixture
def on_p100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pascal, "gpu_present", lambda: True)
    monkeypatch.setattr(pascal, "torch_cuda", lambda: "12.8")
    monkeypatch.setattr(pascal, "ask_smi", lambda: "Tesla P100-PCIE-16GB, 6.0")


def test_it_is_said_what_to_do_and_what_it_costs(on_p100: None) -> None:
    pip, said = Pip(), []
    assert pascal.repair("", pip, said.append) is False and pip.calls == []
    assert "Tesla P100-PCIE-16GB" in said[0] and "no kernels" in said[0] and "T4 x2" in said[0]
    assert "PEFT_LAB_P100" in said[1] and "3 GB" in said[1] and "minutes" in said[1] and "restart" in said[1]


def test_the_repair_in_one_step(on_p100: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pip, said = Pip(), []
    assert pascal.repair("install", pip, said.append) is True
    install, remove = pip.calls
    assert "torch==2.13.0" in install and install[-1].endswith("/whl/cu126") and "3 GB" in said[1]
    assert {"torchvision", "torchaudio"} <= set(remove)  # made for the torch that was replaced
    monkeypatch.setattr(pascal, "torch_cuda", lambda: "12.6")
    assert pascal.repair("install", pip, said.append) is False and len(pip.calls) == 2 and len(said) == 2


@pytest.mark.parametrize(("built", "smi"), [("12.8", "Tesla T4, 7.5"), ("12.8", ""), ("", "Tesla P100, 6.0")])
def test_no_other_machine_is_touched(on_p100: None, built: str, smi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pascal, "torch_cuda", lambda: built or None)
    monkeypatch.setattr(pascal, "ask_smi", lambda: smi)
    pip, said = Pip(), []
    assert pascal.repair("install", pip, said.append) is False and pip.calls == said == []


def test_failures_are_one_line(on_p100: None) -> None:
    with pytest.raises(ParameterError, match="PEFT_LAB_P100='yes'"):
        pascal.repair("yes", Pip(), print)
    with pytest.raises(HardwareError, match="could not be installed: ERROR: no.*Internet.*pick a T4"):
        pascal.repair("install", Pip("WARNING: NewConnectionError\nERROR: no"), lambda _: None)


def test_the_setup_cell_repairs_and_asks_for_a_restart(on_p100: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "CUDA_VISIBLE_DEVICES", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        monkeypatch.setenv(name, os.environ.get(name, "x"))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr(hosted, "is_missing", lambda _: False)
    monkeypatch.setattr(hosted, "stale_modules", lambda: ["torch 2.10.0+cu128 -> 2.13.0+cu126"])
    with pytest.raises(HardwareError, match="torch 2.10.0.*restart the session"):
        hosted.prepare(p100="install", say=lambda _: None, run=Pip())
    monkeypatch.setattr(hosted, "stale_modules", list)
    monkeypatch.setenv(pascal.VARIABLE, "install")
    said: list[str] = []
    hosted.prepare(say=said.append, run=Pip())
    assert "is installed" in said[-1]


def test_readme_says_what_works_on_a_p100(root: Path) -> None:
    """README's table against recorded machines: a P100 with the repaired torch, and a T4."""
    text = (root / "README.md").read_text(encoding="utf-8").partition("#### What works on a P100")[2]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", text, re.M)][2:]
    found = {row[0][:2]: row[1:] for row in rows[: len(LESSONS)]}
    assert list(found) == [name[:2] for name in LESSONS]
    here, other = describe(p100(CU126)), describe(t4())
    assert here.device == "cuda" and here.dtype == other.dtype == "float16" and here.capability < FLASH
    assert describe(p100(CU128)).device == "cpu"
    for name, lesson in LESSONS.items():
        quant = lesson.defaults("full").get("quant")
        weights, numbers, runs = found[name[:2]]
        assert weights == {None: "–", "nf4": "NF4", "nf4-double": "NF4, double"}[quant], name
        assert numbers == ("–" if "model_id" not in lesson.parameters else here.dtype), name
        assert runs.startswith("yes" if quant is None or here.supports()["nf4"] else "no"), name
    general = {row[0]: row[1:] for row in rows[len(LESSONS) :]}
    said = {"8-bit weights (`quant int8`)": "int8", "`bfloat16`": "bfloat16", "`torch.compile`": "torch_compile"}
    for title, feature in said.items():
        on_p100, on_t4 = general[title][:2]
        assert on_p100.startswith("yes") is here.supports()[feature], title
        assert on_t4.startswith("yes") is other.supports()[feature], title
