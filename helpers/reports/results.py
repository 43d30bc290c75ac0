"""All runs side by side: tables for the terminal, a page for ``outputs/``, Markdown for README.md and the notebooks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from helpers import tasks
from helpers.config.lessons import LESSONS, Lesson
from helpers.config.profiles import PROFILES
from helpers.evaluation.metrics import METRICS
from helpers.reports.documents import write_page
from helpers.runs.display import (
    Row,
    computed_in,
    duration,
    markdown_table,
    peak_memory,
    system_rows,
    test_row,
    text_table,
)  # fmt: skip
from helpers.runs.records import FINISHED, RunRecord, read_runs

# Columns of the terminal's table: the first three of these that any run has; of README's: a few more.
MAIN = (
    "perplexity", "rougeL", "accuracy", "slot_accuracy", "harmonic_mean", "cosine", "macro_f1", "bleu", "valid_rate",
)  # fmt: skip
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
# What a run's section links to, where it is there.
FILES = {
    "notebook.html": "the notebook", "notebook.ipynb": "as .ipynb", "predictions.jsonl": "predictions",
    "history.csv": "history", "metrics.json": "metrics.json", "run.json": "run.json",
}  # fmt: skip


def results_rows(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """One row a run and system, all metrics, JSON-ready; a run without metrics has one with system None."""
    rows: list[dict[str, Any]] = []
    for record in records:
        base: dict[str, Any] = {"notebook": record.notebook, "run": record.run_name, "status": record.status}
        base |= {key: record.info.get(key) for key in ("error", "wall_time_s", "peak_rss_gb", "peak_cuda_gb")}
        hardware = record.info.get("hardware", {})
        base |= {key: hardware.get(key) for key in ("device", "dtype", "cpu_isa", "torch_threads")}
        base["folder"] = str(record.folder)
        systems: list[tuple[str | None, Any]] = [*record.systems.items()] or [(None, {})]
        rows += [base | {"system": name, "metrics": values} for name, values in systems]
    return rows


def results_table(records: Sequence[RunRecord], metrics: Sequence[str] | None = None, width: int = 110) -> str:
    """One row a run and system with the main metrics and their intervals, at most ``width`` columns."""
    if not records:
        return "no runs yet"
    present = {m for record in records for row in record.systems.values() for m in row}
    chosen = list(metrics or [m for m in MAIN if m in present][:3])
    table: list[Row] = []
    for record in records:
        note = "" if record.status == FINISHED else f"({record.status})"
        rows = system_rows(record.systems, chosen)
        if not rows or note:
            rows.insert(0, {"system": note or "(no metrics)"} | dict.fromkeys(chosen, ""))
        # The run is named once, in its first row.
        table += [{"nb": "", "run": ""} | row for row in rows]
        table[-len(rows)] |= {"nb": record.number, "run": record.run_name}
    sizes = _sizes(table)
    if sum(sizes.values()) + 2 * (len(sizes) - 1) > width:
        apart = _without_the_same(records)
        table = [row | {"run": apart.get((row["nb"], row["run"]), "")} for row in table]
        sizes = _sizes(table)
    # Names give way first, the longer of the two columns before the other.
    while sum(sizes.values()) + 2 * (len(sizes) - 1) > width and max(sizes["run"], sizes["system"]) > 10:
        sizes["run" if sizes["run"] >= sizes["system"] else "system"] -= 1
    text = text_table([{name: _short(cell, sizes[name]) for name, cell in row.items()} for row in table])
    return "\n".join(line[:width] for line in text.splitlines())


def _sizes(table: Sequence[Row]) -> dict[str, int]:
    """Column → its width in characters."""
    return {name: max(len(row[name]) for row in (*table, dict.fromkeys(table[0], name))) for name in table[0]}


def _without_the_same(records: Iterable[RunRecord]) -> dict[tuple[str, str], str]:
    """(Lesson, run) → the run's name without the words at its start that all runs of the lesson share."""
    lessons: dict[str, list[str]] = {}
    for record in records:
        lessons.setdefault(record.number, []).append(record.run_name)
    found: dict[tuple[str, str], str] = {}
    for number, names in lessons.items():
        words = os.path.commonprefix([name.split("-") for name in names]) if len(set(names)) > 1 else []
        start = len("-".join([*words, ""]))  # with the dash behind them
        found |= {(number, name): f"…{name[start:]}" if words and len(name) > start else name for name in names}
    return found


def gains_table(records: Iterable[RunRecord]) -> str:
    """What tuning changed in each run: difference to zero-shot with interval and p, and how many answers turned.

    "" when no run compared itself with zero-shot. The counts are fixed / broken / wrong both times.
    """
    from helpers.evaluation.failures import OUTCOMES

    rows = []
    for record in records:
        counted = record.notes.get("outcomes", {})
        turned = " / ".join(str(counted[name]) for name in OUTCOMES[:3] if counted)
        for test in record.tests:
            if test["b"] == "zero-shot" and test["metric"] in MAIN[:5]:
                row = {"nb": record.number, "run": _short(record.run_name, 30)} | test_row(test)
                row["fixed / broken / both wrong"] = turned if test["metric"] == "accuracy" else ""
                rows.append({name: cell for name, cell in row.items() if name != "test"})
    return text_table(rows) if rows else ""


