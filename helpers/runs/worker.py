"""Run one notebook in a process of its own: ``python -m helpers.runs.worker job.json``.

The process prints one JSON object a line: {"event": "cell", "k", "n", "title"} before each cell of code, with "here"
and "later" where an earlier run says how many seconds this cell and those after it will take; what the kernel tells of
its work (``helpers.progress.channel``), as it comes; and at the end {"event": "end", ...} with the outcome.
``helpers.runs.headless`` starts it and reads these lines.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.errors import LabError
from helpers.files import write_atomic
from helpers.progress import channel
from helpers.runs import cells, records
from helpers.training.launch import POINTER

TIMED_OUT, KERNEL_DIED = "timed out", "kernel died"
# Where a notebook goes that failed before it opened a run; no run can be called so.
NOT_STARTED = "_not_started"
_LOOK = 0.5  # seconds between two looks at what the kernel tells


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Execute the notebook, keep it and its HTML page in the run folder, say how it went.

    Args:
        job: "notebook" (path), "id", "parameters", "output_dir", "cell_timeout" (seconds or None), "work"
            (a scratch folder).

    Returns:
        {"status", "error", "folder", "seconds", "cell", "cells"}; ``error`` is one line or None, ``folder``
        is None when the notebook failed before it opened one.
    """
    work = Path(job["work"])
    executed, pointer = work / "notebook.ipynb", work / "folder.txt"
    os.environ[POINTER] = str(pointer)
    os.environ[channel.VARIABLE] = str(work / "progress.jsonl")
    began = time.monotonic()
    for attempt in (1, 2):
        progress = {"k": 0, "n": 0}
        status, error = _execute(job, executed, progress)
        # Kernels that start at the same moment can pick the same port: no cell has run, so try again.
        if status != KERNEL_DIED or progress["k"] > 1 or attempt == 2 or not _is_collision(error):
            break
    folder = Path(pointer.read_text()) if pointer.exists() else None
    if folder is not None:
        status, error = _settle(folder, status, error)
    kept = folder or Path(job["output_dir"]) / job["id"] / NOT_STARTED
    problem = _keep(executed, kept)
    if problem and status == records.FINISHED:
        status, error = records.FAILED, problem
    seconds, where = round(time.monotonic() - began, 1), str(folder) if folder else None
    outcome = {"status": status, "error": error, "folder": where, "seconds": seconds}
    return outcome | {"cell": progress["k"], "cells": progress["n"]}


def _execute(job: dict[str, Any], executed: Path, progress: dict[str, int]) -> tuple[str, str | None]:
    # jsonschema, which nbformat imports, compiles a grammar of addresses with it for a second; a notebook holds none.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    notebook = Path(job["notebook"])
    where = f"in cell {{k}} of {notebook.name}"
    try:
        source = nbformat.read(notebook, as_version=4).cells
        progress["n"] = len(source) + 1  # with the cell of the parameters given
        with _Teller(job, source, progress) as teller:
            papermill.execute_notebook(
                notebook,
                executed,
                parameters=job["parameters"],
                cwd=notebook.parent,
                progress_bar=False,
                start_timeout=180,
                execution_timeout=job["cell_timeout"],
                on_cell_start=teller.begin,
            )
    except PapermillExecutionError as error:
        known = {kind.__name__ for kind in LabError.__subclasses__()}
        kind = "" if error.ename in known else f" {where.format(**progress)}"
        return records.FAILED, _line(f"{error.ename}: {error.evalue}") + kind
    except CellTimeoutError:
        return TIMED_OUT, f"no end after {job['cell_timeout']} s {where.format(**progress)}"
    except DeadKernelError:
        return KERNEL_DIED, f"the kernel died {where.format(**progress)}; it often means out of memory"
    except KeyboardInterrupt:
        return records.INTERRUPTED, f"stopped by the keyboard {where.format(**progress)}"
    except Exception as error:
        # A RuntimeError before the first cell is what jupyter_client raises when a kernel does not come up.
        no_kernel = isinstance(error, RuntimeError) and not progress["k"]
        return (KERNEL_DIED if no_kernel else records.FAILED), _line(f"{type(error).__name__}: {error}")
    return records.FINISHED, None


