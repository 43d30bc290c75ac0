"""All runs side by side: a table for the terminal and one HTML page for ``outputs/``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from helpers.reports.page import write_page
from helpers.runs.display import duration, interval, peak_memory, system_cells, test_cells, text_table
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
    body: list[list[str]] = []
    for record in records:
        note = "" if record.status == FINISHED else f"({record.status})"
        rows = [(name, [interval(row.get(m), m) for m in chosen]) for name, row in record.systems.items()]
        if not rows or note:
            rows.insert(0, (note or "(no metrics)", [""] * len(chosen)))
        # The run is named once, in its first row.
        names = [(record.number, record.run_name), *[("", "")] * len(rows)]
        body += [[*name, system, *cells] for name, (system, cells) in zip(names, rows, strict=False)]
    head = ["nb", "run", "system", *chosen]
    sizes = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    # Names give way first, the longer of the two columns before the other.
    while sum(sizes) + 2 * (len(sizes) - 1) > width and max(sizes[1], sizes[2]) > 10:
        sizes[1 if sizes[1] >= sizes[2] else 2] -= 1
    table = text_table(head, ([_short(cell, size) for cell, size in zip(row, sizes, strict=True)] for row in body))
    return "\n".join(line[:width] for line in table.splitlines())


def gains_table(records: Iterable[RunRecord]) -> str:
    """What tuning changed in each run: difference to zero-shot with interval and p, and how many answers turned.

    "" when no run compared itself with zero-shot. The counts are fixed / broken / wrong both times.
    """
    rows = [
        [
            record.number, _short(record.run_name, 30), test["a"], cells["metric"], cells["difference"], cells["p"],
            _outcomes(record) if test["metric"] == "accuracy" else "",
        ]
        for record in records
        for test in record.tests
        if test["b"] == "zero-shot" and test["metric"] in MAIN[:5]
        for cells in [test_cells(test)]
    ]  # fmt: skip
    head = ("nb", "run", "system - zero-shot", "metric", "difference", "p", "fixed / broken / both wrong")
    return text_table(head, rows) if rows else ""


def _outcomes(record: RunRecord) -> str:
    from helpers.evaluation.failures import OUTCOMES

    counted = record.info.get("notes", {}).get("outcomes")
    return " / ".join(str(counted[name]) for name in OUTCOMES[:3]) if counted else ""


def write_html(output_dir: Path | str) -> Path:
    """Regenerate ``output_dir/index.html`` from the records in it; links are relative.

    Raises:
        RunError: the page cannot be written.
    """
    root = Path(output_dir)

    def link(path: Path) -> str:
        return quote(path.relative_to(root).as_posix())

    filters = {"link": link, "test_cells": test_cells}
    tools = {"duration": duration, "peak_memory": peak_memory, "system_cells": system_cells, "zip": zip}
    return write_page(root / "index.html", "results.html", filters, runs=read_runs(root), files=FILES, **tools)


def _short(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return text[: size - 1 - tail] + "…" + (text[-tail:] if tail else "")
