"""GPUs: not there, not seen and why, without kernels, too small, too many, or without what bitsandbytes needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from helpers.machine.problems.base import (
    NF4_CAPABILITY,
    Problem,
    Record,
    capability_of,
    dotted,
    gpu_usable,
    has_kernels,
    hosted,
    run,
    version_of,
)
from helpers.machine.problems.packages import TORCH_BELOW, TORCH_MIN
from helpers.machine.versions import version_tuple

# A 16 GB card reports about 14.7 GiB (T4) or 15.9 GiB (P100) to torch; 12 GB cards stay below.
FULL_GPU_GB = 14.5

# The oldest NVIDIA driver that runs programs built for a CUDA major version (NVIDIA's "minor version compatibility").
DRIVER_MIN = {11: 450, 12: 525, 13: 580}


@dataclass(frozen=True)
class Wheel:
    """One of PyTorch's own builds: which driver and GPUs (compute capability, inclusive) it runs on, which torch has
    it (from, below), and the torch to install when the present one has not."""

    tag: str
    driver: int
    capability: tuple[tuple[int, int], tuple[int, int]]
    torch: tuple[tuple[int, ...], tuple[int, ...]]
    usual: str


# The first that fits is named. cu126 goes first: it has kernels from the P100 to the H100.
WHEELS = (
    Wheel("cu126", 525, ((5, 0), (9, 9)), (TORCH_MIN, TORCH_BELOW), "2.13.0"),
    Wheel("cu130", 580, ((7, 5), (99, 9)), ((2, 9), TORCH_BELOW), "2.13.0"),
    Wheel("cu118", 450, ((5, 0), (9, 9)), (TORCH_MIN, (2, 8)), "2.7.1"),
)

LAST_PASCAL = (12, 6)  # the newest CUDA for which PyTorch's builds have kernels for a P100 (sm_60)


def torch_command(record: Record) -> str:
    """What to type to get a torch that runs on this GPU and driver; "" when PyTorch has none.

    An unknown driver or GPU rules nothing out. The torch that is there keeps its version where it can, since
    torchvision and others were made for it.
    """
    driver = (version_tuple(str(record.get("driver") or "")) or (10**6,))[0]
    gpu, have = capability_of(record), version_of(record, "torch")
    for wheel in WHEELS:
        if driver >= wheel.driver and (gpu == (0, 0) or wheel.capability[0] <= gpu <= wheel.capability[1]):
            version = dotted(have) if wheel.torch[0] <= have < wheel.torch[1] else wheel.usual
            return f"pip install torch=={version} --index-url https://download.pytorch.org/whl/{wheel.tag}"
    return ""


def gpu_names(record: Record) -> str:
    """ "Tesla T4", "2 x Tesla T4", or "a GPU" where nothing has named it."""
    names = list(record.get("gpu_names") or ())
    return f"{len(names)} x {names[0]}" if len(names) > 1 else names[0] if names else "a GPU"


def check_no_gpu(record: Record) -> Iterator[Problem]:
    """Why torch sees no GPU: the first cause that fits."""
    if record.get("cuda_available"):
        return
    here = f"{gpu_names(record)} is here, but" if record.get("gpu_present") else ""
    torch, command, hidden = record["versions"].get("torch", ""), torch_command(record), record.get("cuda_visible")
    driver, cuda = (version_tuple(str(record.get(key) or "")) for key in ("driver", "torch_cuda"))
    least = DRIVER_MIN.get(cuda[0], 0) if cuda else 0
    if here and hidden is not None and hidden.strip() in ("", "-1"):
        what = f"{here} CUDA_VISIBLE_DEVICES={hidden!r} hides it"
        yield Problem(what, "type: unset CUDA_VISIBLE_DEVICES, then restart Python", "warning")
    elif here and torch and (torch.endswith("+cpu") or not cuda):
        what = f"{here} torch {torch} cannot use it: it is a build for the CPU"
        yield Problem(what, run(record, command) if command else "update the GPU driver", "warning")
    elif driver and driver[0] < least:
        can = f" (CUDA {record['driver_cuda']})" if record.get("driver_cuda") else ""
        what = f"NVIDIA's driver {record['driver']}{can} is too old for torch {torch}"
        what += f", which is built for CUDA {dotted(cuda)}"
        other = f", or {run(record, command)}" if command else ""
        yield Problem(what, f"update the driver to {least} or newer{other}; until then the CPU is used", "error")
    elif record.get("gpu_error"):
        what = f"torch fails on looking for a GPU ({record['gpu_error']})"
        yield Problem(what, "reinstall torch or update the GPU driver; until then the CPU is used", "error")
    elif here and torch:
        cure = "type: nvidia-smi; if it fails too, reinstall the driver or restart the machine"
        yield Problem(f"{here} torch {torch} cannot use it", cure, "warning")
    elif record["platform"] == "colab":
        yield Problem("no GPU in this runtime", "Runtime > Change runtime type > T4 GPU", "warning")
    elif record["platform"] == "kaggle":
        yield Problem("no GPU in this session", "Settings > Accelerator > GPU T4 x2", "warning")


def check_kernels(record: Record) -> Iterator[Problem]:
    """Kaggle's P100: ``torch.cuda.is_available()`` is True, and the first operation fails."""
    if not record.get("cuda_available") or gpu_usable(record):
        return
    capability, name = capability_of(record), record.get("gpu_name", "the GPU")
    if has_kernels(capability, record.get("arch_list") or ()):
        what = f"{name} has compute capability {dotted(capability)}, 4-bit weights need {dotted(NF4_CAPABILITY)}"
        cure = "use a newer GPU"
    else:
        built, command = ", ".join(record["arch_list"]), torch_command(record)
        what = f"this torch has no kernels for {name} (sm_{capability[0]}{capability[1]}; built for {built})"
        cure = f"pick a T4, or {run(record, command)}" if command else "use another GPU"
        if command and hosted(record) and capability < (7, 0):
            cure = "pick a T4, or put os.environ['PEFT_LAB_P100'] = 'install' above the setup cell and run that again"
    yield Problem(what, f"{cure}; until then the CPU is used", "error")