class _Teller:
    """Tells of each cell of code as it begins and, from a thread, what the kernel tells of its work."""

    def __init__(self, job: dict[str, Any], source: Sequence[Any], progress: dict[str, int]) -> None:
        self._progress = progress
        self._titles = cells.titles(source)
        self._clock = cells.Clock(source, cells.earlier_runs(Path(job["output_dir"]), job["id"]), _run_info)
        self._listener = channel.Listener(Path(os.environ[channel.VARIABLE]))
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def begin(self, cell: Any, cell_index: int) -> None:
        self._progress["k"] = cell_index + 1
        if cell.cell_type != "code":
            return
        event = {"event": "cell", **self._progress, "title": self._titles.get(cell.get("id", ""), "parameters")}
        if (seconds := self._clock.begin(cell)) is not None:
            event |= {"here": seconds[0], "later": seconds[1]}
        self._hear()  # what is still there belongs to the cell before
        _tell(event)

    def _listen(self) -> None:
        while not self._over.wait(_LOOK):
            self._hear()

    def _hear(self) -> None:
        with self._lock:
            for event in self._listener.events():
                _tell(event)

    def __enter__(self) -> _Teller:
        self._thread.start()
        return self

    def __exit__(self, *how: Any) -> None:
        self._over.set()
        self._thread.join()


def _run_info() -> dict[str, Any]:
    """run.json of the run that the notebook has opened; {} as long as there is none."""
    try:
        return records.read_json(Path(Path(os.environ[POINTER]).read_text(encoding="utf-8")) / "run.json")
    except (LabError, OSError):
        return {}


def _settle(folder: Path, status: str, error: str | None) -> tuple[str, str | None]:
    """The outcome, written into the record where the kernel could not do so itself."""
    written = records.read_json(folder / "run.json").get("status")
    if status == records.FINISHED:
        if written == records.FINISHED:
            return status, error
        status, error = records.FAILED, "the notebook ended without run.finish()"
    elif written not in (records.RUNNING, None) and status not in (TIMED_OUT, KERNEL_DIED):
        return status, error
    records.update_info(folder, status=status, error=error)
    return status, error


def _keep(executed: Path, folder: Path) -> str | None:
    """Put notebook.ipynb and notebook.html into ``folder``. Returns what went wrong, if anything."""
    if not executed.exists():
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "notebook.html", to_html(executed))
        write_atomic(folder / "notebook.ipynb", executed.read_bytes())
    except (LabError, OSError) as error:
        return _line(str(error))
    return None


def to_html(notebook: Path) -> str:
    """The executed notebook as one HTML page with its figures inside."""
    import nbformat
    from nbconvert import HTMLExporter

    node = nbformat.read(notebook, as_version=4)
    node.metadata.pop("widgets", None)
    for cell in node.cells:
        tags = cell.metadata.get("tags", [])
        # papermill's red banner names a cell that the page shows anyway, with the error below it
        cell.metadata["tags"] = [t for t in tags if not t.startswith("papermill-error")]
    title = next((c.source.splitlines()[0].lstrip("# ") for c in node.cells if c.source.startswith("# ")), "")
    exporter = HTMLExporter(template_name="lab", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(node, {"metadata": {"name": title or notebook.stem}})
    return str(body)


def _is_collision(error: str | None) -> bool:
    signs = ("address already in use", "died before replying", "zmqerror", "kernel died", "didn't respond")
    return any(sign in (error or "").lower() for sign in signs)


def _line(text: str) -> str:
    return " ".join(text.split())[:400]


def _tell(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")  # in one piece, as two threads do it
    sys.stdout.flush()


def main() -> int:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        _tell({"event": "end", **run_job(job)})
    finally:
        shutil.rmtree(job["work"], ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
