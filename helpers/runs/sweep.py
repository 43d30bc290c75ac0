"""Sweeps: a run for each combination of some parameters' values, planned, and taken up where an earlier one ended.

The runs are ordinary ones under their ordinary names, in which everything stands that is not a lesson's default. So a
run that was made before, by the same command or by hand, is found again, and lesson 09 compares them like any others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helpers.config.checks import check_value
from helpers.config.parameters import PARAMETERS, Settings
from helpers.config.settings import NOT_COMPARED, resolve
from helpers.errors import ParameterError, RunError
from helpers.machine import hardware
from helpers.runs import headless
from helpers.runs.folder import has_results, refuse_changed
from helpers.runs.headless import Job, parse_value
from helpers.runs.records import FAILED, FINISHED, INTERRUPTED, RUNNING, RunRecord, is_alive, read_run

# Parameters that are lists themselves: values with commas in them, or what one run goes through by itself.
LISTS = frozenset({"columns", "labels", "adapters", "ranks", "penalties", "strengths"})


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        varied: swept parameter → its value here.
        settings: all that the run will use.
        before: what lies in its folder already, ``None`` where there is nothing.
    """

    job: Job
    varied: Mapping[str, Any]
    settings: Settings
    before: RunRecord | None = None

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        return self.job.output_dir / self.settings.notebook / str(self.settings.run_name)

    @property
    def name(self) -> str:
        """ "lora_r=4 seed=0" """
        return named(self.varied)

    @property
    def kept(self) -> bool:
        """It has finished before, so it does not run."""
        return self.before is not None and self.before.status == FINISHED

    @property
    def resumed(self) -> bool:
        """It goes on where it was interrupted."""
        return not self.kept and bool(self.job.parameters.get("resume")) and self.before is not None


@dataclass(frozen=True)
class Sweep:
    """What a command asks for.

    Attributes:
        swept: parameter → its values.
        fixed: parameters that all runs share.
        members: the runs, in order of their values.
        readers: lessons that read the runs of others; they run once, when all have ended.
    """

    swept: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any]
    members: Sequence[Member]
    readers: Sequence[Job]

    @property
    def pending(self) -> list[Member]:
        """The runs that are still to be made."""
        return [member for member in self.members if not member.kept]


def named(varied: Mapping[str, Any]) -> str:
    """Parameters and values in one text: "lora_r=4 seed=0"."""
    return " ".join(f"{name}={f'{v:g}' if isinstance(v, float) else v}" for name, v in varied.items())


def parse(given: Sequence[str]) -> dict[str, list[Any]]:
    """Parameter → values of what was typed as NAME=VALUE,VALUE, each of the parameter's type.

    Raises:
        ParameterError: not of this form, a parameter or a value that stands twice, a value of the wrong type or out of
            range, a parameter that is a list itself or that makes no run differ from another.
    """
    found: dict[str, list[Any]] = {}
    for text in given:
        name, sign, rest = text.partition("=")
        if not sign or not re.fullmatch(r"\w+", name):
            raise ParameterError(f"--sweep {text!r} is not a name and values", "Write --sweep NAME=VALUE,VALUE")
        if name in found:
            raise ParameterError(f"--sweep names {name} twice", f"Give all its values at once: --sweep {name}=A,B,C")
        _check_name(name)
        parts = [part.strip() for part in rest.split(",")]
        if "" in parts:
            raise ParameterError(f"--sweep {text!r} lacks a value", "Write --sweep NAME=VALUE,VALUE without spaces")
        values = [_value(name, part) for part in parts]
        if twice := [part for i, part in enumerate(parts) if values[i] in values[:i]]:
            raise ParameterError(f"--sweep {text!r} has the value {twice[0]} twice", "Give each value once")
        found[name] = values
    return found


def _check_name(name: str) -> None:
    if name in LISTS:
        what = f"{name} is a list itself, so its values cannot be told apart by commas"
        raise ParameterError(what, f"Give one list with -p {name} VALUE; a command for each compares several")
    if name in NOT_COMPARED and name in PARAMETERS:
        raise ParameterError(f"{name} cannot be swept: it changes no result", "Sweep what a run's numbers depend on")


def _value(name: str, text: str) -> Any:
    value = parse_value(name, text)
    return value if value is None or name not in PARAMETERS else check_value(PARAMETERS[name], value)


