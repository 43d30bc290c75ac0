"""Open the folder of a run: a fresh one, or one to be continued."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.config.parameters import Settings
from helpers.config.settings import NOT_COMPARED
from helpers.errors import RunError
from helpers.runs import records
from helpers.runs.records import RUNNING
from helpers.training import checkpoints

# What a run writes; a new run of the same name removes these and nothing else.
_FILES = ("metrics.json", "predictions.jsonl", "history.csv", "notebook.ipynb", "notebook.html")
_FOLDERS = ("figures", "adapter", "checkpoints", "exports")


def open_folder(settings: Settings) -> tuple[Path, dict[str, Any]]:
    """The run's folder, cleared or to be continued, and the run.json that is continued ({} = a new run).

    On a new machine what is continued is the record that lies beside the checkpoints in ``checkpoint_dir``.

    Raises:
        RunError: not writable, not a run's folder, in use by a live process; or what is there has other settings or
            other data, and would be continued with ``resume=True``, or replaced although it holds results.
    """
    output_dir = records.writable_folder(Path(settings.output_dir))
    folder = output_dir / settings.notebook / settings.run_name
    info = records.read_json(folder / "run.json")
    # A process killed at its very first write leaves a temporary file and nothing else.
    if folder.is_dir() and not info and any(not p.match(".run.json.*.tmp") for p in folder.iterdir()):
        raise RunError(f"{folder} exists and is not a run's folder", "Choose another run_name or output_dir")
    process = info.get("process", {})
    if info.get("status") == RUNNING and process.get("pid") != os.getpid() and records.is_alive(process):
        what = f"run {settings.run_name!r} is still being written by process {process.get('pid')}"
        raise RunError(what, "Choose another run_name, or stop that process")
    records.writable_folder(folder)
    _tidy(folder)
    resume = bool(settings.as_dict().get("resume"))
    place = kept_in(settings)
    if resume and info:
        refuse_changed(settings, info.get("settings", {}), "cannot be resumed")
        return folder, info
    if has_results(folder):
        refuse_changed(settings, info.get("settings", {}), "has results, which are not replaced")
    kept = checkpoints.newest_record(place) if place else {}
    if resume and kept:
        refuse_changed(settings, kept["settings"], "cannot be resumed")
        print(f"note: the run is continued from the checkpoints in {place}")
    elif resume:
        print(f"note: there is no run {settings.run_name!r} to continue; it starts from the beginning")
    elif info.get("status") == RUNNING and checkpoints.latest_checkpoint(folder / "checkpoints"):
        print("note: an interrupted run of this name is replaced; resume=True would have continued it")
    elif has_results(folder):
        print("note: an earlier run of this name, with the same settings, is replaced")
    elif kept:
        refuse_changed(settings, kept["settings"], f"has checkpoints in {place}, which are not replaced")
        print(f"note: {place} has checkpoints of an earlier run of this name; resume=True would continue it")
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    return folder, {"notes": kept.get("notes", {}), "begun": kept.get("started")} if resume and kept else {}


def _tidy(folder: Path) -> None:
    """Remove what a killed process was writing; an adapter that it had set aside to replace it comes back."""
    old = folder / ".adapter.old"
    if old.is_dir() and not (folder / "adapter").exists():
        old.rename(folder / "adapter")
    for path in folder.glob(".*"):
        if path.name in (".adapter.old", ".adapter.tmp"):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.endswith(".tmp") and path.is_file():
            path.unlink(missing_ok=True)


def kept_in(settings: Settings) -> Path | None:
    """Where copies of this run's checkpoints go; None when ``checkpoint_dir`` is not set.

    Raises:
        RunError: the folder cannot be written, is on a drive that is not mounted, or is ``output_dir``.
    """
    root = settings.as_dict().get("checkpoint_dir")
    if not root:
        return None
    if Path(root).resolve() == Path(settings.output_dir).resolve():
        what = f"checkpoint_dir and output_dir are one folder, {root}"
        raise RunError(what, "Leave checkpoint_dir out: checkpoints are in the run's folder anyway")
    checkpoints.check_mounted(Path(root))
    return records.writable_folder(Path(root), "checkpoint_dir") / settings.notebook / settings.run_name


def has_results(folder: Path) -> bool:
    """Whether a run has left something behind that another must not replace."""
    made = (path for name in ("adapter", "checkpoints") for path in (folder / name).rglob("*"))
    return (folder / "metrics.json").is_file() or any(path.is_file() for path in made)


def refuse_changed(settings: Settings, before: Mapping[str, Any], why: str) -> None:
    """RunError that names the first setting, or the data, that is another than ``before``."""
    now = records.clean(settings)
    for name in (name for name in now if name in before):  # an earlier version of the course may have had others
        if name in NOT_COMPARED or now[name] == before[name]:
            continue
        label, cure = name, f"Set {name} back, or choose another run_name"
        if name == "dataset_hash":
            label, cure = f"the content of {now['dataset']}", "Bring the data back, or choose another run_name"
        what = f"run {settings.run_name!r} {why}: {label} was {before[name]!r} and is now {now[name]!r}"
        raise RunError(what, cure)