def formats_lines(records: Iterable[RunRecord]) -> str:
    """What runs computed in, a line for each kind: "bfloat16, AVX512-BF16, 2 threads: 02, 04". "" without runs."""
    kinds: dict[str, list[str]] = {}
    for record in records:
        kinds.setdefault(_computed(record), []).append(record.number)
    return "\n".join(f"computed in {kind}: {', '.join(dict.fromkeys(runs))}" for kind, runs in kinds.items())


def write_html(output_dir: Path | str) -> Path:
    """Regenerate ``output_dir/index.html`` from the records in it; links are relative.

    Raises:
        RunError: the page cannot be written.
    """
    root = Path(output_dir)

    def link(path: Path) -> str:
        return quote(path.relative_to(root).as_posix())

    tools = {"link": link, "test_row": test_row, "duration": duration, "peak_memory": peak_memory}
    tools |= {"computed_in": computed_in}
    page = {"runs": read_runs(root), "files": FILES, "system_rows": system_rows}
    return write_page(root / "index.html", "results.html", tools, **page)


def _short(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return text[: size - 1 - tail] + "…" + (text[-tail:] if tail else "")


def notebook_block(notebook: str, found: Records) -> str:
    """A notebook's table profile | model | data | peak memory | time | computed in; only what records say."""
    spec = LESSONS[notebook]
    rows = []
    for profile in PROFILES:
        record = found.get((profile, notebook))
        used = record.info["settings"] if record else _planned(profile, spec)
        row = {"profile": f"`{profile}`", "model": _model(spec, used, profile), "data": _data(spec, used)}
        row["peak memory"] = peak_memory(record.info) if record else MISSING.get(profile, NOT_YET)
        row["time"] = duration(record.info["wall_time_s"]) if record else "–"
        rows.append(row | {"computed in": _computed(record) if record else "–"})
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
    used = {}
    for profile in dict.fromkeys(profile for profile, _ in found):
        kinds = dict.fromkeys(_computed(record) for (name, _), record in found.items() if name == profile)
        used[f"`{profile}`"] = " / ".join(kinds)
    told = "; ".join(f"{profile} in {kinds}" for profile, kinds in used.items())
    parts.append(f"Time and peak memory of each recorded run{f' ({told})' if told else ''}:")
    return "\n\n".join([*parts, _costs(found), *_other_formats(found)])


def _other_formats(found: Records) -> list[str]:
    """Records in another number format beside those of the same profile: a sentence and a table of what differs."""
    rows, times, same = [], [], 0
    for (kept, name), record in found.items():
        usual = found.get((record.info["settings"]["profile"], name))
        if kept in PROFILES or usual is None:
            continue
        pair = (usual, record)
        heads = [_computed(each) for each in pair]
        took = " and ".join(f"{duration(r.info['wall_time_s'])} in {h}" for r, h in zip(pair, heads, strict=True))
        times.append(f"lesson {record.number} took {took}")
        for system, metric in ((s, m) for s in record.systems for m in MAIN if m in record.systems[s]):
            if system in usual.systems and metric in usual.systems[system]:
                cells = [system_rows({system: r.systems[system]}, [metric])[0][metric] for r in pair]
                row = {"lesson": record.number, "system": system, "metric": _LABELS.get(metric, metric)}
                if cells[0] == cells[1]:
                    same += 1
                else:
                    rows.append(row | dict(zip(heads, cells, strict=True)))
    told = f"The same settings and seed in another number format ({'; '.join(times)}). "
    told += f"{same} of {same + len(rows)} values are the same, the others are:"
    return [told, markdown_table(rows)] if rows else []


def _computed(record: RunRecord) -> str:
    return computed_in(record.info.get("hardware", {}))


def _planned(profile: str, spec: Lesson) -> dict[str, Any]:
    """What a run of this profile would use, by its defaults."""
    values = spec.defaults(profile)
    own = spec.tasks and values.get("dataset") == "builtin"
    return values | ({"dataset": tasks.get(spec.tasks[0]).sources[profile]} if own else {})


def _model(spec: Lesson, used: Mapping[str, Any], profile: str) -> str:
    if spec.reads_runs:
        return "none"
    # Lesson 00 has no parameter for it: it loads the profile's model.
    name = used.get("model_id") or PROFILES[profile].language_model
    quant = used.get("quant") if "quant" in spec.parameters else None
    return f"`{name}`" + _STORAGE.get(str(quant).split("-")[0], "")


def _data(spec: Lesson, used: Mapping[str, Any]) -> str:
    if not spec.tasks:
        return spec.data or "none"
    return f"{used['dataset']}, {used['n_train']:,} train, {used['n_eval']:,} test"


def _machine(runs: Sequence[RunRecord]) -> str:
    """One sentence a machine: what it is, versions, commits."""
    commits: dict[str, list[str]] = {}
    for record in runs:
        hardware, versions = record.info["hardware"], record.info["versions"]
        packages = ", ".join(f"{name} {versions[name].partition('+')[0]}" for name in _PACKAGES if name in versions)
        machine = f"Profile `cpu`, recorded on {hardware['device_name']}, {hardware['cpu_count']} cores"
        machine += f", {hardware['ram_gb']:.0f} GB RAM; computed in {_computed(record)}"
        known = commits.setdefault(f"{machine}; {packages}", [])
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
