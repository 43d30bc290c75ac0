"""What the notebooks' setup cell does on Colab and Kaggle. Standard library only; nothing on other machines.

The setup cell is the same in every notebook (``SETUP_CELL``; a test compares). It finds or clones the
repository and calls ``prepare``, which installs what is missing *around* the torch that the service ships:
replacing that one costs gigabytes, and often the GPU.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.errors import HardwareError
from helpers.machine.versions import TORCHAO_MIN, installed_version, loaded_versions, satisfies, version_tuple
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

# Shipped by the service, built for each other and for its driver, or loaded before the first cell: keep.
KEEP = ("torch", "torchvision", "torchaudio", "triton", "numpy")
TEST_TOOLS = "# test tools"  # the line of requirements.txt below which nothing is needed to run a lesson
WHEELS = "wheels"  # a folder in the repository with packages for a session without Internet
ROOT = Path(__file__).resolve().parent.parent
Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(command), capture_output=True, text=True, stdin=subprocess.DEVNULL)


def prepare(*, say: Callable[[str], None] = print, run: Runner = _run) -> None:
    """Make a hosted notebook ready; returns at once on any other machine. Calling it again is cheap.

    On Colab and Kaggle: installs what requirements.txt asks for and is not there, without touching torch, removes a
    torchao that PEFT refuses, shows one GPU of several (unless PEFT_LAB_ALL_GPUS=1), settles where the Hugging Face
    token comes from, and puts outputs into the working folder where the repository itself cannot be written.

    Raises:
        HardwareError: pip failed, or packages already in memory were replaced and the runtime must restart.
    """
    if not hosted_on():
        return
    one_gpu()
    writable_outputs(say)
    settle_hub_token()
    remove_torchao(run, say)
    install(run, say)
    if replaced := stale_modules():
        cure = "restart the session (Runtime or Run menu) and run the notebook again; once is enough"
        raise HardwareError(f"packages in use were updated ({', '.join(replaced)})", cure)


def one_gpu() -> None:
    """T4 x2: the trainer of these lessons refuses two GPUs. Works only before torch starts CUDA."""
    if os.environ.get("PEFT_LAB_ALL_GPUS") != "1":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")


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
    """``pip install`` of what a lesson needs and lacks, the shipped torch pinned; HardwareError when it fails."""
    wanted = lesson_requirements(ROOT / "requirements.txt")
    if not any(map(_is_missing, wanted)):
        return
    pins = [f"{name}=={version}" for name in KEEP if (version := installed_version(name))]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    if (ROOT / WHEELS).is_dir():
        pip += ["--find-links", str(ROOT / WHEELS)]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "keep.txt")
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        say(f"installing what is missing (kept: {', '.join(pins) or 'nothing'})")
        done = call([*pip, "-c", str(constraints), *wanted])
    if done.returncode != 0:
        cure = "restart the runtime and try once more"
        if any(word in done.stderr.lower() for word in NETWORK):
            cure = "switch Internet on in the notebook's settings, or put the packages into the folder wheels/ (README)"
        raise HardwareError(f"pip could not install the course's packages: {error_of_pip(done.stderr)}", cure)


def lesson_requirements(file: Path) -> list[str]:
    """Lines of requirements.txt that a lesson needs: no torch (shipped) and no test tools."""
    above = itertools.takewhile(lambda line: not line.startswith(TEST_TOOLS), file.read_text("utf-8").splitlines())
    requirements = (line.partition("#")[0].strip() for line in above)
    return [requirement for requirement in requirements if requirement and _named(requirement)[0] not in KEEP]


def stale_modules() -> list[str]:
    """Modules in memory whose version on disk is another one by now: "pyarrow 18.1.0 -> 26.0.1"."""
    pairs = ((name, loaded, installed_version(name)) for name, loaded in loaded_versions().items())
    return [f"{name} {old} -> {new}" for name, old, new in pairs if new and version_tuple(old) != version_tuple(new)]


def _is_missing(requirement: str) -> bool:
    name, specifier = _named(requirement)
    return not satisfies(installed_version(name), specifier)


def _named(requirement: str) -> tuple[str, str]:
    """("torch", ">=2.6,<2.14") of a line; extras are left out."""
    name, specifier = re.split(r"(?:\[.*\])?\s*(?=[<>=!~; ]|$)", requirement, maxsplit=1)
    return name, specifier.strip()
