"""Checkpoints: which are complete, and copies of them in a folder that outlives the machine.

A trainer saves into the run's own folder. Where ``checkpoint_dir`` is given, every complete checkpoint is copied to
it, with a record (``complete.json``) of its files, their checksums and the settings that it belongs to. The record is
written last, so a copy that was cut short has none or one that does not fit, and is ignored.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.errors import RunError
from helpers.files import TRIES, patiently, sha256, write_atomic

RECORD = "complete.json"
STATE = "state.pt"  # of a training that is not a trainer's
_PARTIAL = ".partial"
_DRIVE = "/content/drive"  # where Colab mounts Google Drive

_mirrors: dict[Path, Mirror] = {}


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete ``checkpoint-N``; a half-written one (killed while saving) does not count."""
    return next((path for _, path in sorted(_numbered(folder), reverse=True) if is_complete(path)), None)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    return [(int(p.name[11:]), p) for p in folder.glob("checkpoint-*") if p.name[11:].isdigit() and p.is_dir()]


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint is whole: by its record, else by the trainer's state, weights, optimizer and scheduler."""
    try:
        if (checkpoint / RECORD).exists():
            return bool(_record_of(checkpoint))
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        archives = [checkpoint / name for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")]
        weights = list(checkpoint.glob("*.safetensors"))
        whole = all(map(zipfile.is_zipfile, archives)) and bool(weights) and all(map(_is_whole, weights))
        return "global_step" in state and whole
    except (OSError, ValueError):
        return False


def _is_whole(weights: Path) -> bool:
    """Whether a safetensors file is as long as its header says; a killed save leaves it short."""
    from safetensors import SafetensorError, safe_open

    with suppress(SafetensorError), safe_open(weights, framework="numpy"):
        return True
    return False


def sweep(folder: Path) -> None:
    """Remove half-written checkpoints, which a killed save leaves."""
    broken = [path for _, path in _numbered(folder) if not is_complete(path)]
    for path in (*broken, *folder.glob(f"*{_PARTIAL}")):
        shutil.rmtree(path, ignore_errors=True)


def _record_of(checkpoint: Path, deep: bool = True) -> dict[str, Any]:
    """The record of a checkpoint whose files are all there as recorded, else {}; ``deep`` reads them too."""
    try:
        record = json.loads((checkpoint / RECORD).read_text(encoding="utf-8"))
        for name, (size, digest) in record["files"].items():
            file = checkpoint / name
            if file.stat().st_size != size or (deep and sha256(file) != digest):
                return {}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return record


def _copies(place: Path) -> Iterator[Path]:
    for record in sorted(place.rglob(RECORD)):
        if record.parent.name.startswith("checkpoint-") and not record.parent.name.endswith(_PARTIAL):
            yield record.parent


def newest_record(place: Path) -> dict[str, Any]:
    """What the latest run that left a checkpoint in ``place`` wrote beside it; {} when there is none.

    Returns:
        "settings", "notes" (fingerprints) and "started" of that run.

    Raises:
        RunError: the folder cannot be read.
    """
    records = _reading(place, lambda: [_record_of(path, deep=False) for path in _copies(place)])
    return max((r for r in records if r), key=lambda r: str(r.get("started", "")), default={})


@dataclass
class Mirror:
    """Copies of a run's checkpoints below ``checkpoint_dir``.

    Args:
        local: the run's own checkpoints folder, where trainers save.
        root: ``checkpoint_dir``.
        place: ``<root>/<notebook>/<run_name>``.
        settings: what the checkpoints belong to, JSON-ready.
        started: when the run began, a sortable text: what an earlier run of the same name left is older.
        fallback: called with what and why when the copies cannot be written; training continues without them.
    """

    local: Path
    root: Path
    place: Path
    settings: Mapping[str, Any]
    started: str
    fallback: Callable[[str, str], None]
    notes: dict[str, Any] = field(default_factory=dict)
    _lost: bool = False

    def publish(self, checkpoint: Path) -> bool:
        """Copy one complete checkpoint; when that has succeeded, drop copies of those that no longer exist.

        Returns whether it is there now. A drive that does not answer is tried again a few times; then the copy is
        left out, which is told once, and the next checkpoint tries once more.
        """
        try:
            patiently(lambda: self._copy(checkpoint), 1 if self._lost else TRIES)
        except OSError as error:
            if not self._lost:
                why = error.strerror or str(error)
                self.fallback(f"checkpoints stay in {self.local}", f"{self.root} cannot be written: {why}")
            self._lost = True
            return False
        if self._lost:
            print(f"note: checkpoints go to {self.root} again")
        self._lost = False
        with suppress(OSError):
            self._prune(checkpoint)
        return True

    def catch_up(self, folder: Path) -> None:
        """Copy the newest checkpoint of a folder that a killed process had no time to copy; drop half a copy."""
        beside = self.place / folder.relative_to(self.local)
        for path in beside.glob(f"*{_PARTIAL}"):
            shutil.rmtree(path, ignore_errors=True)
        newest = latest_checkpoint(folder)
        if newest is not None and not _record_of(beside / newest.name, deep=False):
            self.publish(newest)

    def _copy(self, checkpoint: Path) -> None:
        if not self.root.is_dir():  # unmounted: making it anew would write to the machine's own disk
            raise FileNotFoundError(2, "the folder is gone", str(self.root))
        target = self.place / checkpoint.relative_to(self.local)
        fresh = target.with_name(target.name + _PARTIAL)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        files: dict[str, tuple[int, str]] = {}
        for path in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != RECORD):
            name = path.relative_to(checkpoint).as_posix()
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as source, (fresh / name).open("wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
            files[name] = (path.stat().st_size, sha256(path))
        record = {"files": files, "settings": self.settings, "notes": self.notes, "started": self.started}
        with (fresh / RECORD).open("w", encoding="utf-8") as text:
            json.dump(record, text)
            text.flush()
            os.fsync(text.fileno())
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)

    def _prune(self, newest: Path) -> None:
        """Keep the copies of checkpoints that the trainer has kept, all of this run."""
        beside = (self.place / newest.relative_to(self.local)).parent
        kept = {path.name for path in newest.parent.iterdir()}
        for path in beside.glob("checkpoint-*"):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        # What an earlier run of this name left in other places is of no use once this one has a checkpoint.
        for path in _copies(self.place):
            if _record_of(path, deep=False).get("started") != self.started:
                shutil.rmtree(path, ignore_errors=True)

    def fetch(self) -> None:
        """Copy what is whole here and missing in the run's folder, to be continued from there.

        Raises:
            RunError: the folder cannot be read.
        """
        _reading(self.place, self._fetch)

    def _fetch(self) -> None:
        for path in _copies(self.place):
            target = self.local / path.relative_to(self.place)
            if _record_of(path, deep=False).get("started") != self.started or is_complete(target):
                continue
            fresh = target.with_name(target.name + _PARTIAL)
            for old in (fresh, target):
                shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(path, fresh)  # makes the folders above it too
            if not _record_of(fresh):  # cut or changed on its way to the drive or back
                shutil.rmtree(fresh)
                continue
            if (fresh / "trainer_state.json").is_file():
                (fresh / RECORD).unlink()  # the trainer may rewrite these files, and then it would not fit
                _relocate(fresh, target.parent)
            fresh.rename(target)


