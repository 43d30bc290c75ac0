"""Trained adapters on disk: those of a run, or a folder that PEFT saved; checked before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.adapters.merging import CONFIG, WEIGHTS
from helpers.errors import ModelError, ParameterError, RunError
from helpers.files import write_atomic
from helpers.hints import did_you_mean
from helpers.models.load import resolve_model
from helpers.runs import records
from helpers.runs.records import FINISHED, RunRecord

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter in ``folder``, trained on the model ``base``; ``run`` where a run of the course left it."""

    name: str
    folder: Path
    base: str
    run: RunRecord | None = None


def named_folders(given: str | None, known: Sequence[str]) -> dict[str, Path]:
    """Name → folder from "name=folder, name=folder"; {} for None.

    Args:
        known: the names that may be given.

    Raises:
        ParameterError: no name, an unknown one, one name twice, or a name that PEFT mistakes for its own.
    """
    found: dict[str, Path] = {}
    for part in (given or "").split(",") if given else []:
        name, sign, place = (text.strip() for text in part.partition("="))
        if not (sign and name and place):
            raise ParameterError(f"adapters: {part.strip()!r} is not a name and a folder", "Write name=folder, name=…")
        check_name(name)
        if name not in known:
            raise ParameterError(f"adapters: unknown name {name!r}{did_you_mean(name, known)}", f"Names: {known}")
        if name in found:
            raise ParameterError(f"adapters: two adapters are named {name!r}", "Each name once")
        found[name] = Path(place).expanduser()
    return found


def check_name(name: str) -> None:
    """A name that PEFT can keep apart.

    Raises:
        ParameterError: it is no plain word, or a part of ``lora_``, by which PEFT finds its own tensors.
    """
    if not _NAME.fullmatch(name) or name in "lora_A lora_B":
        what = f"adapter name {name!r} will not do: PEFT looks for names of its own in the names of tensors"
        raise ParameterError(what, "Use a word of letters, digits, _ and -, other than a part of lora_A")


def of_run(folder: Path, name: str | None = None) -> SavedAdapter:
    """The adapter of a run, by the run's folder, or of a folder that ``save_pretrained`` wrote.

    Args:
        name: which one, where a run has several.

    Raises:
        RunError: no such folder; the run did not finish, or has no adapter.
        ModelError: the folder has no adapter, or half of one.
        ParameterError: several adapters and no name, or no adapter of this name.
    """
    if not folder.is_dir():
        raise RunError(f"there is no folder {folder}", "Give the folder of a run, or one that save_pretrained wrote")
    run = None
    if (folder / "run.json").is_file():
        run = records.read_run(folder)
        if run.status != FINISHED:
            cure = "Finish it (resume=True continues it), or choose another run"
            raise RunError(f"the run in {folder} is {run.status}: its adapter is not the one that it meant", cure)
        folder = folder / "adapter"
    folder, name = _the_one(folder, name)
    info = records.read_json(folder / CONFIG)
    if not info or not (folder / WEIGHTS).is_file():
        missing = CONFIG if not info else WEIGHTS
        raise ModelError(
            f"{folder} holds no adapter of PEFT: {missing} is missing", "Give a folder that has both files"
        )
    base = (run.info["settings"].get("model_id") if run else None) or info.get("base_model_name_or_path")
    return SavedAdapter(name, folder, str(base), run)


def rank_of(folder: Path) -> int:
    """The largest rank that an adapter has in any layer.

    Raises:
        ModelError: the folder holds no LoRA adapter.
    """
    info = records.read_json(folder / CONFIG)
    if "r" not in info:
        raise ModelError(f"{folder} holds no adapter with a rank", "Give a folder that PEFT saved a LoRA adapter in")
    return max(info["r"], *(info.get("rank_pattern") or {}).values(), 0)


def _the_one(folder: Path, name: str | None) -> tuple[Path, str]:
    """Folder and name of one adapter: PEFT puts the one called "default" on top and others below."""
    if (folder / CONFIG).is_file() and name in (None, "default"):
        return folder, name or "default"
    inside = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG}"))}
    if name is None and len(inside) == 1:
        name = next(iter(inside))
    if name is None and inside:
        raise ParameterError(f"{folder} holds {len(inside)} adapters", f"Name one: {', '.join(inside)}")
    if inside and name not in inside:
        known = list(inside)
        raise ParameterError(f"{folder} has no adapter {name!r}{did_you_mean(name, known)}", f"It has {known}")
    return inside.get(name or "", folder), name or "default"


def given_adapters(given: str | None, known: Sequence[str], model_id: str) -> dict[str, SavedAdapter]:
    """Name → adapter of the parameter ``adapters``, each one there, whole, and trained on ``model_id``.

    Args:
        given: "name=folder, name=folder", or None.
        known: the names that may be given.

    Raises:
        ParameterError, RunError, ModelError: see ``named_folders``, ``of_run`` and ``check_base``.
    """
    found = {}
    for name, folder in named_folders(given, known).items():
        inside = any((place / name / CONFIG).is_file() for place in (folder, folder / "adapter"))
        found[name] = of_run(folder, name if inside else None)
        check_base(found[name], model_id)
    return found


def check_base(adapter: SavedAdapter, model_id: str) -> None:
    """The adapter was trained on this model.

    Raises:
        ModelError: it was trained on another; names both.
    """
    if adapter.base != model_id and adapter.base != resolve_model(model_id).location:
        what = f"the adapter in {adapter.folder} was trained on {adapter.base}, not on {model_id}"
        raise ModelError(what, f"Set model_id = {adapter.base!r}, or give another adapter")


def name_base(folder: Path, model_id: str) -> None:
    """Write into an adapter's configuration which model it belongs to, by an id that other machines know.

    PEFT writes where the model was loaded from, which may be a folder of this machine.
    """
    info = records.read_json(folder / CONFIG) | {"base_model_name_or_path": model_id}
    write_atomic(folder / CONFIG, records.to_json(info) + "\n")
