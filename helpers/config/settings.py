"""Turn notebook parameters into checked settings; pick the profile.

``resolve`` looks at a notebook's ``globals()``, refuses unknown names, wrong types and values out of
range with one clear line, and fills the rest from ``helpers.config.lessons``. No model or data is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from helpers.config.checks import (
    check_value,
    is_remote,
    refuse_unknown,
    resolve_dataset,
    resolve_model,
    resolve_run_name,
)
from helpers.config.lessons import (
    CPU_DATA_ASSETS,
    CPU_MODEL_ASSET,
    DEFAULTS,
    FORMS,
    HIDDEN,
    NOTEBOOKS,
    PARAMETERS,
    PROFILES,
    NotebookSpec,
)
from helpers.errors import HardwareError, ParameterError
from helpers.files import repo_root
from helpers.hints import did_you_mean
from helpers.machine.problems.gpu import FULL_GPU_GB
from helpers.sources import assets
from helpers.sources.asking import hub_reachable

__all__ = ["DEFAULTS", "NOTEBOOKS", "PARAMETERS", "Settings", "find_notebook", "parameters_cell", "resolve"]

# Settings that may differ between a run and its resumption.
NOT_COMPARED = frozenset(
    {"resume", "check_memory", "output_dir", "checkpoint_dir", "run_name", "profile_reason", "cell_timeout", "offline"}
)

# What PEFT_LAB_DTYPE may say.
DTYPES = ("float32", "float16", "bfloat16")

# Parameters that a default run name has in another form, or that say where and not what.
NOT_NAMED = NOT_COMPARED | {"profile", "task", "seed"}


class MachineLike(Protocol):
    """The two facts about a machine that choosing a profile needs."""

    @property
    def device(self) -> str: ...
    @property
    def gpu_memory_gb(self) -> float | None: ...


class Settings:
    """Frozen settings of one run: read as attributes, ``as_dict()`` for the record.

    ``given`` names the parameters whose value came from the notebook rather than from the table.
    """

    __slots__ = ("_values", "_given")

    def __init__(self, values: Mapping[str, Any], given: Iterable[str] = ()) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_given", tuple(given))

    @property
    def given(self) -> tuple[str, ...]:
        given: tuple[str, ...] = object.__getattribute__(self, "_given")
        return given

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = object.__getattribute__(self, "_values")
        if name in values:
            return values[name]
        raise AttributeError(f"no setting {name!r}{did_you_mean(name, values)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("settings are fixed: change the parameters cell and run start() again")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __reduce__(self) -> tuple[type[Settings], tuple[dict[str, Any], tuple[str, ...]]]:
        return Settings, (self._values, self._given)

    def __repr__(self) -> str:
        return "Settings(" + ", ".join(f"{k}={v!r}" for k, v in self._values.items()) + ")"

    def as_dict(self) -> dict[str, Any]:
        """Every setting in a fixed order, JSON-ready."""
        return dict(self._values)


def default_output_dir() -> Path:
    """``$PEFT_LAB_OUTPUT``, or ``outputs/`` in the repository."""
    chosen = os.environ.get("PEFT_LAB_OUTPUT")
    return Path(chosen).expanduser().absolute() if chosen else repo_root() / "outputs"


def find_notebook(name: str) -> NotebookSpec:
    """The notebook called ``name``: its id, its number ("04", "4"), its name ("eda") or its file.

    Raises:
        ParameterError: there is none.
    """
    stem = Path(str(name)).name.removesuffix(".ipynb")
    if stem in NOTEBOOKS:
        return NOTEBOOKS[stem]
    number = stem.zfill(2) if stem.isdigit() else stem
    for key, spec in NOTEBOOKS.items():
        if stem.lower() == key.split("_", 1)[1] or number == key.split("_", 1)[0]:
            return spec
    near = did_you_mean(stem, [*NOTEBOOKS, *(key.split("_", 1)[1] for key in NOTEBOOKS)])
    raise ParameterError(f"there is no notebook {name!r}{near}", f"Notebooks: {', '.join(NOTEBOOKS)}")


def table_defaults(profile: str, notebook: str, task: str) -> dict[str, Any]:
    """The table's values for one profile, notebook and task; later rows win."""
    values: dict[str, Any] = {}
    for row_profile, row_notebook, row_task, row in DEFAULTS:
        if row_profile in ("*", profile) and row_notebook in ("*", notebook) and row_task in ("*", task):
            values.update(row)
    return values


def parameters_cell(notebook: str) -> str:
    """Source of a notebook's ``parameters`` cell: one annotated, commented assignment a line.

    A value stands there when all profiles share it (``lora_r: int = 16``), None where they differ.
    """
    spec = find_notebook(notebook)
    lines = []
    for name in spec.parameters:
        row = PARAMETERS[name]
        value = shared_default(spec, name)
        text = f'"{value}"' if isinstance(value, str) else repr(value)
        lines.append(f"{name}: {row.type.__name__} = {text}  # {row.help}")
    return "\n".join(lines)


def shared_default(spec: NotebookSpec, name: str) -> Any:
    """The value that a parameter has in every profile and task of a notebook, else None."""
    if _default(spec, name) is not None:
        return _default(spec, name)
    cases = [table_defaults(p, spec.id, t).get(name) for p in PROFILES for t in spec.tasks or ("none",)]
    return cases[0] if all(case == cases[0] for case in cases) else None


def _default(spec: NotebookSpec, name: str) -> Any:
    """What a parameter is when nobody sets it and no profile decides; a notebook's usual task is its first."""
    return spec.tasks[0] if name == "task" and spec.tasks else PARAMETERS[name].default


