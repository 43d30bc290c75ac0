"""What a run costs and what it ran from: peak memory, git commit; and the seeds it starts with."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

from helpers.files import repo_root
from helpers.machine.probes import ISA


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def torch_on_cpu(isa: str | None) -> dict[str, Any]:
    """What torch computes with on the CPU: {"cpu_isa", "torch_threads"}; the latter is None before torch is imported.

    Args:
        isa: the processor's, one of ``probes.ISA``, or None where that is not known. What torch says of its own kernels
            is taken in its place, and where those are for AVX2 only, which ATEN_CPU_CAPABILITY=avx2 makes them.
    """
    if (torch := sys.modules.get("torch")) is None:
        return {"cpu_isa": isa, "torch_threads": None}
    kernels = str(torch.backends.cpu.get_cpu_capability()).lower()  # "avx512" at most, where bfloat16 is multiplied too
    if (isa is None and kernels in ISA) or (kernels == "avx2" and str(isa).startswith(("avx512", "amx"))):
        isa = kernels
    return {"cpu_isa": isa, "torch_threads": int(torch.get_num_threads())}


def git_state() -> dict[str, Any] | None:
    """{"commit", "changed"} of the repository, None outside one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(repo_root()), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def peak_rss_gb() -> float:
    """The most memory this process has held so far, in GB (10^9 bytes)."""
    try:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
    except ImportError:  # Windows
        import psutil

        memory = psutil.Process().memory_info()
        return round(getattr(memory, "peak_wset", memory.rss) / 1e9, 3)


def peak_cuda_gb() -> float | None:
    """The most memory torch has held on the GPU, in GB (10^9 bytes); None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e9, 3)


def peak_memory() -> str:
    """The most memory held so far, "5.2 GB GPU" or, without a GPU, "0.9 GB RAM"; for tables."""
    cuda = peak_cuda_gb()
    return f"{peak_rss_gb():.1f} GB RAM" if cuda is None else f"{cuda:.1f} GB GPU"
