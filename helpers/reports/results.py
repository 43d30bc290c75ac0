"""All runs side by side: a table for the terminal and one HTML page for ``outputs/``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from helpers.reports.page import write_page
from helpers.runs.display import Row, duration, peak_memory, system_rows, test_row, text_table
from helpers.runs.records import FINISHED, RunRecord, read_runs

# Columns of the terminal's table: the first three of these that any run has; of README's: a few more.
MAIN = (
    "perplexity", "rougeL", "accuracy", "slot_accuracy", "harmonic_mean", "cosine", "macro_f1", "bleu", "valid_rate",
)  # fmt: skip
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
    sizes = {name: max(len(row[name]) for row in (*table, dict.fromkeys(table[0], name))) for name in table[0]}
    # Names give way first, the longer of the two columns before the other.
    while sum(sizes.values()) + 2 * (len(sizes) - 1) > width and max(sizes["run"], sizes["system"]) > 10:
        sizes["run" if sizes["run"] >= sizes["system"] else "system"] -= 1
    text = text_table([{name: _short(cell, sizes[name]) for name, cell in row.items()} for row in table])
    return "\n".join(line[:width] for line in text.splitlines())


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


def write_html(output_dir: Path | str) -> Path:
    """Regenerate ``output_dir/index.html`` from the records in it; links are relative.

    Raises:
        RunError: the page cannot be written.
    """
    root = Path(output_dir)

    def link(path: Path) -> str:
        return quote(path.relative_to(root).as_posix())

    tools = {"link": link, "test_row": test_row, "duration": duration, "peak_memory": peak_memory}
    page = {"runs": read_runs(root), "files": FILES, "system_rows": system_rows}
    return write_page(root / "index.html", "results.html", tools, **page)


def _short(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return text[: size - 1 - tail] + "…" + (text[-tail:] if tail else "")