def _relocate(checkpoint: Path, folder: Path) -> None:
    """Let a trainer's state name its best checkpoint where that lies now."""
    file = checkpoint / "trainer_state.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    if state.get("best_model_checkpoint"):
        state["best_model_checkpoint"] = str(folder / Path(state["best_model_checkpoint"]).name)
        write_atomic(file, json.dumps(state, indent=2, sort_keys=True) + "\n")


def _reading(place: Path, action: Callable[[], Any]) -> Any:
    try:
        return patiently(action)
    except OSError as error:
        why = error.strerror or str(error)
        raise RunError(f"checkpoints in {place} cannot be read ({why})", "Mount the drive again, then rerun") from None


def save_state(folder: Path, step: int, state: bytes) -> Path:
    """``folder/checkpoint-<step>/state.pt`` for a loop of its own, whole or not there; the one before is dropped.

    Raises:
        RunError: the disk is full, the folder cannot be written. The one before stays.
    """
    target = folder / f"checkpoint-{step}"
    fresh = target.with_name(target.name + _PARTIAL)
    for old in (fresh, target):
        shutil.rmtree(old, ignore_errors=True)
    file = write_atomic(fresh / STATE, state)
    record = {"files": {STATE: (len(state), sha256(file))}, "settings": {}, "notes": {}, "started": ""}
    write_atomic(fresh / RECORD, json.dumps(record))
    fresh.rename(target)
    for number, path in _numbered(folder):
        if number != step:
            shutil.rmtree(path, ignore_errors=True)
    if (mirror := mirror_of(folder)) is not None:
        mirror.publish(target)
    return target


def check_mounted(root: Path) -> None:
    """Refuse a folder of a Google Drive that is not mounted: it would be made on the machine's own disk.

    Raises:
        RunError: it is not mounted.
    """
    if str(root).startswith(_DRIVE + "/") and not os.path.ismount(_DRIVE):
        what = f"checkpoint_dir = {str(root)!r}: Google Drive is not mounted"
        raise RunError(what, "Run: from google.colab import drive; drive.mount('/content/drive')")


def watch(local: Path, mirror: Mirror | None) -> None:
    """From now on ``mirror_of`` finds this mirror for ``local``; with None, checkpoints there are copied nowhere."""
    _mirrors.pop(local, None)
    if mirror is not None:
        _mirrors[local] = mirror


def mirror_of(folder: Path) -> Mirror | None:
    """The mirror of a checkpoints folder or of one below it."""
    return next((_mirrors[place] for place in (folder, *folder.parents) if place in _mirrors), None)
