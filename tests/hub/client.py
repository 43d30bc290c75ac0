"""A process that talks to the local Hub as a notebook does: libraries are imported under its HF_ENDPOINT.

``Client.cell`` runs code in an IPython shell, so that ``start`` watches cells and a failing one closes the run folder.
Waiting between tries is cut short there; the tries themselves are those of the real clients.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHORT_WAIT = 0.05  # seconds, in place of any longer pause between two tries
_MARK = "@hub-client "


@dataclass(frozen=True)
class Answer:
    """What a cell did: the error as one would read it below the cell, its last value, what it printed."""

    error: str | None
    value: Any
    printed: str


class Client:
    """One process. ``home`` holds its caches; ``forget`` empties them and what is remembered in memory."""

    def __init__(self, environment: dict[str, str], timeout_s: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="peft-lab-hub-client-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name)
        own = {
            "PEFT_LAB_CACHE": str(self.home / "cache"),
            "PEFT_LAB_OUTPUT": str(self.home / "outputs"),
            "PEFT_LAB_FORCE": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": str(timeout_s),
            "HF_HUB_ETAG_TIMEOUT": str(timeout_s),
            "TQDM_DISABLE": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment | own,
        )
        self._homes = 0

    def cell(self, code: str) -> Answer:
        """Run one cell. Its value is that of the name ``value``, as JSON, if it sets one."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return Answer(**json.loads(line.removeprefix(_MARK)))
        raise RuntimeError(f"the client ended with code {self._process.wait()}")

    def forget(self) -> Path:
        """Empty caches, as on another machine. Returns where the Hub's files will lie."""
        self._homes += 1
        place = self.home / f"home-{self._homes}"
        answer = self.cell(f"new_home({str(place)!r})")
        assert answer.error is None, answer.error
        return place / "hub"

    def restart(self) -> None:
        """Forget what is in memory, keep the caches: as a new kernel."""
        answer = self.cell("new_kernel()")
        assert answer.error is None, answer.error

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._folder.cleanup()


def new_kernel() -> None:
    """Drop what ``helpers.sources.hub`` and the clients keep in memory."""
    from datasets.utils import file_utils  # noqa: F401  (loads the part of datasets that keeps a file system)
    from huggingface_hub import HfFileSystem
    from huggingface_hub.utils import close_session

    from helpers.sources import hub

    hub._done.clear()
    hub._lists.clear()
    HfFileSystem.clear_instance_cache()
    close_session()


def new_home(folder: str) -> None:
    """Caches in ``folder`` from now on."""
    import datasets.config
    from huggingface_hub import constants

    new_kernel()
    constants.HF_HUB_CACHE = str(Path(folder, "hub"))
    datasets.config.HF_DATASETS_CACHE = Path(folder, "datasets")
    os.environ["PEFT_LAB_CACHE"] = str(Path(folder, "cache"))


def _serve() -> None:
    import contextlib
    import io
    import time

    from IPython.core.interactiveshell import InteractiveShell

    answers, sys.stdout = sys.stdout, sys.stderr
    pause = time.sleep
    time.sleep = lambda seconds: pause(min(seconds, SHORT_WAIT))  # type: ignore[assignment]
    shell = InteractiveShell.instance()
    shell.user_ns.update(new_home=new_home, new_kernel=new_kernel)
    for line in sys.stdin:
        shell.user_ns["value"] = None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            result = shell.run_cell(json.loads(line), store_history=True)
        error = result.error_before_exec or result.error_in_exec
        said = None if error is None else f"{type(error).__name__}: {error}"
        found = {"error": said, "value": shell.user_ns["value"], "printed": printed.getvalue()}
        print(_MARK + json.dumps(found, default=str), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
