"""All runs side by side: a table for the terminal and one HTML page for ``outputs/``."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers.files import write_atomic
from helpers.runs.display import duration, interval, p_text, signed, systems_frame, tests_frame
from helpers.runs.records import FINISHED, METRICS, RunRecord, read_runs

__all__ = ["results_rows", "results_table", "systems_frame", "tests_frame", "write_html"]

# Columns of the terminal's table: the first three of these that any run has; of README's: a few more.
MAIN = (
    "perplexity", "rougeL", "accuracy", "slot_accuracy", "harmonic_mean", "cosine", "macro_f1", "bleu", "valid_rate",
)  # fmt: skip


def results_rows(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """One row a run and system, all metrics, JSON-ready; a run without metrics has one with system None."""
    rows: list[dict[str, Any]] = []
    for record in records:
        base = {
            "notebook": record.notebook,
            "run": record.run_name,
            "status": record.status,
            "error": record.info.get("error"),
            "wall_time_s": record.info.get("wall_time_s"),
            "peak_rss_gb": record.info.get("peak_rss_gb"),
            "peak_cuda_gb": record.info.get("peak_cuda_gb"),
            "folder": str(record.folder),
        }
        if not record.systems:
            rows.append(base | {"system": None, "metrics": {}})
        rows += [base | {"system": name, "metrics": values} for name, values in record.systems.items()]
    return rows


def results_table(records: Sequence[RunRecord], metrics: Sequence[str] | None = None, width: int = 110) -> str:
    """One row a run and system with the main metrics and their intervals, at most ``width`` columns."""
    if not records:
        return "no runs yet"
    present = {m for record in records for row in record.systems.values() for m in row}
    chosen = list(metrics or [m for m in MAIN if m in present][:3])
    head = ["nb", "run", "system", *chosen]
    body: list[list[str]] = []
    for record in records:
        number = record.notebook.split("_")[0]
        systems = list(record.systems.items())
        note = "" if record.status == FINISHED else f"({record.status})"
        if not systems or note:
            body.append([number, record.run_name, note or "(no metrics)", *([""] * len(chosen))])
        for name, values in systems:
            body.append([number, record.run_name, name, *(interval(values.get(m), m) for m in chosen)])
    fixed = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    # Names give way first, the longer of the two columns before the other.
    while sum(fixed) + 2 * (len(fixed) - 1) > width and max(fixed[1], fixed[2]) > 10:
        fixed[1 if fixed[1] >= fixed[2] else 2] -= 1
    lines = []
    previous: list[str] = []
    for row in [head, *body]:
        shown = [_short(cell, size).ljust(size) for cell, size in zip(row, fixed, strict=True)]
        if row[:2] == previous[:2]:  # the same run again
            shown[0], shown[1] = " " * fixed[0], " " * fixed[1]
        lines.append("  ".join(shown).rstrip()[:width])
        previous = row
    lines.insert(1, "-" * min(width, max(len(line) for line in lines)))
    return "\n".join(lines)


def gains_table(records: Iterable[RunRecord]) -> str:
    """What tuning changed in each run: difference to zero-shot with interval and p, and how many answers turned.

    "" when no run compared itself with zero-shot. The counts are fixed / broken / wrong both times.
    """
    head = ["nb", "run", "system - zero-shot", "metric", "difference", "p", "fixed / broken / both wrong"]
    rows = [
        [
            record.notebook.split("_")[0], _short(record.run_name, 30), test["a"], test["metric"],
            f"{signed(test['difference'])} [{signed(test['low'])}, {signed(test['high'])}]", p_text(test["p_value"]),
            _outcomes(record) if test["metric"] == "accuracy" else "",
        ]
        for record in records
        for test in record.tests
        if test["b"] == "zero-shot" and test["metric"] in MAIN[:5]
    ]  # fmt: skip
    if not rows:
        return ""
    sizes = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in [head, *rows]
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


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
    runs = read_runs(root)
    sections = "\n".join(_run_section(record, root) for record in runs)
    page = _PAGE.format(style=_STYLE, overview=_overview(runs), sections=sections)
    return write_atomic(root / "index.html", page)


def _overview(runs: Sequence[RunRecord]) -> str:
    if not runs:
        return "<p>No runs yet.</p>"
    rows = []
    for record in runs:
        info = record.info
        settings = info.get("settings", {})
        took = duration(info["wall_time_s"]) if info.get("wall_time_s") is not None else ""
        memory = f"{info['peak_rss_gb']:.1f} GB" if info.get("peak_rss_gb") is not None else ""
        if info.get("peak_cuda_gb") is not None:
            memory += f", GPU {info['peak_cuda_gb']:.1f} GB"
        name = f'<a href="#{_anchor(record)}">{_text(record.run_name)}</a>'
        cells = [_text(record.notebook), name, _status(record), _text(settings.get("model_id", ""))]
        cells += [
            took,
            memory,
            _text(str(info.get("started") or "").replace("T", " ").replace("+00:00", " UTC")),
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ("notebook", "run", "status", "model", "time", "peak memory", "started")
    return _table(head, rows)


def _run_section(record: RunRecord, root: Path) -> str:
    parts = [f'<section id="{_anchor(record)}">']
    parts.append(f"<h2>{_text(record.notebook)} · {_text(record.run_name)} {_status(record)}</h2>")
    if record.status != FINISHED and record.info.get("error"):
        parts.append(f'<p class="error">{_text(record.info["error"])}</p>')
    parts.append(_links(record, root))
    if record.systems:
        metrics = [m for m in METRICS if any(m in row for row in record.systems.values())]
        rows = [
            f"<tr><th>{_text(name)}</th>"
            + "".join(f'<td class="n">{_interval_cell(row.get(m), m)}</td>' for m in metrics)
            + "</tr>"
            for name, row in record.systems.items()
        ]
        parts.append(_table(("system", *metrics), rows))
    if record.tests:
        parts.append(_tests_table(record.tests))
    for fallback in record.info.get("fallbacks", []):
        parts.append(f"<p>Note: {_text(fallback['what'])} ({_text(fallback['why'])}).</p>")
    pictures = sorted((record.folder / "figures").glob("*.png"))
    if pictures:
        shown = "".join(_thumbnail(picture, root) for picture in pictures)
        parts.append(f'<div class="figures">{shown}</div>')
    settings = record.info.get("settings", {})
    if settings:
        pairs = "".join(f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in settings.items())
        parts.append(f"<details><summary>Settings</summary><table>{pairs}</table></details>")
    return "\n".join([*parts, "</section>"])


def _links(record: RunRecord, root: Path) -> str:
    names = {
        "notebook.html": "the notebook",
        "notebook.ipynb": "as .ipynb",
        "predictions.jsonl": "predictions",
        "history.csv": "history",
        "metrics.json": "metrics.json",
        "run.json": "run.json",
    }
    links = [
        f'<a href="{_href(record.folder / name, root)}">{label}</a>'
        for name, label in names.items()
        if (record.folder / name).exists()
    ]
    return f"<p>{' · '.join(links)}</p>"


def _tests_table(tests: Sequence[dict[str, Any]]) -> str:
    rows = []
    for test in tests:
        ends = f"[{signed(test['low'])}, {signed(test['high'])}]"
        pair = f"{test['a']} − {test['b']}"
        cells = [_text(pair), _text(test["metric"]), f"{signed(test['difference'])} <small>{ends}</small>"]
        cells += [_text(p_text(test["p_value"])), _text(test["test"])]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return _table(("comparison", "metric", "difference", "p", "test"), rows)


def _interval_cell(entry: dict[str, Any] | None, metric: str) -> str:
    if not entry:
        return ""
    value, _, ends = interval(entry, metric).partition(" ")
    return f'<span title="n = {entry["n"]}">{value} <small>{ends}</small></span>'


def _thumbnail(picture: Path, root: Path) -> str:
    name = _text(picture.stem.replace("_", " "))
    link = _href(picture, root)
    return (
        f'<figure><a href="{link}"><img src="{link}" alt="{name}" loading="lazy"></a>'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = "\n".join(rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _status(record: RunRecord) -> str:
    kind = "good" if record.status == FINISHED else "busy" if record.status == "running" else "bad"
    return f'<span class="{kind}">{_text(record.status)}</span>'


def _anchor(record: RunRecord) -> str:
    return _text(f"{record.notebook}--{record.run_name}")


def _href(path: Path, root: Path) -> str:
    from urllib.parse import quote

    return quote(path.relative_to(root).as_posix())


def _text(value: Any) -> str:
    return html.escape("" if value is None else str(value))


def _short(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return text[: size - 1 - tail] + "…" + (text[-tail:] if tail else "")


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 0 0 .3rem; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; white-space: nowrap; } tbody th { font-weight: 400; }
td.n { white-space: nowrap; } small { opacity: .7; }
.good, .bad, .busy { font-size: .8rem; padding: .05rem .5rem; border-radius: 1rem; font-weight: 500; }
.good { background: #2a7d3f26; color: #2a7d3f; } .bad { background: #b3261e26; color: #b3261e; }
.busy { background: #9a670026; color: #9a6700; }
.error { color: #b3261e; } a { color: #2563a8; }
@media (prefers-color-scheme: dark) { a { color: #8ab8f0; } .good { color: #7cc48d; }
 .bad, .error { color: #f0908a; } .busy { color: #e0b050; } }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 15rem; }
figure img { width: 100%; border: 1px solid var(--line); background: #fff; }
figcaption { font-size: .8rem; opacity: .7; }
details table { font-size: .85rem; } summary { cursor: pointer; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>peft-lab results</title>
<style>{style}</style>
</head>
<body>
<h1>peft-lab results</h1>
<p>Each number comes with its 95 % interval; hold the pointer over it for the number of examples.</p>
{overview}
{sections}
</body>
</html>
"""
