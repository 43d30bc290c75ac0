"""What machine is this, which number format does it compute in, and what stands in the way.

``gather`` looks (see ``probes``, the only impure part), ``describe`` judges a gathered record, ``probe``
does both and keeps the answer; ``examine`` asks the network too. torch is imported only where an NVIDIA or AMD GPU is
in sight, so on a plain CPU ``probe`` takes milliseconds. Nothing here starts a computation on the GPU: on a GPU for
which torch was built without kernels the first one kills the process.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from helpers.machine.probes import ask_network, gather
from helpers.machine.problems import Problem, find_problems, gpu_usable
from helpers.machine.problems.base import NF4_CAPABILITY, capability_of

CPU_BF16 = ("avx512_bf16", "amx_bf16")  # instruction sets that multiply bfloat16
# Compute capability that a GPU needs for each quantisation: bitsandbytes' kernels, matrix units for 8-bit integers.
NEEDED = {"nf4": NF4_CAPABILITY, "int8": (7, 5)}


@dataclass(frozen=True)
class Machine:
    """One machine, as the course sees it. Sizes in GB of 10^9 bytes.

    Attributes:
        platform: "colab", "kaggle" or "local".
        device: "cuda" when a GPU is there *and* torch can compute on it, else "cpu".
        capability: compute capability of GPU 0, e.g. (7, 5); None on the CPU.
        arch_list: GPU architectures torch was built for, e.g. ("sm_75", "sm_80").
        cpu_isa: the CPU's widest instruction set, one of ``probes.ISA``, e.g. "avx512_bf16"; None if unknown.
        dtype: what to compute in. "bfloat16" where the hardware multiplies it (GPUs from 8.0 on, CPUs with AVX512-BF16
            or AMX-BF16), else "float16" on GPUs and "float32" on CPUs: half precision is slower there, and float16
            training overflows.
        disk_free_gb: the scarcer of the outputs' disk and the cache's.
        gpu_free_gb: of ``gpu_memory_gb`` free when ``free.refreshed`` looked; ``None`` when it has not, or cannot tell.
        gpu_count, gpu_devices: GPUs that this process sees, and those that are in the machine (0: not known).
    """

    platform: str
    device: str
    device_name: str
    capability: tuple[int, int] | None
    arch_list: tuple[str, ...]
    gpu_memory_gb: float
    gpu_count: int
    cpu_count: int
    cpu_isa: str | None
    ram_gb: float
    ram_free_gb: float
    disk_free_gb: float
    dtype: str
    python: str
    versions: dict[str, str] = field(hash=False)
    problems: tuple[Problem, ...]
    gpu_free_gb: float | None = None
    gpu_devices: int = 0

    def supports(self) -> dict[str, bool]:
        """What works here: 4-bit NF4, 8-bit, bfloat16 in hardware, torch.compile, several GPUs."""
        capability, gpu = self.capability or (0, 0), self.device == "cuda"
        broken = any(problem.severity == "error" and "bitsandbytes" in problem.what for problem in self.problems)
        bnb = "bitsandbytes" in self.versions and not broken
        return {
            **{name: bnb and (not gpu or capability >= least) for name, least in NEEDED.items()},
            "bfloat16": self.dtype == "bfloat16",
            "torch_compile": not gpu or capability >= (7, 0),
            "multi_gpu": gpu and self.gpu_count > 1,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain tuples, numbers and strings, ready for JSON."""
        return asdict(self) | {"supports": self.supports()}

    def __str__(self) -> str:
        memory = f", {self.gpu_memory_gb:.0f} GB" if self.device == "cuda" else ""
        return (
            f"{self.platform}: {self.device_name}{memory}; {self.cpu_count} CPU cores, "
            f"{self.ram_gb:.0f} GB RAM, {self.disk_free_gb:.0f} GB disk free; computes in {self.dtype}"
        )


@functools.lru_cache(maxsize=1)
def probe() -> Machine:
    """This machine, looked at once per process (``probe.cache_clear()`` looks again). Never raises."""
    return describe(gather())


def examine() -> Machine:
    """This machine looked at again, and what only the network can tell. Takes seconds at most; never raises."""
    record = gather()
    return describe(record | ask_network(record))


def cards(machine: Machine) -> tuple[str, ...]:
    """The GPUs that torch sees here, each as ``CUDA_VISIBLE_DEVICES`` names it; () where there are not several."""
    if machine.device != "cuda" or machine.gpu_count < 2:
        return ()
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return tuple(name for name in visible if name)[: machine.gpu_count] or tuple(map(str, range(machine.gpu_count)))


def describe(record: Mapping[str, Any]) -> Machine:
    """The machine a gathered record describes, problems included. Pure: same record, same answer."""
    gpu = gpu_usable(record)
    capability = capability_of(record) if gpu else None
    native_bf16 = capability >= (8, 0) if capability else record["cpu_isa"] in CPU_BF16
    disks = [record[key] for key in ("disk_free_gb", "cache_free_gb") if record.get(key) is not None]
    same = ("platform", "cpu_count", "cpu_isa", "ram_gb", "ram_free_gb", "python", "versions")
    return Machine(
        **{name: record[name] for name in same},
        device="cuda" if gpu else "cpu",
        device_name=record["gpu_name"] if gpu else record["cpu_name"],
        capability=capability,
        arch_list=tuple(record.get("arch_list") or ()),
        gpu_memory_gb=record["gpu_memory_gb"] if gpu else 0.0,
        gpu_count=record["gpu_count"] if gpu else 0,
        gpu_devices=record.get("gpu_devices", 0),
        disk_free_gb=min(disks, default=0.0),
        dtype="bfloat16" if native_bf16 else "float16" if gpu else "float32",
        problems=tuple(find_problems(record)),
    )
