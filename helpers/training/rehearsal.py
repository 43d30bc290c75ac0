"""Several cards rehearsed: functions of a notebook in processes that talk to each other, on a CPU over gloo.

A fresh process imports the libraries once, waits, and forks for each call: nothing of the notebook's own process comes
along, neither CUDA, which a fork cannot use, nor threads that have been started. The ranks meet in a file, no port is
taken.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from helpers.errors import ParameterError, RunError
from helpers.files import repo_root

WRITTEN = "functions.py"  # what a notebook's functions are written to
SAID = "stderr.txt"
# Variables of the environment that libraries read when they are imported, by how their names begin.
READ_ON_IMPORT = (
    "ACCELERATE_", "ATEN_", "BNB_", "CUDA_", "DNNL_", "HF_", "LD_", "MKL_", "OMP_", "ONEDNN_", "PYTHON", "TORCH",
    "TRANSFORMERS_",
)  # fmt: skip


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
        job["environment"] = os.environ | surroundings(processes)
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        said = _answer(place, seconds)
        if said is None:
            raise RunError(f"{processes} processes had not ended after {seconds:.0f} s", "Give less work")
        if said:
            print(said[-3000:])
            lines = [text for text in said.splitlines() if text.strip()]
            raise RunError(f"one of {processes} processes failed: {lines[-1]}", "The lines above say where")
        ranks = [json.loads((place / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(processes)]
    return [list(row) for row in zip(*ranks, strict=True)]


def _answer(place: Path, seconds: float) -> str | None:
    """Have the job in a folder done: "" when it was, else what was said of its failure, `None` when time ran out."""
    server, log = _server()
    assert server.stdin is not None and server.stdout is not None, "both are pipes"
    try:
        server.stdin.write(f"{place}\n")
        server.stdin.flush()
        ready, _, _ = select.select([server.stdout], [], [], seconds)
        ended = bool(ready) and server.stdout.readline()
    except BrokenPipeError:
        ended = ""
    except BaseException:  # interrupted: the ranks would go on, and the next answer would be theirs
        _stop(server)
        raise
    if ended:
        return ended.strip() and (place / SAID).read_text(encoding="utf-8", errors="replace")
    _stop(server)
    if ended is False:
        return None
    log.seek(0)
    return f"{log.read()}\nthe process that starts them has ended"


# The one that waits for work, if there is one: what it has read of the environment, the process, what it says.
_servers: list[tuple[Mapping[str, str], subprocess.Popen[str], IO[str]]] = []


def _server() -> tuple[subprocess.Popen[str], IO[str]]:
    """The process that has the libraries, and what it says on stderr; another where their environment is another.

    It ends with this process, when its standard input does.
    """
    wanted = os.environ | surroundings(1)
    read = {name: value for name, value in wanted.items() if name.startswith(READ_ON_IMPORT)}
    while _servers:
        had, server, log = _servers[0]
        if had == read and server.poll() is None:
            return server, log
        _stop(server)
    line = [sys.executable, "-m", "helpers.training.rehearsal"]
    log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  open as long as the server
    server = subprocess.Popen(
        line, cwd=repo_root(), env=wanted, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        start_new_session=True,
    )  # fmt: skip
    _servers.append((read, server, log))
    return server, log


def _stop(server: subprocess.Popen[str]) -> None:
    """End a server and the ranks that it has started."""
    _servers[:] = [pair for pair in _servers if pair[1] is not server]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    for pipe in (server.stdin, server.stdout):
        with contextlib.suppress(OSError):  # what could not be written
            pipe and pipe.close()


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
    found |= {"PYTHONWARNINGS": "ignore", "HF_DEACTIVATE_ASYNC_LOAD": "1"}  # no threads in forks
    return found | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


def main() -> None:
    """Import what ranks need; for each folder that is named on standard input fork its ranks, and say how it went."""
    import accelerate.utils.fsdp_utils  # noqa: F401
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch.distributed.tensor  # noqa: F401
    import transformers  # noqa: F401
    from torch.multiprocessing import start_processes

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a rank prints is no answer
    for line in sys.stdin:
        place = Path(line.strip())
        job = json.loads((place / "job.json").read_text(encoding="utf-8"))
        try:
            start_processes(_rank, (place, job), nprocs=job["processes"], start_method="fork")
            failed = ""
        except Exception as error:  # noqa: BLE001  of a rank, whatever it is: passed on
            failed = "failed"
            with open(place / SAID, "a", encoding="utf-8") as file:
                file.write(f"\n{error}")
        print(failed, file=answers, flush=True)


def _rank(rank: int, place: Path, job: Mapping[str, Any]) -> None:
    import torch
    import torch.distributed as dist

    os.dup2(os.open(place / SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.environ.clear()
    os.environ |= job["environment"]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
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
    main()
