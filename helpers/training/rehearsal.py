"""Several cards rehearsed: functions of a notebook in processes that talk to each other, on a CPU over gloo.

A fresh process imports the libraries once and forks: nothing of the notebook's own process comes along, neither CUDA,
which a fork cannot use, nor threads that have been started. The processes meet in a file, no port is taken.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import ParameterError, RunError
from helpers.files import repo_root

WRITTEN = "functions.py"  # what a notebook's functions are written to


def on_ranks(
    function: Callable[..., Any],
    cases: Sequence[Mapping[str, Any]],
    processes: int = 2,
    uses: Sequence[Callable[..., Any]] = (),
    seconds: float = 1800,
) -> list[list[Any]]:
    """Call a function in each of several processes, once a case, all cases one after the other.

    Args:
        function: its source is taken over where it was written in a notebook, so it imports what it needs itself.
            ``torch.distributed`` is ready when it is called. What it returns has to be JSON.
        cases: keyword arguments, JSON.
        processes: how many; one is a plain process, without ``torch.distributed``.
        uses: other functions of the notebook that it calls.
        seconds: that all of it may take.

    Returns:
        For each case what each rank returned, in the order of the ranks.

    Raises:
        ParameterError: this system cannot fork processes.
        RunError: a process failed, with its last line, or there was no end.
    """
    if not hasattr(os, "fork"):
        raise ParameterError("several processes are forked, which this system cannot", "Use Linux or macOS, or WSL")
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        place = Path(folder)
        job = {"function": _found_again(function, uses, place), "cases": list(cases), "processes": processes}
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        line = [sys.executable, "-m", "helpers.training.rehearsal", folder]
        try:
            done = subprocess.run(
                line, cwd=repo_root(), env=os.environ | surroundings(processes), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RunError(f"{processes} processes had not ended after {seconds:.0f} s", "Give less work") from None
        if done.returncode:
            print(done.stderr[-3000:])
            lines = [text for text in done.stderr.splitlines() if text.strip()] or ["no message"]
            raise RunError(f"one of {processes} processes failed: {lines[-1]}", "The lines above say where")
        ranks = [json.loads((place / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(processes)]
    return [list(row) for row in zip(*ranks, strict=True)]


def _found_again(function: Callable[..., Any], uses: Sequence[Callable[..., Any]], place: Path) -> str:
    """ "module:name" of a function, after writing those of a notebook to a file."""
    if function.__module__ != "__main__":
        return f"{function.__module__}:{function.__name__}"
    sources = [textwrap.dedent(inspect.getsource(each)) for each in (*uses, function)]
    (place / WRITTEN).write_text("\n\n".join(sources), encoding="utf-8")
    return f":{function.__name__}"


def surroundings(processes: int) -> dict[str, str]:
    """What the environment of some processes has besides: no GPU, their share of the cores, gloo on this machine."""
    cores = os.cpu_count() or 1
    threads = str(max(1, min(cores // processes, int(os.environ.get("OMP_NUM_THREADS") or cores))))
    found = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "TOKENIZERS_PARALLELISM": "false"}
    found |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}
    found |= {"PYTHONWARNINGS": "ignore"}
    return found | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


def main(place: Path) -> None:
    """Import what ranks need, and fork them."""
    import accelerate.utils.fsdp_utils  # noqa: F401
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch.distributed.tensor
    import transformers  # noqa: F401
    from torch.multiprocessing import start_processes

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    job = json.loads((place / "job.json").read_text(encoding="utf-8"))
    if job["processes"] == 1:
        _rank(0, place, job)
    else:
        start_processes(_rank, (place, job), nprocs=job["processes"], start_method="fork")


def _rank(rank: int, place: Path, job: Mapping[str, Any]) -> None:
    import torch.distributed as dist

    if (world := job["processes"]) > 1:
        # accelerate asks the environment who this is; nobody goes to the address, as the group is there already.
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        os.environ |= {name: str(value) for name, value in told.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        dist.init_process_group("gloo", init_method=f"file://{place / 'meeting'}", rank=rank, world_size=world)
    module, _, name = job["function"].partition(":")
    if module:
        own = importlib.import_module(module)
    else:
        spec = importlib.util.spec_from_file_location("functions", place / WRITTEN)
        assert spec is not None and spec.loader is not None, "a Python file has a loader"
        own = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(own)
    found = [getattr(own, name)(**case) for case in job["cases"]]
    (place / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
