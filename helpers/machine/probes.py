"""Looking at the machine: the impure half of ``hardware``. A plain dict comes out, which ``problems`` judges.

Nothing here starts a computation on the GPU, nothing raises, and nothing waits long: nvidia-smi gets a few seconds,
the network is asked only by ``ask_network``, which ``doctor`` calls. Recorded results stand in tests/machines.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from helpers.files import repo_root
from helpers.machine import gpus, ranks
from helpers.machine.versions import installed_version, loaded_versions
from helpers.sources import assets, tokens
from helpers.sources.hub_errors import GATED
from helpers.sources.network import hub_reachable, hub_status, in_time, offline

PACKAGES = (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "evaluate", "accelerate",
    "tokenizers", "safetensors", "huggingface_hub", "numpy", "pandas", "pyarrow", "scikit-learn", "papermill",
    "nbclient", "gguf", "torchao", "torchvision", "triton",
)  # fmt: skip
GB = 1e9
CPU_INFO = Path("/proc/cpuinfo")
# Instruction sets that torch has kernels for, from narrow to wide, and the processor flag that shows each.
ISA = {
    "neon": "asimd", "sve": "sve", "sse": "sse4_1", "avx": "avx", "avx2": "avx2", "avx512": "avx512bw",
    "avx512_bf16": "avx512_bf16", "amx_bf16": "amx_bf16",
}  # fmt: skip
CGROUP = Path("/sys/fs/cgroup")
SMI_TIMEOUT = 8.0  # seconds; a broken driver makes nvidia-smi hang
NET_TIMEOUT = 3.0  # seconds for all questions to the network together


def gather() -> dict[str, Any]:
    """Look at the machine, not at the network. Never raises."""
    versions = {name: version for name in PACKAGES if (version := installed_version(name))}
    ram, ram_free = memory()
    present = gpu_present()
    record: dict[str, Any] = {
        "platform": tokens.hosted_on() or "local",
        "os": platform.system(),
        "python": platform.python_version(),
        "cpu_name": _search(r"^model name.*?:(.*)$", CPU_INFO) or platform.processor() or platform.machine() or "CPU",
        "cpu_isa": cpu_isa(),
        "cpu_count": cpu_count(),
        "ram_gb": ram,
        "ram_free_gb": ram_free,
        "disk_free_gb": disk_free(repo_root()),
        "cache_free_gb": disk_free(assets.cache_dir()),
        "hub_free_gb": disk_free(Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()),
        "versions": versions,
        "loaded": loaded_versions(),
        "gpu_present": present,
        "gpu_devices": gpu_devices(),
        "cuda_visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "torch_cuda": torch_cuda(),
    }
    record.update(gpu(present, versions.get("torch", "")))
    if present:
        record |= {"bnb_libraries": bnb_libraries(), "bnb_override": os.environ.get("BNB_CUDA_VERSION")}
        # Only where torch sees no GPU is it worth half a second to ask the driver why.
        if not record["cuda_available"]:
            record.update(driver())
    return record


def ask_network(record: Mapping[str, Any]) -> dict[str, Any]:
    """What only the network can tell, in a few seconds: {} where there is no point in asking.

    ``internet``: whether the Hub answers; asked on Kaggle, where it can be switched off, and where a GPU could run
    profile full. ``hub_access``: for each gated model of the published projects "granted", "no token",
    "bad token", "no licence" or "unknown".
    """
    wants_hub = bool(record.get("cuda_available"))
    if offline(hub=True) or not (wants_hub or record.get("platform") == "kaggle"):
        return {}
    found: dict[str, Any] = {"internet": hub_reachable()}
    if wants_hub and found["internet"]:
        token = tokens.find() or tokens.stored_hub_token()
        questions = [partial(hub_status, f"{model}/resolve/main/config.json", token) for model in GATED]
        statuses = in_time(questions, NET_TIMEOUT)
        found["hub_access"] = {model: access(s, bool(token)) for model, s in zip(GATED, statuses, strict=True)}
    return found


def access(status: int | None, has_token: bool) -> str:
    """What a status says about a gated model: 401 without or with a wrong token, 403 without its licence."""
    if status is not None and status < 400:
        return "granted"
    if status == 401:
        return "bad token" if has_token else "no token"
    return "no licence" if status == 403 else "unknown"


def gpu_present() -> bool:
    """A GPU driver is in sight. Cheap, and does not need torch."""
    marks = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    return any(os.path.exists(mark) for mark in marks) or bool(shutil.which("nvidia-smi"))


def gpu_devices() -> int:
    """NVIDIA GPUs in this machine, hidden ones too; 0 where the system does not list them."""
    with contextlib.suppress(OSError):
        return sum(bool(re.fullmatch(r"nvidia\d+", name)) for name in os.listdir("/dev"))
    return 0


def gpu(present: bool, torch_version: str) -> dict[str, Any]:
    """Facts on this process's GPU, one of those that are there. Asks only for properties: no kernel is launched."""
    none = {"cuda_available": False, "gpu_count": 0}
    if not present or not torch_version or torch_version.endswith("+cpu"):
        return none
    # Ask the driver rather than start CUDA, which would break processes forked later.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    try:
        import torch

        if not torch.cuda.is_available():
            return none
        gpus.pick_one(torch.cuda.device_count())  # before the next line starts CUDA
        properties = torch.cuda.get_device_properties(min(ranks.local_rank(), torch.cuda.device_count() - 1))
        return {
            "cuda_available": True,
            "gpu_count": torch.cuda.device_count(),
            "gpu_name": properties.name,
            "gpu_memory_gb": round(properties.total_memory / GB, 2),
            "capability": [properties.major, properties.minor],
            "arch_list": list(torch.cuda.get_arch_list()),
            "torch_cuda": torch.version.cuda or torch.version.hip,
        }
    except Exception as error:  # a broken driver or torch must not keep the doctor from speaking
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return none | {"gpu_error": lines[0][:200]}


