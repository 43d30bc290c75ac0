"""Markdown tables of recorded runs, for README.md and the notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from helpers import tasks
from helpers.config.lessons import LESSONS, Lesson
from helpers.config.profiles import PROFILES
from helpers.evaluation.metrics import METRICS
from helpers.reports.results import MAIN
from helpers.runs.display import duration, interval, peak_memory, test_cells
from helpers.runs.records import RunRecord

COLUMNS = 6  # the first of MAIN stand in README's table; metrics.json has them all
MISSING = {"full": "not yet measured on a GPU"}
NOT_YET = "not yet recorded"
_LABELS = {
    "rougeL": "ROUGE-L", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "bleu": "BLEU", "macro_f1": "macro F1",
    "slot_accuracy": "slot accuracy", "harmonic_mean": "harmonic mean", "auc": "AUC", "clip_score": "CLIPScore",
}  # fmt: skip
_STORAGE = {"nf4": ", 4-bit", "int8": ", 8-bit"}
# Named in README beside the numbers, because they move them.
_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")

Records = Mapping[tuple[str, str], RunRecord]  # (profile, notebook id) → its record


def notebook_block(notebook: str, found: Records) -> str:
    """A notebook's table profile | model | data | peak memory | time; numbers only from records."""
    spec = LESSONS[notebook]
    rows = []
    for profile in PROFILES:
        record = found.get((profile, notebook))
        used = record.info["settings"] if record else _planned(profile, spec)
        cells = [f"`{profile}`", _model(spec, used, profile), _data(spec, used)]
        if record:
            cells += [peak_memory(record.info), duration(record.info["wall_time_s"])]
        else:
            cells += [MISSING.get(profile, NOT_YET), "–"]
        rows.append(cells)
    return markdown(("profile", "model", "data", "peak memory", "time"), rows)


def readme_block(found: Records, folder: str) -> str:
    """README's results: systems with intervals and paired tests of profile cpu, then time and memory of all.

    Args:
        folder: where the records lie, relative to README.
    """
    cpu = [found["cpu", n] for n, spec in LESSONS.items() if ("cpu", n) in found and not spec.reads_runs]
    parts = []
    if cpu:
        parts += [_machine(cpu), _systems(cpu, folder)]
        if any(record.tests for record in cpu):
            parts += ["Paired tests on the same examples:", _tests(cpu)]
        figures = [link for record in cpu for link in _figures(record, folder)]
        parts += [f"Figures: {', '.join(figures)}."] if figures else []
    else:
        parts.append("No `cpu` run is recorded yet.")
    parts += ["Time and peak memory of each recorded run:", _costs(found)]
    return "\n\n".join(parts)


def markdown(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table; bars inside cells are escaped."""
    names = list(head)
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (names, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(names), *lines[1:]])


def _planned(profile: str, spec: Lesson) -> dict[str, Any]:
    """What a run of this profile would use, by its defaults."""
    values = spec.defaults(profile)
    return values | ({"dataset": tasks.get(spec.tasks[0]).sources[profile]} if spec.tasks else {})


def _model(spec: Lesson, used: Mapping[str, Any], profile: str) -> str:
    if spec.reads_runs:
        return "none"
    # Lesson 00 has no parameter for it: it loads the profile's model.
    name = used.get("model_id") or PROFILES[profile].language_model
    quant = used.get("quant") if "quant" in spec.parameters else None
    return f"`{name}`" + _STORAGE.get(str(quant).split("-")[0], "")


def _data(spec: Lesson, used: Mapping[str, Any]) -> str:
    if not spec.tasks:
        return "the runs of the other lessons" if spec.reads_runs else "none"
    return f"{used['dataset']}, {used['n_train']:,} train, {used['n_eval']:,} test"


def _machine(runs: Sequence[RunRecord]) -> str:
    """One sentence a machine: what it is, versions, commits."""
    commits: dict[str, list[str]] = {}
    for record in runs:
        hardware, versions = record.info["hardware"], record.info["versions"]
        packages = ", ".join(f"{name} {versions[name].partition('+')[0]}" for name in _PACKAGES if name in versions)
        machine = (
            f"Profile `cpu`, recorded on {hardware['device_name']}, {hardware['cpu_count']} cores, "
            f"{hardware['ram_gb']:.0f} GB RAM; {packages}"
        )
        known = commits.setdefault(machine, [])
        if git := record.info.get("git"):
            known.append(f"`{git['commit'][:7]}`" + (" and changes" if git.get("changed") else ""))
    lines = [
        f"{machine}{'; commit ' if known else ''}{', '.join(dict.fromkeys(known))}."
        for machine, known in commits.items()
    ]
    return "\n\n".join(lines) + " Each value with its 95 % interval."


def _systems(runs: Sequence[RunRecord], folder: str) -> str:
    present = {metric for record in runs for row in record.systems.values() for metric in row}
    chosen = [metric for metric in MAIN[:COLUMNS] if metric in present]
    rows = []
    for record in runs:
        for name, values in record.systems.items():
            sizes = sorted({values[metric]["n"] for metric in chosen if metric in values})
            if sizes:
                cells = [interval(values.get(metric), metric) for metric in chosen]
                rows.append([_link(record, folder), name, *cells, " / ".join(map(str, sizes))])
    return markdown(("lesson", "system", *(_LABELS.get(m, m) for m in chosen), "examples"), rows)


def _tests(runs: Sequence[RunRecord]) -> str:
    rows = []
    for record in runs:
        for test in sorted(record.tests, key=lambda row: METRICS.index(row["metric"])):
            cells = test_cells(test) | {"metric": _LABELS.get(test["metric"], test["metric"])}
            rows.append([record.number, *cells.values()])
    return markdown(("lesson", "comparison", "metric", "difference", "p", "test"), rows)


def _costs(found: Records) -> str:
    rows = []
    for name, spec in LESSONS.items():
        cells = []
        for profile in PROFILES:
            record = found.get((profile, name))
            took = f"{duration(record.info['wall_time_s'])}, {peak_memory(record.info)}" if record else ""
            cells.append(took or MISSING.get(profile, NOT_YET))
        rows.append([f"{name.split('_')[0]} · {spec.title}", *cells])
    return markdown(("lesson", *(f"`{profile}`" for profile in PROFILES)), rows)


def _figures(record: RunRecord, folder: str) -> list[str]:
    pictures = sorted((record.folder / "figures").glob("*.png"))
    place = f"{folder}/{record.info['settings']['profile']}/{record.notebook}/figures"
    return [f"[{record.number} {p.stem.replace('_', ' ')}]({place}/{p.name})" for p in pictures]


def _link(record: RunRecord, folder: str) -> str:
    return f"[{record.number}]({folder}/{record.info['settings']['profile']}/{record.notebook})"
