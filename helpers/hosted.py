"""What the notebooks' setup cell does on Colab and Kaggle. Standard library only; nothing on other machines.

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
from importlib import metadata
from pathlib import Path

REPO_URL = "https://github.com/peft-lab/peft-lab"

SETUP_CELL = f'''\
# Setup. Colab and Kaggle: fetch the course, install what is missing. Elsewhere: only find `helpers`.
import os
import subprocess
import sys
from pathlib import Path

here = Path.cwd()
places = [here, *here.parents, here / "peft-lab"]
root = next((p for p in places if (p / "helpers" / "hosted.py").is_file()), None)
if root is None and ("COLAB_RELEASE_TAG" in os.environ or "KAGGLE_KERNEL_RUN_TYPE" in os.environ):
    root = here / "peft-lab"
    address = "{REPO_URL}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", address, str(root)], check=True)
if root is not None and str(root) not in sys.path:
    sys.path.insert(0, str(root))

from helpers.hosted import prepare

prepare()
'''

# Shipped by the service, built for each other and for its driver, or loaded before the first cell: keep.
KEEP = ("torch", "torchvision", "torchaudio", "triton", "numpy")
RESTART_SENSITIVE = ("numpy", "pandas", "pyarrow", "transformers", "datasets")
TEST_TOOLS = "# test tools"  # the line of requirements.txt below which nothing is needed to run a lesson
Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def prepare(*, say: Callable[[str], None] = print, run: Runner | None = None) -> None:
    """Make a hosted notebook ready; returns at once on any other machine. Calling it again is cheap.

    On Colab and Kaggle: installs requirements.txt without touching torch, removes a torchao that PEFT
    refuses, shows one GPU of several (unless PEFT_LAB_ALL_GPUS=1), and settles where the Hugging Face token
    comes from.

    Raises:
        HardwareError: pip failed, or packages already in memory were replaced and the runtime must restart.
    """
    platform = hosted_on()
    if not platform:
        return
    call = run or _run
    one_gpu()
    hub_token(platform)
    remove_torchao(call, say)
    install(call, say)
    replaced = stale_modules()
    if replaced:
        from helpers.errors import HardwareError

        raise HardwareError(
            f"packages in use were updated ({', '.join(replaced)})",
            "restart the session (Runtime or Run menu) and run the notebook again; once is enough",
        )


def hosted_on() -> str:
    """ "colab", "kaggle" or "" (neither)."""
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        return "kaggle"
    return "colab" if os.environ.get("COLAB_RELEASE_TAG") else ""


def one_gpu() -> None:
    """T4 x2: the trainer of these lessons refuses two GPUs. Works only before torch starts CUDA."""
    if os.environ.get("PEFT_LAB_ALL_GPUS") != "1":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")


def hub_token(platform: str) -> None:
    """Take HF_TOKEN from Kaggle's secrets; keep the Hub's client from waiting for an absent browser."""
    if os.environ.get("HF_TOKEN"):
        return
    if platform == "kaggle":
        try:
            from kaggle_secrets import UserSecretsClient  # type: ignore[import-not-found]

            os.environ["HF_TOKEN"] = UserSecretsClient().get_secret("HF_TOKEN")
        except Exception:  # raises its own kinds when the secret is not attached or the internet is off
            os.environ.pop("HF_TOKEN", None)
    elif platform == "colab" and headless():
        stored = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "token"
        if not stored.is_file():  # otherwise Colab's secrets are asked for, and that call never returns
            os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


def headless() -> bool:
    """No Colab browser page is attached to this kernel (papermill, nbconvert, a script)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return "google.colab" not in str(type(shell))


def remove_torchao(call: Runner, say: Callable[[str], None]) -> None:
    """PEFT raises ImportError on every LoRA while a torchao older than 0.16 is installed."""
    version = _version("torchao")
    if version and _numbers(version) < (0, 16):
        say(f"removing torchao {version}: PEFT refuses to work beside it")
        call([sys.executable, "-m", "pip", "uninstall", "-y", "-q", "torchao"])


def install(call: Runner, say: Callable[[str], None]) -> None:
    """``pip install`` of what the lessons need, the shipped torch pinned. HardwareError when pip fails."""
    from helpers.errors import HardwareError

    wanted = lesson_requirements(Path(__file__).resolve().parent.parent / "requirements.txt")
    pins = [f"{name}=={version}" for name in KEEP if (version := _version(name))]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "keep.txt")
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        say(f"installing what is missing (kept: {', '.join(pins) or 'nothing'})")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
        done = call([*pip, "-c", str(constraints), *wanted])
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr or "").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no output"]
        offline = any(word in (done.stderr or "") for word in ("NewConnectionError", "name resolution"))
        cure = "switch Internet on in the notebook's settings" if offline else "restart the runtime and try once more"
        raise HardwareError(f"pip could not install the course's packages: {errors[-1][:200]}", cure)


def lesson_requirements(file: Path) -> list[str]:
    """Lines of requirements.txt that a lesson needs: no torch (shipped) and no test tools."""
    wanted = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip().lower().startswith(TEST_TOOLS):
            break
        requirement = line.partition("#")[0].strip()
        name = requirement.partition(">")[0].partition("=")[0].partition("<")[0].partition("[")[0].strip()
        if requirement and name not in KEEP:
            wanted.append(requirement)
    return wanted


def stale_modules() -> list[str]:
    """Modules in memory whose version on disk is another one by now: "pyarrow 18.1.0 -> 26.0.1"."""
    stale = []
    for name in RESTART_SENSITIVE:
        loaded = str(getattr(sys.modules.get(name), "__version__", "") or "")
        installed = _version(name)
        if loaded and installed and _numbers(loaded) != _numbers(installed):
            stale.append(f"{name} {loaded} -> {installed}")
    return stale


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(command), capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _version(package: str) -> str:
    try:
        return metadata.version(package) or ""
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.partition("+")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())