def driver() -> dict[str, Any]:
    """What nvidia-smi says of the driver: ``driver``, ``driver_cuda`` (newest CUDA it runs) and ``gpu_names``."""
    null = subprocess.DEVNULL
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        output = subprocess.check_output(["nvidia-smi", "-q"], stderr=null, stdin=null, timeout=SMI_TIMEOUT)
        return parse_smi(output.decode(errors="replace"))
    return {}


def parse_smi(text: str) -> dict[str, Any]:
    """The same from the text that ``nvidia-smi -q`` prints; {} when it prints an error."""
    found: dict[str, Any] = {}
    for key, name in (("driver", "Driver Version"), ("driver_cuda", r"CUDA (?:UMD )?Version")):
        if match := re.search(rf"^\s*{name}\s*:\s*([\d.]+)\s*$", text, re.MULTILINE):
            found[key] = match[1]
    if names := re.findall(r"^\s*Product Name\s*:\s*(.+?)\s*$", text, re.MULTILINE):
        found["gpu_names"] = names
    return found


def files_of(package: str, pattern: str) -> list[Path]:
    """Files in the folder of a package, which is not imported; [] where there is none."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        spec = find_spec(package)
        places = (spec.submodule_search_locations if spec else None) or ()
        return [file for place in places for file in Path(place).glob(pattern)]
    return []


def torch_cuda() -> str | None:
    """The CUDA (or ROCm) version torch was built for, read from its files, not imported; None for a CPU build."""
    built = r"^(?:cuda|hip)\b[^=]*=\s*['\"]([\d.]+)['\"]"
    return next((found for file in files_of("torch", "version.py") if (found := _search(built, file))), None)


def bnb_libraries() -> list[str]:
    """CUDA versions that the installed bitsandbytes has a library for, as ["11.8", "12.6"]; does not import it."""
    names = " ".join(file.name for file in files_of("bitsandbytes", "libbitsandbytes_cuda*"))
    found = re.findall(r"libbitsandbytes_cuda(\d\d)(\d)\b", names)
    return [f"{major}.{minor}" for major, minor in sorted(found)]


def _search(pattern: str, file: Path) -> str:
    """The first group where a text file has the pattern, "" where it has not or cannot be read."""
    with contextlib.suppress(OSError):
        match = re.search(pattern, file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        return match[1].strip() if match else ""
    return ""


def cpu_isa() -> str | None:
    """The widest of ``ISA`` that this processor has; None where the system does not say."""
    flags = _search(r"^(?:flags|Features).*?:(.*)$", CPU_INFO).split()
    everywhere = "neon" if platform.machine().lower() in ("arm64", "aarch64") else None
    return next((name for name, flag in reversed(ISA.items()) if flag in flags), everywhere)


def cpu_count() -> int:
    """Cores this process may use: affinity and, in a container, the CPU quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, max(1, round(int(quota) / int(period))))
    return count


def memory() -> tuple[float, float]:
    """(total, available) in GB; a container's limit counts as the total, and files kept in memory as available."""
    total = free = 0.0
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import psutil

        found = psutil.virtual_memory()
        total, free = found.total / GB, found.available / GB
    newer = ("memory.max", "memory.current", "memory.stat", "inactive_file")
    v1 = "memory/memory."
    older = (f"{v1}limit_in_bytes", f"{v1}usage_in_bytes", f"{v1}stat", "total_inactive_file")
    for *names, stat, key in (newer, older):
        with contextlib.suppress(OSError, ValueError):
            limit, used = (int((CGROUP / name).read_text(encoding="ascii")) / GB for name in names)
            if limit < (total or float("inf")):
                # A downloaded model's file stays in the cache, counts as used and is given up when memory is needed.
                cached = float(_search(rf"^{key} (\d+)$", CGROUP / stat) or 0) / GB
                total, free = limit, min(free or limit, max(0.0, limit - used + cached))
    return round(total, 2), round(free, 2)


def disk_free(folder: Path) -> float | None:
    """GB free where ``folder`` is or will be; None when that cannot be told."""
    with contextlib.suppress(OSError):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        return round(shutil.disk_usage(there).free / GB, 2)
    return None
