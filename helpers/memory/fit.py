"""Does a lesson fit on this machine? If not: what is the cheapest change?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from helpers.config.lessons import LESSONS, find_lesson
from helpers.config.settings import resolve
from helpers.errors import HardwareError, ParameterError
from helpers.hints import did_you_mean
from helpers.memory.jobs import Job
from helpers.memory.lessons import PARAMETER, lesson_jobs
from helpers.memory.planner import CLOSE, FITS, GB, MARGIN, TOO_LARGE, Plan, judged, plan
from helpers.memory.search import FIELDS, cheapest
from helpers.models.families import FAMILIES
from helpers.models.skeletons import configuration


@dataclass(frozen=True)
class Fit:
    """The plans of a lesson's jobs, and what there is for them.

    Attributes:
        plans: "training", "answers" -> plan.
        available: bytes that can be used here.
        where: "free on Tesla T4": what has them.
        change: parameter -> value that makes all of them fit with a margin; empty when they do, ``None`` when nothing
            helps.
    """

    plans: dict[str, Plan]
    available: float
    where: str
    change: dict[str, Any] | None

    @property
    def verdict(self) -> str:
        """Of the largest plan: "fits", "close" (it should run, with less than ``MARGIN`` to spare), "does not fit"."""
        return judged(self.largest.total, self.available) if self.plans else FITS

    @property
    def fits(self) -> bool:
        return self.verdict == FITS

    @property
    def largest(self) -> Plan:
        return max(self.plans.values(), key=lambda p: p.total)

    @property
    def keeps_weights(self) -> bool | None:
        """Whether 4-bit weights may stay dequantised while it trains, for ``training.faster_on_cpu``.

        None: nothing was planned.
        """
        return next((p.job.kept_weights for p in self.plans.values()), None)

    @property
    def advice(self) -> str:
        """What to change when memory runs out anyway: the next cheaper step, not planned through."""
        if not self.plans:
            return ""
        job = next(iter(self.plans.values())).job
        if job.batch_size > 1:
            return assignments({"batch_size": job.batch_size // 2, "grad_accumulation": 2 * job.accumulation})
        if not job.checkpointing and job.method == "lora":
            return assignments({"gradient_checkpointing": True})
        return "use a smaller model_id, or shorter texts"

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {p.total / GB:.1f} GB" for name, p in self.plans.items())
        line = f"planned peak: {parts}; {self.available / GB:.1f} GB are {self.where}: {self.verdict}"
        if self.verdict != CLOSE:
            return line
        line += f", a plan can be {MARGIN:.0%} too low"
        return line if not self.change else f"{line}. To be safe set {assignments(self.change)}"

    def require(self) -> None:
        """Stop where it does not fit; what is close is tried.

        Raises:
            HardwareError: says by how much, and the cheapest change.
        """
        if self.verdict != TOO_LARGE:
            return
        name, worst = next((n, p) for n, p in self.plans.items() if p is self.largest)
        row = max(worst.rows(), key=lambda r: r["GB"])
        what = (
            f"{name} would take {worst.total / GB:.1f} GB, {row['GB']:.1f} of them {row['part']}, and "
            f"{self.available / GB:.1f} GB are {self.where}"
        )
        cure = "Use a smaller model_id" if self.change is None else f"Set {assignments(self.change)}"
        raise HardwareError(what, f"{cure}; check_memory = False runs it anyway")


def assignments(values: dict[str, Any]) -> str:
    """ "batch_size = 8, grad_accumulation = 2" """
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())


def available(machine: Any) -> tuple[float, str]:
    """(bytes that can be used here, what has them); ``machine.free.refreshed`` looks what is free now."""
    if machine.device != "cuda":
        return machine.ram_free_gb * GB, "free in this machine's RAM"
    if machine.gpu_free_gb is None:
        return machine.gpu_memory_gb * GB, f"on {machine.device_name} in all (what is free cannot be read)"
    return machine.gpu_free_gb * GB, f"free on {machine.device_name}"


def check(
    settings: Any,
    machine: Any,
    prompt: int | None = None,
    completion: int | None = None,
    examples: int | None = None,
) -> Fit:
    """Plan a lesson with these settings on this machine; a search where it does not fit. See ``lesson_jobs``.

    Only what the lesson has a parameter for is changed.
    """
    jobs, names = _lesson(settings, machine, prompt, completion, examples)
    return fit_jobs(jobs, *available(machine), names)


def _lesson(settings: Any, machine: Any, *lengths: int | None) -> tuple[dict[str, Job], dict[str, str]]:
    if settings.dtype != "auto":
        machine = dataclasses.replace(machine, dtype=settings.dtype)
    jobs = lesson_jobs(settings, machine, *lengths)
    lesson = LESSONS[settings.notebook]
    names = {field: name for field, name in PARAMETER.items() if name in lesson.parameters}
    assert lesson.memory is not None  # lesson_jobs has refused the others
    if lesson.memory.batch_is_fixed:
        names.pop("batch_size")
    return jobs, names


def check_named(what: str, profile: str, given: Mapping[str, Any], machine: Any) -> Fit:
    """``check`` of ``jobs_named``."""
    jobs, names = jobs_named(what, profile, given, machine)
    return fit_jobs(jobs, *available(machine), names)


def jobs_named(
    what: str, profile: str, given: Mapping[str, Any], machine: Any
) -> tuple[dict[str, Job], dict[str, str]]:
    """The jobs of a lesson by its number or name, or a job on the model of this id; the first decides.

    Args:
        given: the lesson's parameters, or fields of ``Job``.

    Returns:
        The jobs, and field of a job that may change -> what the reader calls it.

    Raises:
        ParameterError: an unknown name or a value out of range.
        ModelError: neither a lesson nor a model.
    """
    try:
        spec = find_lesson(what)
    except ParameterError:
        spec = None
    if spec is not None and spec.memory is not None:
        # Planning for a GPU that is not here is the point, so the profile is not refused.
        return _lesson(resolve(spec.id, {"profile": profile, **given}, machine), machine)
    if spec is not None:
        raise ParameterError(
            f"{spec.id} trains nothing",
            f"Lessons that do: {', '.join(name for name, row in LESSONS.items() if row.memory)}",
        )
    fields = [field.name for field in dataclasses.fields(Job) if field.name != "model"]
    for name in given:
        if name not in fields:
            raise ParameterError(
                f"a job has no field {name!r}{did_you_mean(name, fields)}", f"Fields: {', '.join(fields)}"
            )
    own = {"dtype": machine.dtype, "device": machine.device, "capability": machine.capability or (7, 5)}
    kind = configuration(what).model_type
    if kind in FAMILIES:
        own["step"] = "vision"
    elif kind == "clip":
        own |= {"step": "contrast", "method": "soft", "quant": "none"}
    job = Job(**{"model": what, **own, **given})
    return {"training" if job.trains else "answers": job}, {f: f for f in FIELDS}


def fit_jobs(jobs: dict[str, Job], size: float, where: str, names: Mapping[str, str]) -> Fit:
    """Plan jobs, and look for the cheapest change where one does not fit.

    Args:
        jobs: the first decides; rows in a batch of the others are a multiple of its rows.
        names: field of a job that may change -> what the reader calls it.
    """
    plans = {name: plan(job) for name, job in jobs.items()}
    for name, job in jobs.items():
        if job.kept_weights and not plans[name].fits(size):  # only slower without them
            jobs = jobs | {name: job.but(kept_weights=False)}
            plans[name] = plan(jobs[name])
    if all(p.fits(size) for p in plans.values()):
        return Fit(plans, size, where, {})
    first = next(iter(jobs))
    changed = jobs[first]
    if not plans[first].fits(size):
        found = cheapest(changed, size, allowed=names)
        if found is None:
            return Fit(plans, size, where, None)
        changed = found.job
    for name in list(jobs)[1:]:
        rows = _answering(jobs[name], jobs[first], changed, size, names)
        if not rows:
            return Fit(plans, size, where, None)
        if rows < changed.batch_size:
            passes = -(-changed.batch_size * changed.accumulation // rows)
            changed = changed.but(batch_size=rows, accumulation=passes if "accumulation" in names else 1)
    before = jobs[first]
    change = {
        name: getattr(changed, field)
        for field, name in names.items()
        if field in FIELDS and getattr(changed, field) != getattr(before, field)
    }
    return Fit(plans, size, where, change)


def _answering(answers: Job, before: Job, changed: Job, size: float, names: Mapping[str, str]) -> int:
    """Rows of a training pass with which the answers fit too, given what was changed for the training; 0: none."""
    wide = max(1, answers.batch_size // before.batch_size)
    # Rows are cut to the training's length, those with worked examples in front are not.
    length = min(answers.length, changed.length) if answers.length <= before.length else answers.length
    answers = answers.but(
        quant=changed.quant, pixels=changed.pixels, batch_size=wide * changed.batch_size, length=length
    )
    fewer = cheapest(answers, size, allowed={"batch_size"} & set(names))
    return 0 if fewer is None else min(changed.batch_size, fewer.job.batch_size // wide)
