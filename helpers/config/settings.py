"""Turn a notebook's parameters into checked settings, and say where each value comes from.

``resolve`` looks at a notebook's ``globals()``, refuses unknown names, wrong types and values out of range with one
clear line, and fills the rest from the lesson's record. No model or data is touched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import tasks
from helpers.config.checks import (
    check_lists,
    check_value,
    is_remote,
    refuse_unknown,
    resolve_dataset,
    resolve_model,
    resolve_run_name,
)
from helpers.config.lessons import Lesson, find_lesson
from helpers.config.parameters import PARAMETERS, Settings
from helpers.config.profiles import HIDDEN, PROFILES, MachineLike, choose_profile
from helpers.errors import DataError, ParameterError
from helpers.files import content_hash, repo_root
from helpers.hints import did_you_mean
from helpers.sources.files.kinds import SUFFIXES
from helpers.sources.source import pairs

# Settings that may differ between a run and its resumption.
NOT_COMPARED = frozenset(
    {"resume", "check_memory", "output_dir", "checkpoint_dir", "run_name", "profile_reason", "cell_timeout", "offline"}
)

# Settings with which the course's own results are got: on its own data they choose a run, or cannot change one.
OF_THE_COURSE = NOT_COMPARED | {"profile", "task", "seed"}

# Parameters that may name a file or folder, and are not looked up before a lesson needs them.
PATHS = frozenset({"teacher", "others", "runs", "ratings"})

# What PEFT_LAB_DTYPE may say.
DTYPES = ("float32", "float16", "bfloat16")

# Parameters that a default run name has in another form, or that say where and not what.
NOT_NAMED = NOT_COMPARED | {"profile", "task", "seed"}


def default_output_dir() -> Path:
    """``$PEFT_LAB_OUTPUT``, or ``outputs/`` in the repository."""
    chosen = os.environ.get("PEFT_LAB_OUTPUT")
    return Path(chosen).expanduser().absolute() if chosen else repo_root() / "outputs"


def parameters_cell(notebook: str) -> str:
    """Source of a notebook's ``parameters`` cell: one annotated, commented assignment a line.

    A value stands there when all profiles share it (``lora_r: int = 16``), None where they differ.
    """
    lesson = find_lesson(notebook)
    lines = []
    for name in lesson.parameters:
        row = PARAMETERS[name]
        value = lesson.shared_default(name)
        text = f'"{value}"' if isinstance(value, str) else repr(value)
        lines.append(f"{name}: {row.type.__name__} = {text}  # {row.help}")
    return "\n".join(lines)


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
    lesson = find_lesson(notebook)
    refuse_unknown(lesson, given)
    asked = {n: check_value(PARAMETERS[n], given[n]) for n in lesson.parameters if given.get(n) is not None}
    task = _check_task(lesson, asked)
    wanted = asked.get("profile", lesson.parameters["profile"])
    profile, reason = choose_profile(wanted, task, asked.get("dataset"), machine)
    usual = {n: lesson.default_and_origin(n, profile, task) for n in lesson.parameters}
    values = {n: asked.get(n, default) for n, (default, _) in usual.items()}
    chosen = tuple(n for n in values if n in asked and asked[n] != usual[n][0])
    origins = {n: "given" if n in chosen else origin for n, (_, origin) in usual.items()}
    _check_form(values, task)
    _check_forms(values, task)
    check_lists(values)
    _apply_protocol(values, chosen, origins, task)
    if _lower_n_generate(values, chosen):
        origins["n_generate"] = "lowered to n_eval"
    if "dataset" in values:
        values["dataset"] = resolve_dataset(values["dataset"], profile, task)
        origins["dataset"] = "given" if "dataset" in chosen else f"built in, profile {profile}"
        _check_source(values)
    if "model_id" in values:
        values["model_id"] = resolve_model(values["model_id"])
    if "reasoner_id" in values:
        values["reasoner_id"] = resolve_model(values["reasoner_id"], "reasoner_id")
    named = {n: _full_path(values[n]) if n in PATHS else values[n] for n in chosen if n not in NOT_NAMED}
    content = _content(values["dataset"]) if "dataset" in named else ""
    if values["run_name"] is None:
        origins["run_name"] = "made from profile, task, seed and what was given"
    values["run_name"] = resolve_run_name(values["run_name"], profile, task, values.get("seed"), named, content)
    if values["output_dir"] is None:
        origins["output_dir"] = "PEFT_LAB_OUTPUT" if os.environ.get("PEFT_LAB_OUTPUT") else "the repository"
    folder = values["output_dir"]
    values["output_dir"] = str(Path(folder).expanduser().absolute() if folder else default_output_dir())
    if values.get("checkpoint_dir"):
        values["checkpoint_dir"] = str(Path(values["checkpoint_dir"]).expanduser().absolute())
    values.setdefault("seed", 0)
    values["profile"], origins["profile"] = profile, reason
    hidden = PROFILES[profile].hidden()
    origins |= dict.fromkeys(HIDDEN, f"profile {profile}")
    if forced := _forced_dtype():
        hidden["dtype"], origins["dtype"] = forced, "PEFT_LAB_DTYPE"
    if hidden["offline"] and any(is_remote(values.get(n)) for n in ("model_id", "reasoner_id", "dataset")):
        hidden["offline"], origins["offline"] = False, "a model or dataset is not on this machine"
    if content:
        hidden["dataset_hash"], origins["dataset_hash"] = content[:16], "content of dataset"
    record = {"notebook": lesson.id, "profile": profile, "profile_reason": reason} | values | hidden
    return Settings(record, chosen, origins)


def as_recorded(settings: Settings) -> bool:
    """Whether a run is the course's own: its data, and nothing set that could change a result."""
    return set(settings.given) <= OF_THE_COURSE and settings.origins.get("dtype") != "PEFT_LAB_DTYPE"


