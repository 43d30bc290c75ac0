"""A command of the course on several processes: ``accelerate launch`` as a subprocess, and what it has printed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from helpers import errors
from helpers.errors import LabError, ParameterError, RunError
from helpers.files import repo_root
from helpers.machine import gpus, ranks
from helpers.progress import channel

# A run names its folder in this file: whoever has started it in another process learns where it is.
POINTER = "PEFT_LAB_RUN_POINTER"
_ERRORS = tuple(f"{name}: " for name, kind in vars(errors).items() if isinstance(kind, type) and kind is not LabError)


def launch(
    arguments: Sequence[str],
    processes: int | None = 2,
    config: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Run ``python -m helpers`` on several processes that train together: one on each GPU, or on the CPU over gloo.

    Args:
        arguments: of the command line, such as ["train", "03", "--profile", "smoke"].
        processes: how many; ``None``: as many as ``config`` says.
        config: a file of accelerate, such as configs/accelerate/2xT4-ddp.yaml; ``None`` is plain DDP.
        say: takes each line that process 0 prints, as it comes.

    Returns:
        The folder of the run.

    Raises:
        RunError: it has failed, with the line that the processes have ended with.
        ParameterError: neither ``processes`` nor ``config``, a file that is not there, or called by one of several
            processes.
    """
    with tempfile.TemporaryDirectory(prefix="peft-lab-") as scratch:
        pointer = Path(scratch, "folder.txt")
        command = [sys.executable, "-m", *_launcher(processes, config), *arguments]
        environment = _environment() | {POINTER: str(pointer)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        told: list[str] = []
        listener = threading.Thread(target=told.extend, args=(process.stderr,), daemon=True)
        listener.start()
        try:
            for line in process.stdout:
                say(line.rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.terminate()  # the processes that it has started end with it
            process.wait()
            raise
        listener.join()
        if code:
            raise _failure(code, told)
        if not pointer.exists():
            raise RunError(f"{' '.join(arguments)} has opened no run", "Name a command that does, such as train 03")
        return Path(pointer.read_text(encoding="utf-8"))


def _launcher(processes: int | None, config: str | Path | None) -> Iterator[str]:
    """Module and options of the launcher, up to and with the module that it starts."""
    if ranks.world() > 1:
        raise ParameterError("this is one of several processes already", "Leave --processes and --config out")
    if config is not None and not Path(config).is_file():
        raise ParameterError(f"{config} is not there", "Ready files are in configs/accelerate/")
    if config is None and processes is None:
        raise ParameterError("launch needs a number of processes or a config", "Write processes=2")
    if config is None and processes == 1:
        yield "helpers"
        return
    yield "accelerate.commands.launch"
    if config is not None:
        yield from ("--config_file", str(config))
    else:  # "multi_gpu" is the name of DDP, on CPUs too
        yield from ("--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
    if processes is not None:
        yield from ("--num_processes", str(processes))
    yield from ("--main_process_port", "0", "-m", "helpers")


def _environment() -> dict[str, str]:
    """This process's, with all GPUs in sight again, and the package importable."""
    values = gpus.with_all(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(p for p in (str(repo_root()), values.get("PYTHONPATH")) if p)
    values["PYTHONUNBUFFERED"] = "1"
    values.pop(channel.VARIABLE, None)  # progress told there is that of another run
    if sys.platform == "linux":
        values.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine: no name of it has to be looked up
    return values


def _failure(code: int, told: Sequence[str]) -> LabError:
    """The error that a process has ended with, else the last line of all that was printed."""
    for line in told:
        for name in _ERRORS:
            if line.startswith(name):
                kind: type[LabError] = getattr(errors, name.removesuffix(": "))
                return kind(line.removeprefix(name).strip())
    said = [line.strip() for line in told if line.strip()]
    return RunError(f"the processes ended with code {code}" + (f": {said[-1][:300]}" if said else ""))
