"""Known ways in which a machine cannot run the course, each with its cure.

Pure functions over the record that ``probes.gather`` makes, so that a P100 can be tested on a laptop. Each
check yields the problems it sees; ``find_problems`` runs them all.
"""

from __future__ import annotations

from helpers.machine.problems import gpu, packages, place
from helpers.machine.problems.base import Problem, Record, gpu_usable, has_kernels
from helpers.machine.problems.packages import MINIMUM, PYTHON_MAX, PYTHON_MIN, REQUIRED, TORCH_BELOW, TORCH_MIN

SEVERITIES = ("error", "warning", "note")
CHECKS = (
    packages.check_python, packages.check_missing, packages.check_old, packages.check_new, packages.check_torchao,
    packages.check_pyarrow, packages.check_restart,
    gpu.check_no_gpu, gpu.check_kernels, gpu.check_gpu_memory, gpu.check_several, gpu.check_bfloat16,
    gpu.check_bitsandbytes,
    place.check_limits, place.check_cores, place.check_internet, place.check_hub_access,
)  # fmt: skip


def find_problems(record: Record) -> list[Problem]:
    """Everything wrong with a gathered record, errors first, notes last."""
    found = [problem for check in CHECKS for problem in check(record)]
    return sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))
