"""Python and packages: missing, too old, too new, at odds with each other, or replaced under a running kernel."""

from __future__ import annotations

from collections.abc import Iterator

from helpers.machine.problems.base import Problem, Record, dotted, hosted, run, version_of
from helpers.machine.versions import TORCHAO_MIN, version_tuple

PYTHON_MIN, PYTHON_MAX = (3, 11), (3, 13)
TORCH_MIN, TORCH_BELOW = (2, 6), (2, 14)
INSTALL = "pip install -r requirements.txt -c constraints.txt"
SETUP = "run the notebook's first code cell, which installs around the torch that is here"

REQUIRED = ("torch", "transformers", "peft", "trl", "datasets", "evaluate", "accelerate", "papermill")
# As in requirements.txt (a test compares).
MINIMUM = {"transformers": (5, 4), "peft": (0, 19, 1), "trl": (0, 29, 1), "datasets": (4, 0)}


def check_python(record: Record) -> Iterator[Problem]:
    here, cure = version_tuple(record["python"])[:2], f"use Python {dotted(PYTHON_MIN)} to {dotted(PYTHON_MAX)}"
    if here < PYTHON_MIN:
        yield Problem(f"Python {record['python']} is too old", cure, "error")
    elif here > PYTHON_MAX:
        yield Problem(f"Python {record['python']} has not been tried", f"{cure} if something fails", "warning")


def check_missing(record: Record) -> Iterator[Problem]:
    if missing := [name for name in REQUIRED if name not in record["versions"]]:
        cure = SETUP if hosted(record) else run(record, INSTALL, restart=False)
        yield Problem(f"not installed: {', '.join(missing)}", cure, "error")
    if "bitsandbytes" not in record["versions"]:
        what = "bitsandbytes is not installed, so nothing loads in 4 bits (QLoRA)"
        install = SETUP if hosted(record) else run(record, "pip install bitsandbytes", restart=False)
        yield Problem(what, f"{install}, or set quant='none'", "warning")


def check_old(record: Record) -> Iterator[Problem]:
    for name, least in (*MINIMUM.items(), ("torch", TORCH_MIN)):
        have = version_of(record, name)
        if have and have < least:
            what = f"{name} {record['versions'][name]} is too old, the course needs {dotted(least)} or newer"
            command = INSTALL if name == "torch" else f"pip install -U {name}"
            yield Problem(what, SETUP if hosted(record) and name != "torch" else run(record, command), "error")


def check_new(record: Record) -> Iterator[Problem]:
    if version_of(record, "torch") >= TORCH_BELOW:
        what = f"torch {record['versions']['torch']} is newer than what was tried"
        yield Problem(what, f"install torch below {dotted(TORCH_BELOW)} if something fails", "warning")


def check_torchao(record: Record) -> Iterator[Problem]:
    """PEFT looks at torchao even for plain LoRA and raises ImportError when it is old (Colab: 0.10)."""
    have = version_of(record, "torchao")
    if have and have < TORCHAO_MIN:
        what = f"torchao {record['versions']['torchao']} makes PEFT refuse every LoRA"
        cure = run(record, "pip uninstall -y torchao", restart=False)
        yield Problem(f"{what} (it wants {dotted(TORCHAO_MIN)} or none)", cure, "error")


def check_pyarrow(record: Record) -> Iterator[Problem]:
    """datasets wants a newer pyarrow from 5.2 on (Colab: 18), and does not say so before it fails."""
    have, versions = version_of(record, "pyarrow"), record["versions"]
    if version_of(record, "datasets") >= (5, 2) and have and have < (24,):
        what = f"datasets {versions['datasets']} needs pyarrow 24 or newer, {versions['pyarrow']} is installed"
        yield Problem(what, run(record, "pip install -U pyarrow"), "error")


def check_restart(record: Record) -> Iterator[Problem]:
    """A module imported before pip replaced it on disk: half old, half new code."""
    for name, loaded in record.get("loaded", {}).items():
        installed = record["versions"].get(name)
        if installed and version_tuple(installed) != version_tuple(loaded):
            what = f"{name} {loaded} is in memory, but {installed} was installed since"
            yield Problem(what, "restart the runtime (kernel), then run the notebook again", "error")
