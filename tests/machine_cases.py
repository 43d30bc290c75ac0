"""Recorded machines (tests/machines), and changes to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.machine import problems
from helpers.machine.problems import find_problems

FOLDER = Path(__file__).parent / "machines"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def read(name: str) -> dict[str, Any]:
    """A file of tests/machines: about, record and, for hosted services, after_setup."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def changed(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The record with changes; ``versions`` is merged, None removes a package."""
    versions = {**record["versions"], **changes.pop("versions", {})}
    return {**record, "versions": {k: v for k, v in versions.items() if v is not None}, **changes}


def fresh(name: str, **changes: Any) -> dict[str, Any]:
    """The machine as it starts."""
    return changed(read(name)["record"], **changes)


def ready(name: str, **changes: Any) -> dict[str, Any]:
    """The machine after the setup cell, and the restart it may ask for."""
    found = read(name)
    return changed({**changed(found["record"], **found.get("after_setup", {})), "loaded": {}}, **changes)


CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU128 = ready("colab_t4")["arch_list"]
WHEEL = "--index-url https://download.pytorch.org/whl"


def machine(**changes: Any) -> dict[str, Any]:
    """A healthy laptop, with changes."""
    return ready("laptop", **changes)


def with_gpu(**changes: Any) -> dict[str, Any]:
    """That laptop with a driver for a GPU, and with what torch did not say of it."""
    known = {"gpu_present": True, "torch_cuda": "12.6", "gpu_names": ["NVIDIA GeForce RTX 4080"], "driver": "580.82.07"}
    return machine(**{**known, "driver_cuda": "13.0", **changes})


def t4(**changes: Any) -> dict[str, Any]:
    return ready("colab_t4", **changes)


def p100(arch: list[str], **changes: Any) -> dict[str, Any]:
    return ready("kaggle_p100", arch_list=arch, **changes)


def serious(record: dict[str, Any]) -> list[problems.Problem]:
    """What is wrong, without what is only worth knowing; every problem is one tidy line."""
    found = find_problems(record)
    for problem in found:
        assert "\n" not in str(problem) and ".." not in str(problem) and problem.what and problem.cure
        assert problem.severity in {"error", "warning", "note"}
    return [problem for problem in found if problem.severity != "note"]


def only(record: dict[str, Any]) -> problems.Problem:
    """The one serious problem of a record."""
    found = serious(record)
    assert len(found) == 1, found
    return found[0]


def told(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.severity, problem.what) for problem in find_problems(record)]
