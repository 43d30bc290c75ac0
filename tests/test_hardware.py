"""Machines as records (a T4, a P100 without kernels, a laptop …), judged without owning one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from helpers import hardware, problems
from helpers.hardware import Machine, describe, find_problems

CU128 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
VERSIONS = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "trl": "1.16.0",
    "bitsandbytes": "0.50.2",
    "datasets": "5.2.0",
    "evaluate": "0.4.6",
    "accelerate": "1.15.0",
    "papermill": "2.7.0",
    "pyarrow": "26.0.1",
    "numpy": "2.4.6",
}


def machine(**changes: Any) -> dict[str, Any]:
    """A healthy laptop, with changes; ``versions`` is merged, None removes a package."""
    versions = {**VERSIONS, **changes.pop("versions", {})}
    record: dict[str, Any] = {
        "platform": "local",
        "os": "Linux",
        "python": "3.11.7",
        "cpu_name": "Some CPU",
        "cpu_count": 2,
        "ram_gb": 16.0,
        "ram_free_gb": 12.0,
        "disk_free_gb": 80.0,
        "cache_free_gb": 80.0,
        "loaded": {},
        "gpu_present": False,
        "cuda_available": False,
        "gpu_count": 0,
    }
    return {**record, "versions": {k: v for k, v in versions.items() if v is not None}, **changes}


def gpu(name: str, capability: list[int], memory: float, arch: list[str], **changes: Any) -> dict[str, Any]:
    facts = {"gpu_present": True, "cuda_available": True, "gpu_count": 1, "gpu_name": name}
    facts |= {"capability": capability, "gpu_memory_gb": memory, "arch_list": arch, "torch_cuda": "12.8"}
    return machine(**{**facts, **changes})


def t4(**changes: Any) -> dict[str, Any]:
    return gpu("Tesla T4", [7, 5], 15.64, CU128, **changes)


def p100(arch: list[str], **changes: Any) -> dict[str, Any]:
    return gpu("Tesla P100-PCIE-16GB", [6, 0], 17.06, arch, **{"platform": "kaggle", **changes})


def only(record: dict[str, Any]) -> problems.Problem:
    """The one problem of a record, in one tidy line."""
    found = find_problems(record)
    assert len(found) == 1, found
    assert "\n" not in str(found[0]) and found[0].cure and found[0].severity in {"error", "warning"}
    return found[0]


def test_healthy_laptop() -> None:
    laptop = describe(machine())
    assert laptop.problems == ()
    assert (laptop.device, laptop.dtype, laptop.capability) == ("cpu", "float32", None)
    assert laptop.device_name == "Some CPU" and laptop.gpu_memory_gb == 0
    assert laptop.supports()["nf4"] and not laptop.supports()["bfloat16"]


@pytest.mark.parametrize(
    ("record", "dtype"),
    [
        (t4(), "float16"),
        (p100(CU126), "float16"),
        (gpu("NVIDIA A100-SXM4-40GB", [8, 0], 42.5, CU128), "bfloat16"),
        (gpu("NVIDIA L4", [8, 9], 23.9, CU128), "bfloat16"),
        (gpu("NVIDIA H100", [9, 0], 85.0, CU128), "bfloat16"),
    ],
)
def test_compute_type_of_gpus(record: dict[str, Any], dtype: str) -> None:
    described = describe(record)
    assert (described.device, described.dtype) == ("cuda", dtype)
    assert described.device_name == record["gpu_name"] and described.problems == ()
    assert described.capability == tuple(record["capability"])


def test_p100_without_kernels_computes_on_the_cpu() -> None:
    described = describe(p100(CU128))
    assert (described.device, described.dtype, described.capability) == ("cpu", "float32", None)
    problem = only(p100(CU128))
    assert problem.severity == "error" and "sm_60" in problem.what and "cu126" in problem.cure
    assert described.problems == (problem,)


def test_gpu_too_old_for_four_bits() -> None:
    record = gpu("GTX 970", [5, 2], 17.0, ["sm_50"])
    assert describe(record).device == "cpu"
    assert "need 6.0" in only(record).what


@pytest.mark.parametrize(
    ("capability", "arch", "runs"),
    [
        ((7, 5), ["sm_75"], True),
        ((8, 9), ["sm_80", "sm_86"], True),  # same major version, lower minor one
        ((8, 0), ["sm_86"], False),
        ((6, 0), CU128, False),
        ((12, 0), ["sm_90", "compute_90"], True),  # portable code
        ((7, 5), ["compute_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_100"], True),
        ((9, 4), ["gfx942"], True),  # ROCm names its architectures otherwise
        ((7, 5), [], True),
    ],
)
def test_kernels(capability: tuple[int, int], arch: list[str], runs: bool) -> None:
    assert problems.has_kernels(capability, arch) is runs


def test_two_gpus() -> None:
    problem = only(t4(gpu_count=2, platform="kaggle"))
    assert problem.severity == "warning" and "CUDA_VISIBLE_DEVICES=0" in problem.cure
    assert describe(t4(gpu_count=2)).supports()["multi_gpu"]


def test_small_gpu() -> None:
    assert "16 GB" in only(gpu("RTX 3060", [8, 6], 12.5, CU128)).what


def test_old_torchao_blocks_lora() -> None:
    problem = only(t4(platform="colab", versions={"torchao": "0.10.0"}))
    assert problem.severity == "error" and problem.cure == "run: pip uninstall -y torchao"
    assert find_problems(t4(versions={"torchao": "0.16.0"})) == []


def test_datasets_and_pyarrow() -> None:
    problem = only(machine(versions={"pyarrow": "18.1.0"}))
    assert problem.severity == "error" and "pyarrow 24" in problem.what and "restart" in problem.cure
    assert find_problems(machine(versions={"pyarrow": "18.1.0", "datasets": "4.7.0"})) == []


def test_module_replaced_while_in_memory() -> None:
    problem = only(machine(loaded={"pyarrow": "18.1.0", "torch": "2.13.0+cu128"}))
    assert "pyarrow 18.1.0 is in memory, but 26.0.1" in problem.what and "restart" in problem.cure


def test_no_bitsandbytes() -> None:
    problem = only(machine(versions={"bitsandbytes": None}))
    assert problem.severity == "warning" and "4 bits" in problem.what
    assert not describe(machine(versions={"bitsandbytes": None})).supports()["nf4"]


def test_missing_packages_are_named_together() -> None:
    problem = only(machine(versions={"trl": None, "evaluate": None}))
    assert problem.severity == "error" and "trl, evaluate" in problem.what


@pytest.mark.parametrize(
    ("changes", "severity", "says"),
    [
        ({"disk_free_gb": 0.4}, "error", "0.4 GB of disk left for outputs"),
        ({"disk_free_gb": 2.0}, "warning", "for outputs"),
        ({"cache_free_gb": 0.2}, "error", "for assets"),
        ({"ram_gb": 2.0}, "error", "too little"),
        ({"ram_gb": 4.0}, "warning", "profile cpu"),
        ({"cpu_count": 1}, "warning", "one CPU core"),
        ({"python": "3.10.12"}, "error", "too old"),
        ({"python": "3.14.0"}, "warning", "not been tried"),
        ({"versions": {"torch": "2.5.1"}}, "error", "torch 2.5.1 is too old"),
        ({"versions": {"torch": "2.14.0+cu130"}}, "warning", "newer than what was tried"),
        ({"versions": {"transformers": "4.57.6"}}, "error", "transformers 4.57.6 is too old"),
        ({"platform": "colab"}, "warning", "no GPU in this runtime"),
        ({"platform": "kaggle"}, "warning", "no GPU in this session"),
        ({"gpu_present": True, "versions": {"torch": "2.13.0+cpu"}}, "warning", "2.13.0+cpu cannot use it"),
        ({"gpu_present": True, "gpu_error": "CUDA unknown error"}, "error", "CUDA unknown error"),
    ],
)
def test_one_problem_each(changes: dict[str, Any], severity: str, says: str) -> None:
    problem = only(machine(**changes))
    assert problem.severity == severity and says in problem.what


def test_full_profile_wants_disk() -> None:
    assert "profile full" in only(t4(disk_free_gb=12.0)).what
    assert find_problems(machine(disk_free_gb=12.0)) == []


def test_errors_come_first() -> None:
    found = find_problems(machine(cpu_count=1, ram_gb=2.0, versions={"bitsandbytes": None}))
    assert [problem.severity for problem in found] == ["error", "warning", "warning"]


def test_no_floor_differs_from_the_requirements(root: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in (root / "requirements.txt").read_text().splitlines()]
    wanted = {r.name: r for r in map(Requirement, filter(None, lines))}

    def bound(name: str, operator: str) -> str:
        return next(spec.version for spec in wanted[name].specifier if spec.operator == operator)

    for name, least in problems.MINIMUM.items():
        assert problems.version_tuple(bound(name, ">=")) == least, name
    assert problems.version_tuple(bound("torch", ">=")) == problems.TORCH_MIN
    assert problems.version_tuple(bound("torch", "<")) == problems.TORCH_BELOW
    assert set(problems.REQUIRED) <= set(wanted)


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({}, "local"),
        ({"COLAB_RELEASE_TAG": "release-colab-external_2026"}, "colab"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "kaggle"),
        (
            {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_RELEASE_TAG": "x"},
            "kaggle",
        ),  # Kaggle's image is Colab's
        ({"COLAB_RELEASE_TAG": ""}, "local"),
    ],
)
def test_platform(environment: dict[str, str], platform: str) -> None:
    assert hardware.hosted_platform(environment) == platform


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
        "import sys; from helpers import hardware; m = hardware.probe(); "
        "print(m.versions['torch'].endswith('+cpu'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"True False", "False True", "False False"}


def test_broken_torch_does_not_stop_the_probe(tmp_path: Path) -> None:
    """A torch whose import fails (say, a missing CUDA library) becomes a problem with a cure."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open')")
    code = (
        "from helpers import hardware; "
        "r = {**hardware.gather(), 'gpu_present': True, **hardware._gpu(True, '2.13.0')}; "
        "print(*hardware.describe(r).problems, sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "libcudart.so.12" in done.stdout and "Traceback" not in done.stderr


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    free = hardware._disk_free(tmp_path / "not" / "yet")
    assert free is not None and free > 0