def _full_path(value: str) -> str:
    """A file or folder by its absolute path, anything else as it is."""
    path = Path(value).expanduser()
    return os.path.abspath(path) if path.exists() else value


def _content(dataset: str) -> str:
    """Hash of the data's content; "" for what does not lie on this machine.

    Raises:
        ParameterError: a file cannot be read.
    """
    path = Path(dataset)
    if not path.is_absolute():
        return ""
    try:
        return content_hash(path, SUFFIXES)
    except OSError as error:
        what = f"dataset = {dataset!r} cannot be read ({error.strerror or error})"
        raise ParameterError(what, "Make the file readable, or give another") from None


def _forced_dtype() -> str:
    """PEFT_LAB_DTYPE computes in another format than the profile or the machine would, to compare runs across machines.

    Raises:
        ParameterError: it names no format.
    """
    asked = os.environ.get("PEFT_LAB_DTYPE", "")
    if asked and asked not in DTYPES:
        raise ParameterError(f"PEFT_LAB_DTYPE = {asked!r} is not allowed", f"Allowed: {', '.join(DTYPES)}")
    return asked


def _check_task(lesson: Lesson, asked: Mapping[str, Any]) -> str:
    if not lesson.tasks:
        return "none"
    task = str(asked.get("task", lesson.parameters["task"]))
    if task not in lesson.tasks:
        what = f"task = {task!r} is not one of {lesson.id}{did_you_mean(task, lesson.tasks)}"
        raise ParameterError(what, f"Allowed: {', '.join(lesson.tasks)}")
    return task


def _check_form(values: Mapping[str, Any], task: str) -> None:
    if "form" not in values or values["form"] in tasks.TASKS[task].forms:
        return
    forms = tuple(tasks.TASKS[task].forms)
    what = f"form = {values['form']!r} does not exist in task {task!r}{did_you_mean(values['form'], forms)}"
    raise ParameterError(what, f"Allowed: {', '.join(forms)}")


def _apply_protocol(values: dict[str, Any], chosen: tuple[str, ...], origins: dict[str, str], task: str) -> None:
    """``protocol = "published"`` sets the data set and how many rows are used.

    Raises:
        ParameterError: the task has no published protocol, or a size is given that the protocol sets.
    """
    if not values.get("protocol"):
        return
    known = tasks.TASKS[task].protocol
    if known is None:
        raise ParameterError(f"task {task!r} has no published protocol", "Leave protocol out")
    if values["splits"] == "random":
        raise ParameterError("protocol 'published' starts from official splits, but splits = 'random'", "Leave one out")
    for name, split in (("n_train", "train"), ("n_eval", "test")):
        if split in known.sizes and name in values:
            if name in chosen:
                raise ParameterError(
                    f"{name} = {values[name]} is given, but the protocol of Project {known.project} sets it",
                    f"Leave {name} or protocol out",
                )
            values[name], origins[name] = known.sizes[split], f"protocol of Project {known.project}"
    if values["dataset"] == "builtin":
        values["dataset"] = tasks.TASKS[task].sources["full"]


def _check_source(values: Mapping[str, Any]) -> None:
    """ParameterError for pairs of columns or labels that are none."""
    try:
        pairs("columns", values["columns"])
        pairs("labels", values["labels"])
    except DataError as error:
        raise ParameterError(error.what, error.cure) from None


def _check_forms(values: Mapping[str, Any], task: str) -> None:
    """Forms trained together: each exists, none twice, and one at least is a text; without a choice no questions are
    asked."""
    known = tasks.TASKS[task].forms if "forms" in values else {}
    asked = str(values.get("forms", "")).split("+")
    cure = f"Allowed: one or more of {', '.join(known)}, joined by +, with a text: " + ", ".join(
        form for form, kind in known.items() if kind == "generation"
    )
    for form in asked if known else ():
        if form not in known:
            what = f"forms = {values['forms']!r}: task {task!r} has no form {form!r}{did_you_mean(form, known)}"
            raise ParameterError(what, cure)
        if asked.count(form) > 1:
            raise ParameterError(f"forms = {values['forms']!r} names {form!r} twice", cure)
    if known and not any(known[form] == "generation" for form in asked):
        raise ParameterError(f"forms = {values['forms']!r} has no text to learn", cure)


def _lower_n_generate(values: dict[str, Any], chosen: tuple[str, ...]) -> bool:
    """Answers are generated for test examples: a default of more than there are is lowered, a given one refused."""
    if "n_generate" not in values or values["n_generate"] <= values["n_eval"]:
        return False
    if "n_generate" in chosen:
        raise ParameterError(
            f"n_generate = {values['n_generate']} is more than n_eval = {values['n_eval']}",
            "Generated answers are for test examples: raise n_eval or lower n_generate",
        )
    values["n_generate"] = values["n_eval"]
    return True
