"""Known ways in which a machine cannot run the course, each with its cure.

Pure functions over the record that ``hardware.gather`` makes, so that a P100 can be tested on a laptop. Each
check returns the problems it sees; ``find_problems`` runs them all. An "error" stops some lesson from
running, a "warning" costs time or a feature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.defaults import FULL_GPU_GB

PYTHON_MIN, PYTHON_MAX = (3, 11), (3, 13)
TORCH_MIN, TORCH_BELOW = (2, 6), (2, 14)
CPU_RAM_GB, SMOKE_RAM_GB = 7.0, 3.0  # cpu peaks under 6 GB, smoke under 2, the system takes the rest
FULL_DISK_GB, CPU_DISK_GB, LEAST_DISK_GB = 30.0, 4.0, 1.0
INSTALL = "pip install -r requirements.txt -c constraints.txt"

REQUIRED = ("torch", "transformers", "peft", "trl", "datasets", "evaluate", "accelerate", "papermill")
# As in requirements.txt (a test compares).
MINIMUM = {"transformers": (5, 15), "peft": (0, 20), "trl": (1, 16), "datasets": (4, 7)}


@dataclass(frozen=True)
class Problem:
    """What is wrong, what to do, and "error" or "warning"."""

    what: str
    cure: str
    severity: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}. {self.cure}."


Check = Callable[[Mapping[str, Any]], Iterator[Problem]]


def find_problems(record: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with a gathered record, errors first."""
    found = [problem for check in CHECKS for problem in check(record)]
    return sorted(found, key=lambda problem: problem.severity != "error")


def gpu_usable(record: Mapping[str, Any]) -> bool:
    """A GPU is visible, torch has kernels for it, and 4-bit weights work on it."""
    if not record.get("cuda_available"):
        return False
    capability = _capability(record)
    return has_kernels(capability, record.get("arch_list") or ()) and capability >= (6, 0)


def has_kernels(capability: tuple[int, int], arch_list: Any) -> bool:
    """Whether a build for ``arch_list`` runs on a GPU of this compute capability.

    ``sm_XY`` code runs on GPUs of the same major version with an equal or higher minor one; ``compute_XY`` is
    portable and runs on every later GPU. An empty list means the build does not say (ROCm): assume yes.
    """
    known = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", str(arch)) for arch in arch_list]
    builds = [(m[1], int(m[2]), int(m[3])) for m in known if m]
    if not builds:
        return True
    return any(
        (kind == "compute" and (major, minor) <= capability)
        or (kind == "sm" and major == capability[0] and minor <= capability[1])
        for kind, major, minor in builds
    )


def version_tuple(version: str) -> tuple[int, ...]:
    """(2, 13, 0) of "2.13.0+cu128"; stops at the first part that is not a number."""
    numbers: list[int] = []
    for part in re.split(r"[.+]", version):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _capability(record: Mapping[str, Any]) -> tuple[int, int]:
    major, minor = record.get("capability") or (0, 0)
    return int(major), int(minor)


def _have(record: Mapping[str, Any], package: str) -> tuple[int, ...]:
    return version_tuple(record["versions"].get(package, ""))


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def check_python(record: Mapping[str, Any]) -> Iterator[Problem]:
    here = version_tuple(record["python"])[:2]
    if here < PYTHON_MIN:
        what = f"Python {record['python']} is too old"
        yield Problem(what, f"use Python {_dotted(PYTHON_MIN)} to {_dotted(PYTHON_MAX)}", "error")
    elif here > PYTHON_MAX:
        what = f"Python {record['python']} has not been tried"
        yield Problem(what, f"use Python {_dotted(PYTHON_MIN)} to {_dotted(PYTHON_MAX)} if something fails", "warning")


def check_packages(record: Mapping[str, Any]) -> Iterator[Problem]:
    missing = [name for name in REQUIRED if name not in record["versions"]]
    if missing:
        yield Problem(f"not installed: {', '.join(missing)}", f"run: {INSTALL}", "error")
    if "bitsandbytes" not in record["versions"]:
        what = "bitsandbytes is not installed, so nothing loads in 4 bits (QLoRA)"
        yield Problem(what, "run: pip install bitsandbytes, or set quant='none'", "warning")
    for name, least in MINIMUM.items():
        if name in record["versions"] and _have(record, name) < least:
            what = f"{name} {record['versions'][name]} is too old, the course needs {_dotted(least)} or newer"
            yield Problem(what, f"run: pip install -U {name}, then restart the runtime", "error")
    torch = _have(record, "torch")
    if torch and torch < TORCH_MIN:
        what = f"torch {record['versions']['torch']} is too old, the course needs {_dotted(TORCH_MIN)} or newer"
        yield Problem(what, f"run: {INSTALL}", "error")
    elif torch and torch >= TORCH_BELOW:
        what = f"torch {record['versions']['torch']} is newer than what was tried"
        yield Problem(what, f"install torch below {_dotted(TORCH_BELOW)} if something fails", "warning")


def check_torchao(record: Mapping[str, Any]) -> Iterator[Problem]:
    """PEFT looks at torchao even for plain LoRA and raises ImportError when it is old (Colab: 0.10)."""
    if "torchao" in record["versions"] and _have(record, "torchao") < (0, 16):
        what = f"torchao {record['versions']['torchao']} makes PEFT refuse every LoRA (it wants 0.16 or none)"
        yield Problem(what, "run: pip uninstall -y torchao", "error")


