"""A P100 on a service whose torch has no kernels for it: found without importing torch, repaired in one step.

Kaggle's torch is built for CUDA 12.8 since 2.8, and such builds begin with compute capability 7.0, although
``torch.cuda.is_available()`` says True. PyTorch's builds for CUDA 12.6 have kernels for the P100 (6.0).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from helpers.errors import HardwareError, ParameterError
from helpers.machine.probes import SMI_TIMEOUT, gpu_present, torch_cuda
from helpers.machine.problems.base import dotted
from helpers.machine.problems.gpu import LAST_PASCAL, WHEELS
from helpers.machine.versions import installed_version, version_tuple
from helpers.sources.wheels import NETWORK, error_of_pip

VARIABLE = "PEFT_LAB_P100"
LINE = WHEELS[0]  # the build that has kernels from the P100 on
COSTS = "about 3 GB to download and 4 to 8 minutes"
T4 = (
    "A T4 (Settings > Accelerator > GPU T4 x2) needs no repair, computes float16 on tensor cores and takes 8-bit "
    "weights: choose it, unless the plan of a lesson fits only the P100's 17 GB (T4: 15.6)"
)
# Made for the torch that goes, they fail on import beside the new one; no lesson needs them.
MADE_FOR_IT = ("torchvision", "torchaudio")


def ask_smi() -> str:
    """ "Tesla P100-PCIE-16GB, 6.0", "" where nvidia-smi does not answer."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SMI_TIMEOUT)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def without_kernels() -> str:
    """Name of a Pascal GPU that the installed torch cannot use, else ""."""
    built = version_tuple(torch_cuda() or "")[:2]
    if not built or built <= LAST_PASCAL or not gpu_present():
        return ""
    name, _, capability = ask_smi().rpartition(",")
    numbers = version_tuple(capability.strip())
    return name.strip() if numbers and LINE.capability[0] <= numbers < (7, 0) else ""


def repair(
    wish: str, call: Callable[[Sequence[str]], subprocess.CompletedProcess[str]], say: Callable[[str], None]
) -> bool:
    """Say what is wrong with a P100 here, and with ``wish`` "install" put a torch in that has kernels for it.

    Returns:
        Whether torch was replaced.

    Raises:
        ParameterError: ``wish`` is neither "" nor "install".
        HardwareError: pip failed.
    """
    if wish not in ("", "install"):
        raise ParameterError(f"{VARIABLE}={wish!r}", "leave it out, or set it to 'install'")
    if not (name := without_kernels()):
        return False
    here, wanted = f"torch {installed_version('torch')}", f"torch {LINE.usual} for CUDA {dotted(LAST_PASCAL)}"
    say(f"{name}: {here} has no kernels for it (sm_60), so without a repair the CPU is used. {T4}.")
    if not wish:
        say(
            f"To repair this session: os.environ['{VARIABLE}'] = 'install' in a cell above this one, or "
            f"prepare(p100='install') below; run it again. It installs {wanted}: {COSTS}; then restart."
        )
        return False
    say(f"installing {wanted} in place of {here}: {COSTS} ...")
    pip = [sys.executable, "-m", "pip"]
    index = f"https://download.pytorch.org/whl/{LINE.tag}"
    install = ["install", "-q", "--disable-pip-version-check", "--no-input", f"torch=={LINE.usual}"]
    done = call([*pip, *install, "--index-url", index])
    if done.returncode != 0:
        offline = any(word in done.stderr.lower() for word in NETWORK)
        cure = "switch Internet on in the notebook's settings" if offline else "restart the session and try once more"
        raise HardwareError(f"{wanted} could not be installed: {error_of_pip(done.stderr)}", f"{cure}, or pick a T4")
    call([*pip, "uninstall", "-y", "-q", *MADE_FOR_IT])
    return True
