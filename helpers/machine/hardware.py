"""What machine is this, which number format does it compute in, and what stands in the way.

``gather`` looks (see ``probes``, the only impure part), ``describe`` judges a gathered record, ``probe``
does both and keeps the answer; ``examine`` asks the network too. torch is imported only where an NVIDIA or AMD GPU is
in sight, so on a plain CPU ``probe`` takes milliseconds. Nothing here starts a computation on the GPU: on a GPU for
which torch was built without kernels the first one kills the process.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from helpers.machine.probes import ask_network, gather
from helpers.machine.problems import Problem, find_problems, gpu_usable

__all__ = ["Machine", "Problem", "describe", "examine", "find_problems", "gather", "probe"]

# Compute capability that a GPU needs for each quantisation: bitsandbytes' kernels, matrix units for 8-bit integers.
NEEDED = {"nf4": (6, 0), "int8": (7, 5)}


@dataclass(frozen=True)
class Machine:
    """One machine, as the course sees it. Sizes in GB of 10^9 bytes.

    Attributes:
        platform: "colab", "kaggle" or "local".
        device: "cuda" when a GPU is there *and* torch can compute on it, else "cpu".
        capability: compute capability of GPU 0, e.g. (7, 5); None on the CPU.
        arch_list: GPU architectures torch was built for, e.g. ("sm_75", "sm_80").
        dtype: what to compute in. "bfloat16" where the GPU has it in hardware (8.0 and up), "float16" on
            older GPUs, "float32" on the CPU: half precision is slower there, and float16 training overflows.
        disk_free_gb: the scarcer of the outputs' disk and the cache's.
    """

    platform: str
    device: str
    device_name: str
    capability: tuple[int, int] | None
    arch_list: tuple[str, ...]
    gpu_memory_gb: float
    gpu_count: int
    cpu_count: int
    ram_gb: float
    ram_free_gb: float
    disk_free_gb: float
    dtype: str
    python: str
    versions: dict[str, str] = field(hash=False)
    problems: tuple[Problem, ...]

    def supports(self) -> dict[str, bool]:
        """What works here: 4-bit NF4, 8-bit, bfloat16 in hardware, torch.compile, several GPUs."""
        capability = self.capability or (0, 0)
        gpu = self.device == "cuda"
        broken = any(problem.severity == "error" and "bitsandbytes" in problem.what for problem in self.problems)
        bnb = "bitsandbytes" in self.versions and not broken
        return {
            "nf4": bnb and (not gpu or capability >= NEEDED["nf4"]),
            "int8": bnb and (not gpu or capability >= NEEDED["int8"]),
            "bfloat16": self.dtype == "bfloat16",
            "torch_compile": not gpu or capability >= (7, 0),
            "multi_gpu": gpu and self.gpu_count > 1,
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        record = asdict(self)
        record["capability"] = list(self.capability) if self.capability else None
        record["arch_list"] = list(self.arch_list)
        record["problems"] = [asdict(problem) for problem in self.problems]
        record["supports"] = self.supports()
        return record

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


def describe(record: Mapping[str, Any]) -> Machine:
    """The machine a gathered record describes, problems included. Pure: same record, same answer."""
    gpu = gpu_usable(record)
    capability = tuple(record.get("capability") or ()) if gpu else ()
    native_bf16 = capability >= (8, 0) if gpu else bool(record.get("cpu_bf16"))
    dtype = "bfloat16" if native_bf16 else "float16" if gpu else "float32"
    disks = [float(record[key]) for key in ("disk_free_gb", "cache_free_gb") if record.get(key) is not None]
    return Machine(
        platform=str(record["platform"]),
        device="cuda" if gpu else "cpu",
        device_name=str(record["gpu_name"] if gpu else record["cpu_name"]),
        capability=(int(capability[0]), int(capability[1])) if gpu else None,
        arch_list=tuple(record.get("arch_list") or ()),
        gpu_memory_gb=float(record.get("gpu_memory_gb") or 0.0) if gpu else 0.0,
        gpu_count=int(record.get("gpu_count") or 0) if gpu else 0,
        cpu_count=int(record["cpu_count"]),
        ram_gb=float(record["ram_gb"]),
        ram_free_gb=float(record.get("ram_free_gb") or 0.0),
        disk_free_gb=min(disks, default=0.0),
        dtype=dtype,
        python=str(record["python"]),
        versions=dict(record["versions"]),
        problems=tuple(find_problems(record)),
    )
