"""Kernels that begin with torch and its like imported: each is a fork of one process that has done it.

A lesson's kernel spends about twelve seconds of processor time importing libraries, before its first cell computes
anything. Where many lessons run, ``serving`` has it done once. Imported are only libraries that read nothing of
the environment that a lesson's run may set, nor whether they are in a kernel, as matplotlib does.

    python tests/warm_kernels.py serve SOCKET       the process that is forked
    python tests/warm_kernels.py run SOCKET -f ...  what Jupyter starts as a kernel: asks for a fork and lives as long
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LIBRARIES = (
    "torch", "torch._dynamo", "torch._inductor.compile_fx", "torch.distributed.tensor", "sympy", "scipy.optimize",
    "scipy.sparse", "pandas", "pyarrow", "sklearn.linear_model", "sklearn.feature_extraction.text",
    "PIL.Image", "ipykernel.kernelapp",
)  # fmt: skip


@contextlib.contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Environment variables under which Jupyter starts such kernels; nothing where processes cannot be forked."""
    if not hasattr(os, "fork"):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        place, spec = Path(folder, "socket"), Path(folder, "kernels", "python3", "kernel.json")
        server = subprocess.Popen([sys.executable, __file__, "serve", str(place)])
        argv = [sys.executable, __file__, "run", str(place), "-f", "{connection_file}"]
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
        try:
            while not place.exists():
                assert server.poll() is None, "the process to be forked has ended"
                time.sleep(0.1)
            yield {"JUPYTER_PATH": folder}
        finally:
            server.kill()
            server.wait()


def serve(place: str) -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}.new")
        listener.listen(16)
        os.rename(f"{place}.new", place)
        while True:
            asked, _ = listener.accept()
            text, files, *_ = socket.recv_fds(asked, 2**20, 3)
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _become_kernel(asked, json.loads(text), files)
            asked.close()
            for file in files:
                os.close(file)


def _become_kernel(asked: socket.socket, order: dict[str, object], files: list[int]) -> None:
    import pandas
    import torch
    from ipykernel.kernelapp import launch_new_instance

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
    sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]
    sys.argv = ["ipykernel_launcher", *order["arguments"]]  # type: ignore[misc]
    asked.sendall(f"{os.getpid()}\n".encode())
    threading.Thread(target=lambda: (asked.recv(1), os._exit(1)), daemon=True).start()  # whoever asked is gone
    code = 1
    try:
        launch_new_instance()
        code = 0
    finally:
        os._exit(code)


def run(place: str, arguments: list[str]) -> None:
    order = {"environment": dict(os.environ), "folder": os.getcwd(), "arguments": arguments}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(place)
        socket.send_fds(server, [json.dumps(order).encode()], [0, 1, 2])
        kernel = int(server.makefile().readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda got, _: os.kill(kernel, got))
        server.recv(1)  # nothing comes: this ends when the kernel does


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    serve(where) if what == "serve" else run(where, rest)
