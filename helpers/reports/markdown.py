"""Markdown tables of recorded runs, for README.md and the notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from helpers import tasks
from helpers.config.lessons import LESSONS, Lesson
from helpers.config.profiles import PROFILES
from helpers.evaluation.metrics import METRICS
from helpers.reports.results import MAIN
from helpers.runs.display import duration, markdown_table, peak_memory, system_rows, test_row
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
        row = {"profile": f"`{profile}`", "model": _model(spec, used, profile), "data": _data(spec, used)}
        row["peak memory"] = peak_memory(record.info) if record else MISSING.get(profile, NOT_YET)
        rows.append(row | {"time": duration(record.info["wall_time_s"]) if record else "–"})
    return markdown_table(rows)


def readme_block(found: Records, folder: str) -> str:
    """README's results: systems with intervals and paired tests of profile cpu, then time and memory of all.

    Args:
        folder: where the records lie, relative to README.
    """
    cpu = [found["cpu", n] for n, spec in LESSONS.items() if ("cpu", n) in found and not spec.reads_runs]
    parts = [_machine(cpu), _systems(cpu, folder)] if cpu else ["No `cpu` run is recorded yet."]
    if any(record.tests for record in cpu):
        parts += ["Paired tests on the same examples:", _tests(cpu)]
    if figures := [link for record in cpu for link in _figures(record, folder)]:
        parts += [f"Figures: {', '.join(figures)}."]
    return "\n\n".join([*parts, "Time and peak memory of each recorded run:", _costs(found)])


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
        machine = f"Profile `cpu`, recorded on {hardware['device_name']}, {hardware['cpu_count']} cores"
        known = commits.setdefault(f"{machine}, {hardware['ram_gb']:.0f} GB RAM; {packages}", [])
        if git := record.info.get("git"):
            known.append(f"`{git['commit'][:7]}`" + (" and changes" if git.get("changed") else ""))
    lines = [f"{m}{'; commit ' if known else ''}{', '.join(dict.fromkeys(known))}." for m, known in commits.items()]
    return "\n\n".join(lines) + " Each value with its 95 % interval."


def _systems(runs: Sequence[RunRecord], folder: str) -> str:
    present = {metric for record in runs for row in record.systems.values() for metric in row}
    chosen = [metric for metric in MAIN[:COLUMNS] if metric in present]
    rows = []
    for record in runs:
        place = f"{folder}/{record.info['settings']['profile']}/{record.notebook}"
        for row, values in zip(system_rows(record.systems, chosen), record.systems.values(), strict=True):
            if sizes := sorted({values[metric]["n"] for metric in chosen if metric in values}):
                labelled = {_LABELS.get(name, name): cell for name, cell in row.items()}
                examples = {"examples": " / ".join(map(str, sizes))}
                rows.append({"lesson": f"[{record.number}]({place})"} | labelled | examples)
    return markdown_table(rows) if rows else ""


def _tests(runs: Sequence[RunRecord]) -> str:
    return markdown_table([
        {"lesson": record.number} | test_row(test) | {"metric": _LABELS.get(test["metric"], test["metric"])}
        for record in runs
        for test in sorted(record.tests, key=lambda row: METRICS.index(row["metric"]))
    ])  # fmt: skip


def _costs(found: Records) -> str:
    rows = []
    for name, spec in LESSONS.items():
        row = {"lesson": f"{name.split('_')[0]} · {spec.title}"}
        for profile in PROFILES:
            record = found.get((profile, name))
            took = f"{duration(record.info['wall_time_s'])}, {peak_memory(record.info)}" if record else ""
            row[f"`{profile}`"] = took or MISSING.get(profile, NOT_YET)
        rows.append(row)
    return markdown_table(rows)


def _figures(record: RunRecord, folder: str) -> list[str]:
    pictures = sorted((record.folder / "figures").glob("*.png"))
    place = f"{folder}/{record.info['settings']['profile']}/{record.notebook}/figures"
    return [f"[{record.number} {p.stem.replace('_', ' ')}]({place}/{p.name})" for p in pictures]