def plan(
    names: Sequence[str],
    fixed: Mapping[str, Any],
    swept: Mapping[str, Sequence[Any]],
    *,
    profile: str | None = None,
    output_dir: Path | None = None,
    cell_timeout: int | None = None,
    notebooks_dir: Path | None = None,
) -> Sweep:
    """Every lesson of ``names`` with every combination of the swept values; nothing is started.

    A run that has finished is kept. One that was interrupted is resumed where its lesson can, any other starts from
    the beginning.

    Args:
        fixed: parameters of all runs; the others are as in ``headless.plan``.

    Raises:
        ParameterError: what ``headless.plan`` and ``settings.resolve`` refuse; a parameter that is both fixed and
            swept, or that one of the lessons has not got; two combinations that are one run.
        RunError: one of the runs is being written by another process, or has results of other settings or data.
    """
    fixed = dict(fixed) | ({"profile": profile} if profile else {})
    if both := [name for name in swept if name in fixed]:
        raise ParameterError(f"{both[0]} is swept and has a fixed value too", "Leave one of the two out")
    if fixed.get("run_name"):
        raise ParameterError("run_name is given, and the runs of a sweep have names of their own", "Leave run_name out")
    options: dict[str, Any] = {"output_dir": output_dir, "cell_timeout": cell_timeout, "notebooks_dir": notebooks_dir}
    combinations = [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    whole = headless.plan(names, fixed | combinations[0], **options)
    lessons = [job.spec for job in whole if not job.spec.reads_runs]
    if not lessons:
        raise ParameterError(f"{whole[0].spec.id} reads the runs of other lessons", "Name a lesson that is to be swept")
    for name, lesson in itertools.product(swept, lessons):
        if name not in lesson.parameters:
            what = f"{lesson.id} has no parameter {name!r}, and every lesson of a sweep needs it"
            raise ParameterError(what, f"Parameters there: {', '.join(lesson.parameters)}")
    machine = hardware.probe()
    members: dict[tuple[str, str], Member] = {}
    for lesson, varied in itertools.product(lessons, combinations):
        (job,) = headless.plan([lesson.id], fixed | varied, **options)
        member = Member(job, varied, resolve(lesson.id, job.parameters, machine))
        _check_used(member)
        at = (lesson.id, str(member.settings.run_name))
        if at in members:
            what = f"{members[at].name} and {member.name} are the same run of {lesson.id}, {at[1]}"
            raise ParameterError(what, "Leave one of the two out")
        members[at] = _looked_up(member)
    own = {"profile", "output_dir"}  # a lesson that reads runs has no use for what those it reads are made with
    readers = [replace(job, parameters=_only(job.parameters, own | set(fixed))) for job in whole if job.spec.reads_runs]
    return Sweep(swept, fixed, list(members.values()), readers)


def _check_used(member: Member) -> None:
    """ParameterError where a run would use another number than the one that tells it from the others."""
    used = member.settings.as_dict()
    for name, value in member.varied.items():
        if isinstance(value, (int, float)) and used[name] != value:
            why = member.settings.origins.get(name, "other settings")
            raise ParameterError(f"{name} = {value} would be {used[name]} ({why})", "Leave it out of the sweep")


def _only(parameters: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in names}


def _looked_up(member: Member) -> Member:
    """The member with what lies in its folder, and its job made to go on with it or to begin."""
    settings, job = member.settings, replace(member.job, label=f"{member.job.spec.id[:2]} {member.name}")
    if not (member.folder / "run.json").is_file():
        return replace(member, job=job)
    before = read_run(member.folder)
    if before.status == RUNNING:
        process = before.info.get("process", {})
        if is_alive(process):
            what = f"run {settings.run_name!r} is still being written by process {process.get('pid')}"
            raise RunError(what, "Wait for it, or stop that process")
        before = replace(before, status=INTERRUPTED)  # of a machine that is gone
    if before.status not in (FINISHED, FAILED) and "resume" in job.spec.parameters:
        job = replace(job, parameters=job.parameters | {"resume": True})
    member = replace(member, job=job, before=before)
    if member.kept or member.resumed or has_results(member.folder):
        why = "cannot be resumed" if member.resumed else "has results, which are not replaced"
        refuse_changed(settings, before.info.get("settings", {}), why)
    return member
