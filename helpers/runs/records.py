"""Run records: what they hold, how they are read, and their values as text."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.errors import RunError
from helpers.files import patiently, write_atomic

RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"
# A run on another machine (a shared drive) cannot be looked up; after this long it counts as gone.
_STALE_SECONDS = 12 * 3600


@dataclass(frozen=True)
class RunRecord:
    """One run as found on disk.

    ``status`` is running, finished, failed, interrupted, timed out or kernel died. ``info`` is run.json,
    ``metrics`` is metrics.json ({} when the run has not got so far).
    """

    folder: Path
    notebook: str
    run_name: str
    status: str
    info: dict[str, Any] = field(repr=False)
    metrics: dict[str, Any] = field(repr=False)

    @property
    def number(self) -> str:
        """The lesson's: "04"."""
        return self.notebook.split("_")[0]

    @property
    def systems(self) -> dict[str, dict[str, dict[str, Any]]]:
        """{system: {metric: {"value", "low", "high", "n"}}}"""
        return dict(self.metrics.get("systems", {}))

    @property
    def tests(self) -> list[dict[str, Any]]:
        return list(self.metrics.get("tests", []))

    @property
    def notes(self) -> dict[str, Any]:
        """What the lesson noted of itself."""
        return dict(self.info.get("notes", {}))


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON text with NaN and infinity as null and paths, tuples and numpy values as plain types."""
    return json.dumps(clean(value), indent=indent, ensure_ascii=False, allow_nan=False)


def clean(value: Any) -> Any:
    """``value`` made of JSON's own types only."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "as_dict"):
        return clean(value.as_dict())
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [clean(item) for item in sorted(value, key=str)]
    if isinstance(value, Iterable) and not hasattr(value, "dtype"):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch values
        return clean(value.tolist())
    return str(value)


def rounded(value: Any) -> float | None:
    """Six significant digits, so that equal runs print equal bytes; None for NaN and infinity."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV text; columns in order of first appearance, missing values empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; {} when there is no such file.

    Raises:
        RunError: the file is not a JSON object.
    """
    try:
        value = json.loads(patiently(lambda: path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error})", "Remove that run's folder or restore it") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is not a JSON object", "Remove that run's folder or restore it")
    return value


def read_run(folder: Path) -> RunRecord:
    """The record in ``folder``; a run that is gone without saying so reads as interrupted.

    Raises:
        RunError: there is no readable run.json.
    """
    info = read_json(folder / "run.json")
    if not info:
        raise RunError(f"{folder} holds no run.json", "Give the folder of a run")
    status = str(info.get("status", "unknown"))
    if status == RUNNING and not is_alive(info.get("process", {}), folder / "run.json"):
        status = INTERRUPTED
    notebook = str(info.get("notebook", folder.parent.name))
    metrics = read_json(folder / "metrics.json")
    return RunRecord(folder, notebook, str(info.get("run_name", folder.name)), status, info, metrics)


def read_runs(output_dir: Path | str) -> list[RunRecord]:
    """Every run under ``output_dir/<notebook>/<run_name>/``, sorted; damaged records read as failed."""
    records = []
    for path in sorted(Path(output_dir).glob("*/*/run.json")):
        try:
            records.append(read_run(path.parent))
        except RunError as error:
            info = {"error": str(error)}
            records.append(RunRecord(path.parent, path.parent.parent.name, path.parent.name, FAILED, info, {}))
    return records


def this_process() -> dict[str, Any]:
    """What identifies this process later on: a pid alone is reused."""
    import psutil

    created = round(psutil.Process().create_time(), 2)
    return {"pid": os.getpid(), "create_time": created, "host": socket.gethostname()}


def is_alive(process: Mapping[str, Any], record: Path | None = None) -> bool:
    """Whether the process that wrote a record still runs."""
    import psutil

    if process.get("host") != socket.gethostname():
        try:
            return record is not None and time.time() - record.stat().st_mtime < _STALE_SECONDS
        except OSError:
            return False
    try:
        found = psutil.Process(int(process["pid"]))
        same = abs(found.create_time() - float(process["create_time"])) < 2.0
        return same and found.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def writable_folder(path: Path, parameter: str = "output_dir") -> Path:
    """``path``, which ``parameter`` names, made if need be and proved writable by writing to it.

    Raises:
        RunError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"probe")
    except OSError as error:
        why = error.strerror or str(error)
        kind = "output" if parameter == "output_dir" else "checkpoint"
        what = f"the {kind} folder {path} cannot be written ({why})"
        raise RunError(what, f"Give {parameter} a folder that you may write to") from None
    return path


def update_info(folder: Path, **values: Any) -> None:
    """Change fields of a run's run.json from outside, for a run whose process is gone."""
    info = read_json(folder / "run.json")
    if info:
        write_atomic(folder / "run.json", to_json(info | values) + "\n")
