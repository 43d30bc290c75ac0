"""GPUs that torch does not see, and what to type; which library bitsandbytes takes."""

from __future__ import annotations

from typing import Any

import pytest
from machine_cases import WHEEL, only, serious, t4, with_gpu

from helpers.machine import problems
from helpers.machine.hardware import describe

# -- torch sees no GPU: one cause is named, and what to type


@pytest.mark.parametrize(
    ("changes", "severity", "says", "cure"),
    [
        ({"cuda_visible": ""}, "warning", "CUDA_VISIBLE_DEVICES='' hides it", "unset CUDA_VISIBLE_DEVICES"),
        ({"cuda_visible": "-1"}, "warning", "CUDA_VISIBLE_DEVICES='-1' hides it", "unset CUDA_VISIBLE_DEVICES"),
        (
            {"torch_cuda": None, "versions": {"torch": "2.12.1+cpu"}},
            "warning",
            "NVIDIA GeForce RTX 4080 is here, but torch 2.12.1+cpu cannot use it: it is a build for the CPU",
            f"run: pip install torch==2.12.1 {WHEEL}/cu126, then restart the runtime",
        ),
        ({"gpu_names": ["T4", "T4"], "torch_cuda": None}, "warning", "2 x T4 is here", "cu126"),
        ({"gpu_names": [], "torch_cuda": None, "driver": None}, "warning", "a GPU is here", "cu126"),
        (
            {"driver": "470.256.02", "driver_cuda": "11.4"},
            "error",
            "NVIDIA's driver 470.256.02 (CUDA 11.4) is too old for torch 2.13.0, which is built for CUDA 12.6",
            f"update the driver to 525 or newer, or run: pip install torch==2.7.1 {WHEEL}/cu118, then restart",
        ),
        (
            {"driver": "550.54.15", "driver_cuda": "12.4", "torch_cuda": "13.0", "gpu_error": "driver too old"},
            "error",
            "built for CUDA 13.0",
            f"update the driver to 580 or newer, or run: pip install torch==2.13.0 {WHEEL}/cu126",
        ),
        ({"driver": "390.157", "driver_cuda": None}, "error", "driver 390.157 is too old", "update the driver to 525"),
        ({"gpu_error": "CUDA unknown error"}, "error", "(CUDA unknown error)", "update the GPU driver"),
        ({}, "warning", "torch 2.13.0 cannot use it", "nvidia-smi"),
    ],
)
def test_why_torch_sees_no_gpu(changes: dict[str, Any], severity: str, says: str, cure: str) -> None:
    problem = only(with_gpu(**changes))
    assert problem.severity == severity and says in problem.what and cure in problem.cure
    assert describe(with_gpu(**changes)).device == "cpu"


def test_a_driver_of_the_same_major_version_is_new_enough() -> None:
    """CUDA 12.8 runs on a driver of 12.4, and everything on a newer one."""
    for driver, cuda in (("550.54.15", "12.8"), ("525.60.13", "12.1"), ("580.82.07", "11.8"), ("580.65.06", "13.0")):
        assert "too old" not in only(with_gpu(driver=driver, torch_cuda=cuda)).what


@pytest.mark.parametrize(
    ("capability", "driver", "torch", "command"),
    [
        ([6, 0], "560.35.03", "2.10.0+cu128", "torch==2.10.0 {}/cu126"),
        ([12, 0], "580.82.07", "2.13.0+cpu", "torch==2.13.0 {}/cu130"),
        ([12, 0], "580.82.07", "2.7.0", "torch==2.13.0 {}/cu130"),  # cu130 begins with 2.9
        ([7, 5], "470.256.02", "2.6.0+cu124", "torch==2.6.0 {}/cu118"),
        ([7, 5], "525.60.13", "2.20.0", "torch==2.13.0 {}/cu126"),
        ([12, 0], "550.54.15", "2.13.0", ""),  # this GPU needs a newer driver first
    ],
)
def test_which_torch_to_install(capability: list[int], driver: str, torch: str, command: str) -> None:
    record = with_gpu(capability=capability, driver=driver, versions={"torch": torch})
    wanted = f"pip install {command.format(WHEEL)}" if command else ""
    assert problems.gpu.torch_command(record) == wanted


# -- bitsandbytes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"torch_cuda": "12.9"}, ""),  # takes the library for 12.8
        ({"torch_cuda": "12.0"}, ""),
        (
            {"torch_cuda": "14.0"},
            "no library for CUDA 14.0 of torch 2.11.0+cu128 (libbitsandbytes_cuda140; it has CUDA",
        ),
        ({"bnb_libraries": ["11.8"]}, "it has CUDA 11.8)"),
        ({"bnb_libraries": []}, ""),  # not known
        ({"bnb_override": "126"}, ""),
        ({"bnb_override": "125"}, "BNB_CUDA_VERSION=125 asks for a library that bitsandbytes 0.50.2 has not"),
    ],
)
def test_cuda_library_of_bitsandbytes(changes: dict[str, Any], says: str) -> None:
    record = t4(**changes)
    assert describe(record).supports()["nf4"] == describe(record).supports()["int8"] == (not says)
    if not says:
        assert serious(record) == []
        return
    problem = only(record)
    assert problem.severity == "error" and says in problem.what
    cure = "unset BNB_CUDA_VERSION" if "bnb_override" in changes else "pip install -U bitsandbytes, then restart"
    assert cure in problem.cure
