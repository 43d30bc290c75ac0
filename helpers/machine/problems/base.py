"""What a problem is, and how the checks read a record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.machine.versions import version_tuple

Record = Mapping[str, Any]
NF4_CAPABILITY = (6, 0)  # compute capability that 4-bit weights need


@dataclass(frozen=True)
class Problem:
    """What is wrong, what to do, and how bad it is.

    An "error" stops some lesson from running, a "warning" costs time or a feature, a "note" is worth knowing in code
    of one's own: the course has dealt with it.
    """

    what: str
    cure: str
    severity: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}. {self.cure}."


def hosted(record: Record) -> bool:
    """Colab or Kaggle: commands are typed into a cell, and the shipped torch is not to be replaced lightly."""
    return record["platform"] in ("colab", "kaggle")


def run(record: Record, command: str, restart: bool = True) -> str:
    """What to do to run a shell command on this platform."""
    line = f"run in a cell: !{command}" if hosted(record) else f"run: {command}"
    return f"{line}, then restart the runtime" if restart else line


def capability_of(record: Record) -> tuple[int, int]:
    """Compute capability of GPU 0, (0, 0) without one."""
    major, minor = record.get("capability") or (0, 0)
    return int(major), int(minor)


def version_of(record: Record, package: str) -> tuple[int, ...]:
    """The installed version as numbers, () when it is not there."""
    return version_tuple(record["versions"].get(package, ""))


def dotted(numbers: tuple[int, ...]) -> str:
    """ "7.5" of (7, 5)."""
    return ".".join(map(str, numbers))


def gpu_usable(record: Record) -> bool:
    """A GPU is visible, torch has kernels for it, and 4-bit weights work on it."""
    capability = capability_of(record)
    kernels = has_kernels(capability, record.get("arch_list") or ())
    return bool(record.get("cuda_available")) and kernels and capability >= NF4_CAPABILITY


def has_kernels(capability: tuple[int, int], arch_list: Iterable[str]) -> bool:
    """Whether a build for ``arch_list`` runs on a GPU of this compute capability.

    ``sm_XY`` code runs on GPUs of the same major version with an equal or higher minor one; ``compute_XY`` is
    portable and runs on every later GPU. An empty list means the build does not say (ROCm): assume yes.
    """
    known = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", arch) for arch in arch_list]
    builds = [(m[1], (int(m[2]), int(m[3]))) for m in known if m]
    fits = (built <= capability and (kind == "compute" or built[0] == capability[0]) for kind, built in builds)
    return not builds or any(fits)
