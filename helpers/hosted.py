"""What the notebooks' setup cell does on Colab and Kaggle. Standard library only; next to nothing elsewhere.

The setup cell is the same in every notebook (``SETUP_CELL``; a test compares). It finds or clones the
repository and calls ``prepare``, which installs what is missing *around* the torch that the service ships:
replacing that one costs gigabytes, and often the GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.errors import HardwareError
from helpers.machine import gpus, pascal
from helpers.machine.cells import explain_missing_names
from helpers.machine.requirements import KEEP, is_missing, lesson_requirements, named, pins, pins_of_all
from helpers.machine.versions import TORCHAO_MIN, installed_version, loaded_versions, version_tuple
from helpers.sources.tokens import hosted_on, settle_hub_token
from helpers.sources.wheels import NETWORK, error_of_pip

# Where the course lives. A fork changes it with `python -m helpers address URL`, which rewrites what is made from it.
REPO_URL = "https://github.com/peft-lab/peft-lab"
ACCELERATOR = "nvidiaTeslaT4"  # preset by the Kaggle badge


def setup_cell(address: str) -> str:
    """Source of the notebooks' first code cell, for a repository at ``address``."""
    return (
        (Path(__file__).parent / "reports/templates/setup_cell.txt")
        .read_text(encoding="utf-8")
        .replace("REPO_URL", address)
    )


def badges(notebook: str, address: str) -> str:
    """The two badges that open ``notebook`` (its id) of the repository at ``address``, as one line of Markdown."""
    place = f"{address.removeprefix('https://github.com/')}/blob/main/notebooks/{notebook}.ipynb"
    return (
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{place}) "
        "[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
        f"(https://kaggle.com/kernels/welcome?src=https://github.com/{place}&accelerator={ACCELERATOR})"
    )


SETUP_CELL = setup_cell(REPO_URL)

WHEELS = "wheels"  # a folder in the repository with packages for a session without Internet
ROOT = Path(__file__).resolve().parent.parent
Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(command), capture_output=True, text=True, stdin=subprocess.DEVNULL)


def prepare(*, p100: str | None = None, say: Callable[[str], None] = print, run: Runner = _run) -> None:
    """Make a notebook ready. Calling it again is cheap.

    Everywhere: a cell that needs a name from a cell that has not been run says so. On Colab and Kaggle: installs what
    requirements.txt asks for and is not there, without touching what is, removes a torchao that PEFT refuses, shows
    one GPU of several (unless PEFT_LAB_ALL_GPUS=1), settles where the Hugging Face token comes from, and puts outputs
    into the working folder where the repository itself cannot be written.

    Args:
        p100: "install" replaces a torch that has no kernels for the P100 that is here; default: PEFT_LAB_P100.

    Raises:
        ParameterError: another value than "install".
        HardwareError: pip failed, or packages already in memory were replaced and the runtime must restart.
    """
    explain_missing_names()
    if not hosted_on():
        return
    one_gpu()
    writable_outputs(say)
    settle_hub_token()
    repaired = pascal.repair(os.environ.get(pascal.VARIABLE, "") if p100 is None else p100, run, say)
    remove_torchao(run, say)
    install(run, say)
    if replaced := stale_modules():
        cure = "restart the session (Runtime or Run menu) and run the notebook again; once is enough"
        raise HardwareError(f"packages in use were updated ({', '.join(replaced)})", cure)
    if repaired:
        say(f"torch {installed_version('torch')} is installed. This kernel had none in memory: no restart is needed")


def one_gpu() -> None:
    """T4 x2: a lesson takes one of two GPUs, whatever it does before ``start``. Works only before torch starts CUDA."""
    if gpus.VISIBLE not in os.environ:
        gpus.pick_one(2)  # as if: how many there are is not known before torch is imported


def writable_outputs(say: Callable[[str], None]) -> None:
    """A repository attached under /kaggle/input is read-only: run folders go into the working folder instead."""
    if not os.access(ROOT, os.W_OK) and "PEFT_LAB_OUTPUT" not in os.environ:
        os.environ["PEFT_LAB_OUTPUT"] = str(Path.cwd() / "outputs")
        say(f"{ROOT} cannot be written; outputs go to {os.environ['PEFT_LAB_OUTPUT']}")


def remove_torchao(call: Runner, say: Callable[[str], None]) -> None:
    """PEFT raises ImportError on every LoRA while an old torchao is installed."""
    version = installed_version("torchao")
    if version and version_tuple(version) < TORCHAO_MIN:
        say(f"removing torchao {version}: PEFT refuses to work beside it")
        call([sys.executable, "-m", "pip", "uninstall", "-y", "-q", "torchao"])


def install(call: Runner, say: Callable[[str], None]) -> None:
    """``pip install`` of what a lesson needs and lacks, around what is there; HardwareError when it fails.

    First with everything that is installed pinned, so that pip looks for the newest of the missing packages that fit
    it. Only where there are none may it replace others, torch and what goes with it excepted.
    """
    wanted = lesson_requirements(ROOT / "requirements.txt")
    absent = [named(requirement)[0] for requirement in wanted if is_missing(requirement)]
    if not absent:
        return
    kept = pins(KEEP)
    say(f"installing {', '.join(absent)} (kept: {', '.join(kept) or 'nothing'})")
    done = _pip_install(call, wanted, pins_of_all(wanted))
    if done.returncode != 0 and not _offline(done):
        say("that failed with everything else kept: trying again, and pip may replace other packages too")
        done = _pip_install(call, wanted, kept)
    if done.returncode != 0:
        cure = "restart the runtime and try once more"
        if _offline(done):
            cure = "switch Internet on in the notebook's settings, or put the packages into the folder wheels/ (README)"
        raise HardwareError(f"pip could not install the course's packages: {error_of_pip(done.stderr)}", cure)


def _pip_install(call: Runner, wanted: Sequence[str], kept: Sequence[str]) -> subprocess.CompletedProcess[str]:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    if (ROOT / WHEELS).is_dir():
        pip += ["--find-links", str(ROOT / WHEELS)]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "keep.txt")
        constraints.write_text("\n".join(kept) + "\n", encoding="utf-8")
        return call([*pip, "-c", str(constraints), *wanted])


def _offline(done: subprocess.CompletedProcess[str]) -> bool:
    return any(word in done.stderr.lower() for word in NETWORK)


def stale_modules() -> list[str]:
    """Modules in memory whose version on disk is another one by now: "pyarrow 18.1.0 -> 26.0.1"."""
    pairs = ((name, loaded, installed_version(name)) for name, loaded in loaded_versions().items())
    return [f"{name} {old} -> {new}" for name, old, new in pairs if new and version_tuple(old) != version_tuple(new)]