def resolve(notebook: str, given: Mapping[str, Any], machine: MachineLike) -> Settings:
    """Check a notebook's parameters and fill in the profile's defaults.

    Args:
        notebook: id such as ``"04_qlora_instruct"``.
        given: the notebook's ``globals()``, or a plain mapping of parameters.
        machine: what ``hardware.probe()`` returned.

    Raises:
        ParameterError: unknown name, wrong type, value out of range or not among the choices.
        HardwareError: ``profile="full"`` without a GPU.
    """
    spec = find_notebook(notebook)
    refuse_unknown(spec, given)
    values: dict[str, Any] = {}
    for name in spec.parameters:
        value = given.get(name)
        values[name] = _default(spec, name) if value is None else check_value(PARAMETERS[name], value)
    task = _check_task(spec, values)
    dataset = values.get("dataset")
    profile, reason = choose_profile(values["profile"], task, dataset, machine)
    table = table_defaults(profile, spec.id, task)
    usual = {n: table.get(n) if _default(spec, n) is None else _default(spec, n) for n in values}
    chosen = tuple(n for n, v in values.items() if v is not None and v != usual[n])
    for name in spec.parameters:
        if values[name] is None:
            values[name] = table.get(name)
    _check_form(spec, values, task)
    _check_together(values, chosen)
    if "dataset" in values:
        values["dataset"] = resolve_dataset(values["dataset"], profile, task)
    if "model_id" in values:
        values["model_id"] = resolve_model(values["model_id"])
    named = {n: values[n] for n in chosen if n not in NOT_NAMED}
    values["run_name"] = resolve_run_name(values["run_name"], profile, task, values.get("seed"), named)
    folder = values["output_dir"]
    values["output_dir"] = str(Path(folder).expanduser().absolute() if folder else default_output_dir())
    if values.get("checkpoint_dir"):
        values["checkpoint_dir"] = str(Path(values["checkpoint_dir"]).expanduser().absolute())
    values.setdefault("seed", PARAMETERS["seed"].default)

    values["profile"] = profile
    table = table | _forced_dtype()
    offline = bool(table["offline"]) and not any(is_remote(values.get(n)) for n in ("model_id", "dataset"))
    extra = {name: table[name] for name in HIDDEN} | {"offline": offline}
    record = {"notebook": spec.id, "profile": profile, "profile_reason": reason} | values | extra
    return Settings(record, chosen)


def choose_profile(asked: str, task: str, dataset: str | None, machine: MachineLike) -> tuple[str, str]:
    """(profile, why). ``auto`` takes the richest one that can run on this machine.

    Raises:
        HardwareError: "full" was asked for and there is no usable GPU (PEFT_LAB_FORCE=1 overrides).
    """
    memory = machine.gpu_memory_gb or 0.0
    has_gpu = machine.device == "cuda"
    if asked == "full" and not has_gpu:
        if os.environ.get("PEFT_LAB_FORCE") != "1":
            raise HardwareError(
                "profile = 'full' needs a GPU with 16 GB, and no usable one was found here",
                "Use profile = 'cpu' or 'smoke', or switch the runtime to a GPU; "
                "PEFT_LAB_FORCE=1 tries it all the same",
            )
        return asked, "asked for; no GPU, forced by PEFT_LAB_FORCE=1"
    if asked != "auto":
        return asked, "asked for"
    if has_gpu and memory >= FULL_GPU_GB:
        return "full", f"auto: a GPU with {memory:.0f} GB"
    gpu = f"the GPU has {memory:.0f} GB, full wants 16" if has_gpu else "no GPU"
    data_asset = CPU_DATA_ASSETS.get(task) if dataset in (None, "builtin", "wikibooks") else None
    if data_asset and not assets.available(data_asset):
        return "smoke", f"auto: {gpu}; the real data is not fetched (python -m helpers assets)"
    if assets.available(CPU_MODEL_ASSET):
        return "cpu", f"auto: {gpu}; the assets are in place"
    if hub_reachable():
        return "cpu", f"auto: {gpu}; the Hugging Face Hub is reachable"
    return "smoke", f"auto: {gpu}, no assets (python -m helpers assets) and no Hugging Face Hub"


def _forced_dtype() -> dict[str, str]:
    """PEFT_LAB_DTYPE computes in another format than the profile or the machine would, to compare runs across machines.

    Raises:
        ParameterError: it names no format.
    """
    asked = os.environ.get("PEFT_LAB_DTYPE", "")
    if asked and asked not in DTYPES:
        raise ParameterError(f"PEFT_LAB_DTYPE = {asked!r} is not allowed", f"Allowed: {', '.join(DTYPES)}")
    return {"dtype": asked} if asked else {}


def _check_task(spec: NotebookSpec, values: dict[str, Any]) -> str:
    if "task" not in values:
        return "none"
    task = str(values["task"])
    if task not in spec.tasks:
        near = did_you_mean(task, spec.tasks)
        what = f"task = {task!r} is not one of {spec.id}{near}"
        raise ParameterError(what, f"Allowed: {', '.join(spec.tasks)}")
    return task


def _check_form(spec: NotebookSpec, values: dict[str, Any], task: str) -> None:
    if "form" not in values or values["form"] in FORMS[task]:
        return
    near = did_you_mean(values["form"], FORMS[task])
    what = f"form = {values['form']!r} does not exist in task {task!r}{near}"
    raise ParameterError(what, f"Allowed: {', '.join(FORMS[task])}")


def _check_together(values: dict[str, Any], chosen: tuple[str, ...]) -> None:
    if "n_generate" in values and values["n_generate"] > values["n_eval"]:
        if "n_generate" in chosen:
            raise ParameterError(
                f"n_generate = {values['n_generate']} is more than n_eval = {values['n_eval']}",
                "Generated answers are for test examples: raise n_eval or lower n_generate",
            )
        values["n_generate"] = values["n_eval"]
