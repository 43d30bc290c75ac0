"""Checks of single notebook parameters: names, types, ranges, paths. One clear line for each mistake."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from helpers import tasks
from helpers.config.lessons import Lesson
from helpers.config.parameters import MODEL_SIZES, PARAMETERS, PENALTIES, Parameter
from helpers.errors import DataError, ParameterError
from helpers.files import repo_root
from helpers.hints import did_you_mean
from helpers.sources import kaggle
from helpers.sources.files.kinds import SUFFIXES

_SIMPLE = (type(None), bool, int, float, str, list, dict)
_IPYTHON_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open", "display"})
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,@-]{0,99}")
_LONGEST_NAME = 100
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def check_value(row: Parameter, value: Any) -> Any:
    """``value`` as the parameter's type, or a ParameterError that says what to type."""
    kind = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}[row.type]
    wrong_type = not isinstance(value, row.type) or (isinstance(value, bool) and row.type is not bool)
    if row.type is float and isinstance(value, int) and not isinstance(value, bool):
        value, wrong_type = float(value), False
    if wrong_type:
        got = f"{type(value).__name__} {value!r}"
        raise ParameterError(f"{row.name} must be {kind} ({row.type.__name__}), not {got}", _cure(row, value))
    if row.choices and value not in row.choices:
        near = did_you_mean(value, row.choices)
        raise ParameterError(f"{row.name} = {value!r} is not allowed{near}", f"Allowed: {', '.join(row.choices)}")
    if row.low is not None and row.high is not None and not row.low <= value <= row.high:  # NaN is in no range
        raise ParameterError(f"{row.name} = {value!r} is out of range", f"Allowed: {_range(row)}")
    if row.type is str and not value.strip():
        raise ParameterError(f"{row.name} is empty", f"Give {row.help}, or None for the default")
    return value


def refuse_unknown(lesson: Lesson, given: Mapping[str, Any]) -> None:
    """Papermill turns an unknown parameter into a plain global and only logs it; here it is an error.

    Raises:
        ParameterError: a simple-typed name in ``given`` is no parameter of this notebook.
    """
    for name in _candidate_names(given):
        if name in lesson.parameters or name.startswith("_") or name in _IPYTHON_NAMES:
            continue
        if isinstance(given[name], _SIMPLE):
            what = f"unknown parameter {name!r}{did_you_mean(name, lesson.parameters)}"
            if name in PARAMETERS:
                what = f"{lesson.id} has no parameter {name!r}"
            raise ParameterError(what, f"Parameters here: {', '.join(lesson.parameters)}")