def check_gpu_memory(record: Record) -> Iterator[Problem]:
    if gpu_usable(record) and record["gpu_memory_gb"] < FULL_GPU_GB:
        what = f"{record['gpu_name']} has {record['gpu_memory_gb']:.0f} GB, profile full is made for 16 GB"
        yield Problem(what, "use profile cpu, or a smaller model_id and batch_size", "warning")


def check_several(record: Record) -> Iterator[Problem]:
    """T4 x2: the trainer raises for more than one GPU."""
    if record.get("cuda_available") and record["gpu_count"] > 1:
        what = f"{record['gpu_count']} GPUs are visible, and the trainer of these lessons takes one"
        cell = "restart and begin with: import os; os.environ['CUDA_VISIBLE_DEVICES'] = '0' (the setup cell does it)"
        cure = cell if hosted(record) else "type: export CUDA_VISIBLE_DEVICES=0, then restart Python"
        yield Problem(what, f"{cure}; only 12_scale_out uses all", "warning")


def check_bfloat16(record: Record) -> Iterator[Problem]:
    if gpu_usable(record) and capability_of(record) < (8, 0):
        what = f"{record['gpu_name']} only emulates bfloat16, though torch.cuda.is_bf16_supported() says True"
        cure = "the course computes in float16; in your own code: dtype=torch.float16, fp16=True, bf16=False"
        yield Problem(what, cure, "note")


def check_bitsandbytes(record: Record) -> Iterator[Problem]:
    """bitsandbytes takes its library for torch's CUDA, or another one of the same major version, or fails."""
    cuda = version_tuple(str(record.get("torch_cuda") or ""))[:2]
    has = [version_tuple(text) for text in record.get("bnb_libraries") or ()]
    if not (gpu_usable(record) and cuda and has):
        return
    name, listed = f"bitsandbytes {record['versions'].get('bitsandbytes', '')}", ", ".join(map(dotted, has))
    if (override := record.get("bnb_override")) is not None:
        if override not in {f"{major}{minor}" for major, minor in has}:
            what = f"BNB_CUDA_VERSION={override} asks for a library that {name} has not (it has CUDA {listed})"
            yield Problem(what, "type: unset BNB_CUDA_VERSION, then restart Python", "error")
    elif cuda[0] not in {major for major, _ in has}:
        what = f"{name} has no library for CUDA {dotted(cuda)} of torch {record['versions'].get('torch', '')}"
        cure = f"{run(record, 'pip install -U bitsandbytes')}; until then quant='none'"
        yield Problem(f"{what} (libbitsandbytes_cuda{cuda[0]}{cuda[1]}; it has CUDA {listed})", cure, "error")
