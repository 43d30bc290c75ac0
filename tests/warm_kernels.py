"""Kernels that begin with the lessons' libraries imported: each is a fork of one process that has done it.

A lesson's kernel spends about twenty seconds of processor time importing libraries, before its first cell computes
anything. Where many lessons run, ``serving`` has it done once. Some libraries read the environment as they are
imported: ``serving`` is entered when that is set, and a kernel that is asked for under another one is refused. Some
look whether they are in a kernel, and are told so.

    python tests/warm_kernels.py serve SOCKET       the process that is forked
    python tests/warm_kernels.py run SOCKET -f ...  what Jupyter starts as a kernel: asks for a fork and lives as long
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

LIBRARIES = (
    "ipykernel.kernelapp",  # the first: tqdm takes it for the sign of a kernel
    "torch", "torch._dynamo", "torch._inductor.compile_fx", "torch.distributed.tensor", "sympy", "scipy.optimize",
    "scipy.sparse", "scipy.stats", "pandas", "pyarrow", "sklearn.linear_model", "sklearn.feature_extraction.text",
    "sklearn.ensemble", "sklearn.decomposition", "sklearn.manifold", "PIL.Image", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "datasets", "transformers.trainer", "bitsandbytes", "peft",
    "trl.trainer.sft_trainer", "evaluate", "sacrebleu", "rouge_score.rouge_scorer", "nltk",
)  # fmt: skip
_servers: dict[frozenset[tuple[str, str]], str] = {}
# They hook themselves into a kernel, so they are imported in it.
LATER = ("matplotlib.pyplot", "matplotlib_inline.backend_inline")
# Variables that libraries read when they are imported.
READ = ("HF_", "HUGGING", "TRANSFORMERS_", "DATASETS_", "TOKENIZERS_", "TQDM_", "MPL", "CUDA_", "ACCELERATE_", "BNB_")
RUNNER = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # set by ``helpers.runs.headless``


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """Meanwhile Jupyter starts such kernels, where processes can be forked; figures show as they do for a reader."""
    changed = RUNNER | {"MPLBACKEND": None}
    before = {name: os.environ.get(name) for name in (*changed, "JUPYTER_PATH")}
    _set(changed)
    try:
        if hasattr(os, "fork"):
            _set({"JUPYTER_PATH": _server()})
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _server() -> str:
    """A folder in which Jupyter finds how to start such kernels. Its server lasts as long as this process."""
    surroundings = frozenset(_read(os.environ).items())
    if surroundings not in _servers:
        folder = tempfile.mkdtemp(prefix="warm-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        place, spec = Path(folder, "socket"), Path(folder, "kernels", "python3", "kernel.json")
        server = subprocess.Popen([sys.executable, __file__, "serve", str(place)])
        atexit.register(server.kill)
        argv = [sys.executable, __file__, "run", str(place), "-f", "{connection_file}"]
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
        while not place.exists():
            assert server.poll() is None, "the process to be forked has ended"
            time.sleep(0.1)
        _servers[surroundings] = folder
    return _servers[surroundings]


def serve(place: str) -> None:
    parent = os.getppid()
    _import_as_in_a_kernel()
    gc.collect()
    gc.freeze()  # the forks' garbage collector need not look at what is there already
    surroundings = _read(os.environ)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}.new")
        listener.listen(16)
        os.rename(f"{place}.new", place)
        listener.settimeout(5)
        while True:
            try:
                asked, _ = listener.accept()
            except TimeoutError:
                if os.getppid() != parent:  # whoever started this was killed
                    return
                continue
            text, files, *_ = socket.recv_fds(asked, 2**20, 3)
            order = json.loads(text)
            if other := dict(_read(order["environment"]).items() ^ surroundings.items()):
                asked.sendall(f"libraries were imported under other values of {', '.join(sorted(other))}\n".encode())
            elif os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _become_kernel(asked, order, files)
            asked.close()
            for file in files:
                os.close(file)


def _read(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ)}


def _import_as_in_a_kernel() -> None:
    import IPython

    real = IPython.get_ipython
    IPython.get_ipython = lambda: SimpleNamespace(config={"IPKernelApp": {}})  # type: ignore[assignment,return-value]
    try:
        for name in LIBRARIES:
            importlib.import_module(name)
    finally:
        IPython.get_ipython = real
    early = [name for name in LATER if name in sys.modules]
    assert not early, f"imported before there is a kernel: {early}"


def _become_kernel(asked: socket.socket, order: dict[str, object], files: list[int]) -> None:
    import matplotlib
    import pandas
    import torch
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    os.chdir(str(order["folder"]))
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) != torch.get_num_threads():
        torch.set_num_threads(int(threads))
    # Imported outside a kernel, pandas takes the width of a terminal for the width of a table.
    pandas.set_option("display.max_columns", 20)
    first = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:] = first + [folder for folder in sys.path if folder not in (str(Path(__file__).parent), *first)]
    sys.argv = ["ipykernel_launcher", *order["arguments"]]  # type: ignore[misc]
    asked.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=lambda: (asked.recv(1), os._exit(1)), daemon=True).start()  # whoever asked is gone
    code = 1
    try:
        terminal = sys.stderr
        app = IPKernelApp.instance()
        app.initialize(sys.argv[1:])
        matplotlib.rcParams["backend"] = os.environ["MPLBACKEND"]  # the kernel has chosen it
        _log_into_cells(terminal)
        app.start()
        code = 0
    finally:
        os._exit(code)


def _log_into_cells(terminal: object) -> None:
    """What libraries log goes below the cell, as if they had been imported in it."""
    for logger in logging.Logger.manager.loggerDict.values():
        for handler in getattr(logger, "handlers", ()):
            if getattr(handler, "stream", None) is terminal:
                vars(handler).pop("flush", None)  # transformers keeps that of the stream
                handler.setStream(sys.stderr)


def run(place: str, arguments: list[str]) -> None:
    order = {"environment": dict(os.environ), "folder": os.getcwd(), "arguments": arguments}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(place)
        socket.send_fds(server, [json.dumps(order).encode()], [0, 1, 2])
        answer = server.makefile().readline().strip()
        if not answer.isdigit():
            sys.exit(f"no kernel: {answer or 'the process to be forked has ended'}")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda got, _: os.kill(int(answer), got))
        server.recv(1)  # nothing comes: this ends when the kernel does


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    serve(where) if what == "serve" else run(where, rest)
