"""Machines as records (a T4, a P100 without kernels, a laptop …), judged without owning one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine_cases import CU126, NAMES, fresh, machine, p100, read, ready, serious, t4, told

from helpers.machine import hardware, probes
from helpers.machine.hardware import Machine, describe
from helpers.sources import tokens

# What doctor says of each recorded machine, before and after the setup cell. Words of each problem, in their order.
BF16 = ("note", "only emulates bfloat16")
COLAB = [
    ("error", "not installed: trl, evaluate, papermill"),
    ("error", "torchao 0.10.0 makes PEFT refuse every LoRA"),
    ("warning", "bitsandbytes is not installed"),
]
KAGGLE = [
    ("error", "not installed: trl, evaluate"),
    ("error", "transformers 5.0.0 is too old"),
    ("error", "torchao 0.10.0"),
    ("warning", "bitsandbytes is not installed"),
]
NO_KERNELS = ("error", "this torch has no kernels for Tesla P100-PCIE-16GB (sm_60;")
SAID: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "colab_t4": ([*COLAB, BF16], [BF16]),
    "colab_l4": (COLAB, []),
    "colab_a100": (COLAB, []),
    "kaggle_p100": ([*KAGGLE[:3], NO_KERNELS, KAGGLE[3]], [NO_KERNELS]),
    "kaggle_t4x2": ([*KAGGLE, ("warning", "2 GPUs are visible"), BF16], [BF16]),
    "laptop": ([], []),
    "ci": ([], []),
}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_machines(name: str) -> None:
    assert len(read(name)["about"]) > 20
    for record, expected in zip((fresh(name), ready(name)), SAID[name], strict=True):
        found = told(record)
        assert len(found) == len(expected), found
        for (severity, what), (wanted, words) in zip(found, expected, strict=True):
            assert severity == wanted and words in what, found
        serious(record)  # tidy lines
        assert json.loads(json.dumps(describe(record).as_dict()))["platform"] == record["platform"]


def test_the_records_hold_what_is_gathered() -> None:
    """A key that gather no longer writes, or newly writes, is a record out of date."""
    keys = set(probes.gather()) - {"gpu_error"}
    seen = {"gpu_name", "gpu_memory_gb", "capability", "arch_list", "bnb_libraries", "bnb_override"}
    for name in NAMES:
        record = read(name)["record"]
        assert set(record) == (keys | seen if record["cuda_available"] else keys - {"driver", "gpu_names"}), name


def test_healthy_laptop() -> None:
    laptop = describe(machine())
    assert laptop.problems == ()
    assert (laptop.device, laptop.dtype, laptop.capability) == ("cpu", "float32", None)
    assert laptop.device_name == "Some laptop CPU" and laptop.gpu_memory_gb == 0
    assert laptop.supports()["nf4"] and not laptop.supports()["bfloat16"]
    assert laptop.cpu_isa == "avx2" and describe(machine(cpu_isa="avx512")).dtype == "float32"
    assert {describe(machine(cpu_isa=isa)).dtype for isa in ("avx512_bf16", "amx_bf16")} == {"bfloat16"}


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        (t4(), "float16"),
        (p100(CU126), "float16"),
        (ready("kaggle_t4x2"), "float16"),
        (ready("colab_a100"), "bfloat16"),
        (ready("colab_l4"), "bfloat16"),
        (ready("colab_a100", gpu_name="NVIDIA H100", capability=[9, 0], gpu_memory_gb=85.0), "bfloat16"),
    ],
)
def test_compute_type_of_gpus(record: dict[str, Any], dtype: str) -> None:
    described = describe(record)
    assert (described.device, described.dtype) == ("cuda", dtype)
    assert described.device_name == record["gpu_name"] and serious(record) == []
    emulated = [p.what for p in described.problems if "emulates bfloat16" in p.what]
    assert len(emulated) == (dtype == "float16") and described.supports()["bfloat16"] == (dtype == "bfloat16")
    assert described.capability == tuple(record["capability"])


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({}, ""),
        ({"COLAB_RELEASE_TAG": "release-colab-external_2026"}, "colab"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "kaggle"),
        (
            {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_RELEASE_TAG": "x"},
            "kaggle",
        ),  # Kaggle's image is Colab's
        ({"COLAB_RELEASE_TAG": ""}, ""),
    ],
)
def test_platform(environment: dict[str, str], platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tokens.hosted_on() == platform


def test_this_machine() -> None:
    here = hardware.probe()
    assert isinstance(here, Machine) and hardware.probe() is here
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.cpu_count >= 1 and here.ram_gb > 0.5 and here.disk_free_gb >= 0
    assert 0 < here.ram_free_gb <= here.ram_gb
    assert here.device == "cpu" or here.capability is not None
    assert json.loads(json.dumps(here.as_dict()))["versions"]["torch"] == here.versions["torch"]
    assert "\n" not in str(here) and here.dtype in str(here)


def test_probe_on_a_cpu_build_imports_no_torch() -> None:
    code = (
        "import sys; from helpers.machine import hardware; m = hardware.probe(); "
        "print(m.versions['torch'].endswith('+cpu'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"True False", "False True", "False False"}


def test_broken_torch_does_not_stop_the_probe(tmp_path: Path) -> None:
    """A torch whose import fails (say, a missing CUDA library) becomes a problem with a cure."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open')")
    code = (
        "from helpers.machine import hardware, probes; "
        "r = {**probes.gather(), 'gpu_present': True, 'torch_cuda': '12.6', **probes.gpu(True, '2.13.0')}; "
        "r['versions']['torch'] = '2.13.0'; "
        "print(*hardware.describe(r).problems, sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "libcudart.so.12" in done.stdout and "Traceback" not in done.stderr


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    free = probes.disk_free(tmp_path / "not" / "yet")
    assert free is not None and free > 0