def check_pyarrow(record: Mapping[str, Any]) -> Iterator[Problem]:
    datasets, pyarrow = _have(record, "datasets"), _have(record, "pyarrow")
    if datasets >= (5, 2) and pyarrow and pyarrow < (24,):
        versions = record["versions"]
        what = f"datasets {versions['datasets']} needs pyarrow 24 or newer, {versions['pyarrow']} is installed"
        yield Problem(what, "run: pip install -U pyarrow, then restart the runtime", "error")


def check_restart(record: Mapping[str, Any]) -> Iterator[Problem]:
    """A module imported before pip replaced it on disk: half old, half new code."""
    for name, loaded in record.get("loaded", {}).items():
        installed = record["versions"].get(name)
        if installed and version_tuple(installed) != version_tuple(loaded):
            what = f"{name} {loaded} is in memory, but {installed} was installed since"
            yield Problem(what, "restart the runtime (kernel), then run the notebook again", "error")


def check_gpu(record: Mapping[str, Any]) -> Iterator[Problem]:
    if not record.get("cuda_available"):
        yield from _no_gpu(record)
        return
    name, capability = record.get("gpu_name", "the GPU"), _capability(record)
    if not has_kernels(capability, record.get("arch_list") or ()):
        built = ", ".join(record["arch_list"])
        what = f"this torch has no kernels for {name} (sm_{capability[0]}{capability[1]}; built for {built})"
        cure = "pick a T4, or install PyTorch's cu126 build and restart; until then the CPU is used"
        yield Problem(what, cure, "error")
    elif capability < (6, 0):
        what = f"{name} has compute capability {_dotted(capability)}, 4-bit weights need 6.0"
        yield Problem(what, "use a newer GPU; until then the CPU is used", "error")
    elif float(record.get("gpu_memory_gb") or 0) < FULL_GPU_GB:
        what = f"{name} has {float(record.get('gpu_memory_gb') or 0):.0f} GB, profile full is made for 16 GB"
        yield Problem(what, "use profile cpu, or a smaller model_id and batch_size", "warning")
    if int(record.get("gpu_count") or 0) > 1:
        what = f"{record['gpu_count']} GPUs are visible, and the trainer of these lessons takes one"
        yield Problem(what, "set CUDA_VISIBLE_DEVICES=0 before torch is imported (12_scale_out uses all)", "warning")


def _no_gpu(record: Mapping[str, Any]) -> Iterator[Problem]:
    if record.get("gpu_error"):
        what = f"torch fails on looking for a GPU ({record['gpu_error']})"
        yield Problem(what, "reinstall torch or update the GPU driver; until then the CPU is used", "error")
    elif record.get("gpu_present") and record["versions"].get("torch"):
        build = record["versions"]["torch"]
        what = f"a GPU driver is here, but torch {build} cannot use it"
        cure = "check CUDA_VISIBLE_DEVICES, the driver's age, and that torch is a CUDA build"
        yield Problem(what, cure, "warning")
    elif record["platform"] == "colab":
        yield Problem("no GPU in this runtime", "Runtime > Change runtime type > T4 GPU", "warning")
    elif record["platform"] == "kaggle":
        yield Problem("no GPU in this session", "Settings > Accelerator > GPU T4 x2", "warning")


def check_memory(record: Mapping[str, Any]) -> Iterator[Problem]:
    ram = float(record["ram_gb"] or 0)
    if 0 < ram < SMOKE_RAM_GB:
        yield Problem(f"{ram:.1f} GB of RAM is too little", f"use a machine with {CPU_RAM_GB:.0f} GB", "error")
    elif 0 < ram < CPU_RAM_GB:
        what = f"{ram:.1f} GB of RAM, profile cpu is made for {CPU_RAM_GB:.0f} GB"
        yield Problem(what, "use profile smoke, or lower batch_size and max_length", "warning")


def check_disk(record: Mapping[str, Any]) -> Iterator[Problem]:
    for key, where, cure in (
        ("disk_free_gb", "for outputs", "free some, or set output_dir to a larger disk"),
        ("cache_free_gb", "for assets", "free some, or set PEFT_LAB_CACHE to a larger disk"),
    ):
        free = record.get(key)
        if free is None:
            continue
        if free < LEAST_DISK_GB:
            yield Problem(f"{free:.1f} GB of disk left {where} is too little", cure, "error")
        elif free < CPU_DISK_GB:
            yield Problem(
                f"{free:.1f} GB of disk left {where}, profile cpu may need {CPU_DISK_GB:.0f}", cure, "warning"
            )
        elif free < FULL_DISK_GB and gpu_usable(record):
            yield Problem(
                f"{free:.0f} GB of disk left {where}, profile full may need {FULL_DISK_GB:.0f}",
                cure,
                "warning",
            )


def check_cores(record: Mapping[str, Any]) -> Iterator[Problem]:
    if int(record["cpu_count"]) < 2 and not gpu_usable(record):
        yield Problem("one CPU core: times in the course are for two", "expect about twice as long", "warning")


CHECKS: tuple[Check, ...] = (
    check_python,
    check_packages,
    check_torchao,
    check_pyarrow,
    check_restart,
    check_gpu,
    check_memory,
    check_disk,
    check_cores,
)