def _candidate_names(given: Mapping[str, Any]) -> list[str]:
    """Names to check. A kernel's history tells parameters from variables that later cells defined.

    Papermill puts its values into a cell that starts with "# Parameters"; the notebook's own cell is the
    one that annotates ``profile``. Only their latest versions count, so that a corrected typing error is
    forgotten. Without a history (a script, a test) every name counts.
    """
    history = given.get("In")
    if not isinstance(history, list) or not history:
        return list(given)
    own: list[str] = []
    injected: list[str] = []
    for source in filter(lambda text: isinstance(text, str) and ("profile" in text or "# Parameters" in text), history):
        try:
            body = ast.parse(source).body
        except SyntaxError:  # a cell with a magic is no parameters cell
            continue
        annotated = [n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        plain = [t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
        if source.lstrip().startswith("# Parameters"):
            injected = annotated + plain
        elif "profile" in annotated:
            own = annotated + plain
    return [name for name in dict.fromkeys(own + injected) if name in given]


def named_sources() -> tuple[str, ...]:
    """Sources of the tasks that are neither a Hub id nor a path, each once."""
    names = (name for task in tasks.TASKS.values() for name in task.built_in if "/" not in name)
    return tuple(dict.fromkeys(names))


def resolve_dataset(name: str, profile: str, task: str) -> str:
    """A source name, a Hub id or the absolute path of something that exists."""
    if name == "builtin":
        return tasks.TASKS[task].sources[profile]
    if name in named_sources():
        return name
    if kaggle.is_source(name):
        try:
            kaggle.parse(name)
        except DataError as error:
            raise ParameterError(f"dataset = {error.what}", error.cure) from None
        return name
    if path := _local_path(name):
        return str(path)
    if _looks_local(name) or name.lower().endswith(SUFFIXES):
        raise ParameterError(f"dataset = {name!r}: there is no such file or folder", _from_here())
    if not _HUB_ID.fullmatch(name):
        sources = ("builtin", *named_sources())
        what = f"dataset = {name!r} is neither a source name, a Hub id (owner/name) nor a file"
        raise ParameterError(what + did_you_mean(name, sources), f"Sources: {', '.join(sources)}")
    return name


def resolve_model(name: str, parameter: str = "model_id") -> str:
    """``tiny/...``, a Hub id or the absolute path of a folder that exists; `parameter` is what gave the name."""
    if name.startswith("tiny/"):
        return name
    if path := _local_path(name):
        return str(path)
    if _looks_local(name):
        raise ParameterError(f"{parameter} = {name!r}: there is no such folder", _from_here())
    return name


def _local_path(name: str) -> Path | None:
    """An existing file or folder, looked for from the current folder and from the repository."""
    path = Path(name).expanduser()
    for candidate in (path, repo_root() / path):
        if candidate.exists():
            return Path(os.path.abspath(candidate))
    return None


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or Path(name).is_absolute()


def is_remote(name: str | None) -> bool:
    """Whether a model or data set name has to be looked up on the Hub, or on Kaggle and is not attached here."""
    if name is None or name in named_sources() or name.startswith("tiny/"):
        return False
    if kaggle.is_source(name):
        return kaggle.attached(kaggle.parse(name)) is None
    return not Path(name).exists()


def resolve_run_name(
    name: str | None,
    profile: str,
    task: str,
    seed: int | None,
    changed: Mapping[str, Any] | None = None,
    content: str = "",
) -> str:
    """The given folder name, checked, or ``<profile>-<task>-seed<seed>`` and what differs from the defaults.

    Where a value is not written out in full, six digits at the end tell the run from others: a hash of all values, and
    of ``content``. So runs with other settings, or on other data, have other names.

    Args:
        changed: parameters given another value than the profile's.
        content: hash of the data's content, where it lies on this machine.
    """
    if name is None:
        parts = [profile] + ([task] if task != "none" else []) + ([f"seed{seed}"] if seed is not None else [])
        values = {key: str(value) for key, value in (changed or {}).items()}
        # Of a path or a Hub id the last part is telling enough.
        short = [f"{key}={value.rstrip('/').split('/')[-1]}" for key, value in values.items()]
        text = re.sub(r"[^A-Za-z0-9._+=,@-]+", "_", "-".join(parts + short))
        written_out = text == "-".join(parts + [f"{key}={value}" for key, value in values.items()])
        if written_out and not content and len(text) <= _LONGEST_NAME:
            return text
        mark = hashlib.sha256(json.dumps([parts, sorted(values.items()), content]).encode()).hexdigest()[:6]
        return f"{text[: _LONGEST_NAME - 7]}-{mark}"
    if not _RUN_NAME.fullmatch(name):
        cure = "Use letters, digits and . _ - only, at most 100, starting with a letter or digit"
        raise ParameterError(f"run_name = {name!r} is not a folder name", cure)
    return name


def _cure(row: Parameter, value: Any) -> str:
    """What to type instead of a value of the wrong type."""
    text = str(value).strip()
    if row.type is str:
        return f"Write {row.name} = {str(value)!r}; with papermill: -r {row.name} {value}"
    if row.type is bool:
        return f"Write {row.name} = {text.lower() not in ('0', '0.0', 'false', 'no', 'off')}"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        return f"Write a number from {_range(row)} without quotes, or None for the profile's default"
    typed = round(number) if row.type is int else number
    return f"Write {row.name} = {typed!r}" + (" without quotes" if isinstance(value, str) else "")


def _range(row: Parameter) -> str:
    return " to ".join(f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in (row.low, row.high))


def _from_here() -> str:
    return f"Paths are looked up from {Path.cwd()} and from the repository"


def check_lists(values: Mapping[str, Any]) -> None:
    """ParameterError for a list of values joined by + that is not one of what it should be."""
    for name, kind, what in (("ranks", int, "whole numbers from 1 on"), ("strengths", float, "numbers above 0")):
        if name not in values:
            continue
        try:
            found = [kind(text) for text in str(values[name]).split("+")]
        except ValueError:
            found = []
        if not found or found[0] <= 0 or any(a >= b for a, b in pairwise(found)) or not all(map(math.isfinite, found)):
            example = "1+8+64" if name == "ranks" else "0.001+0.01+0.1"
            raise ParameterError(f"{name} = {values[name]!r} is not a rising list of {what}", f"For example {example}")
    for penalty in str(values["penalties"]).split("+") if "penalties" in values else ():
        if penalty not in PENALTIES:
            what = f"penalties = {values['penalties']!r}: there is no penalty {penalty!r}"
            raise ParameterError(
                what + did_you_mean(penalty, PENALTIES), f"Allowed: {', '.join(PENALTIES)}, joined by +"
            )
    for model in str(values["plan_for"]).split("+") if "plan_for" in values else ():
        if model.upper() not in MODEL_SIZES and "/" not in model:
            what = f"plan_for = {values['plan_for']!r}: {model!r} is neither a size nor the id of a model"
            raise ParameterError(what, f"Sizes: {', '.join(MODEL_SIZES)}; joined by +")
