"""README's table of benchmarks, from the records that ``helpers bench NAME --keep`` leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers.errors import RunError
from helpers.files import repo_root

FOLDER = "outputs/reference/bench"  # relative to the repository
MARKS = ("<!-- bench:start -->", "<!-- bench:end -->")
OURS = "ours"
# Benchmark -> part of its record -> what the table calls it; in the table's order.
PARTS: dict[str, dict[str, str]] = {
    "classification": {"ways": "training a classifier"},
    "instruction": {"ways": "training to write", "to_loss": "training to write, to the same held-out loss"},
    "evaluation": {
        "ways": "choosing an answer",
        "shots": "choosing, three examples shown",
        "writing": "writing an answer",
    },
}
_ORDER = [*PARTS, "peak", "startup"]


def read(root: Path | None = None) -> list[dict[str, Any]]:
    """The records, by the file's name.

    Raises:
        RunError: one is damaged.
    """
    found = []
    for path in sorted(((root or repo_root()) / FOLDER).glob("*.json")):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error})", "Remove it and measure again") from None
    return found


def column_of(record: Mapping[str, Any]) -> str:
    """ "bfloat16, amx_bf16, 2 threads": what a column of the table was measured with."""
    return f"{record['dtype']}, {record['isa']}, {record['threads']} threads"


def block(root: Path | None = None) -> str:
    """The table: how many times as long as ours each way takes, and the rate of ours."""
    found = read(root)
    if not found:
        return "Nothing has been recorded yet."
    columns = sorted({column_of(record) for record in found})
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for record in sorted(found, key=lambda r: _ORDER.index(r["benchmark"])):
        for what, way, value in _rows(record):
            cells.setdefault((what, way), {})[column_of(record)] = value
    wide = "|".join(["", " measurement ", " way ", *(f" {name} " for name in columns), ""])
    lines = [wide, "|".join(["", *(["---"] * (2 + len(columns))), ""])]
    for (what, way), values in cells.items():
        lines.append("| " + " | ".join([what, way, *(values.get(name, "") for name in columns)]) + " |")
    device = sorted({f"{r['device']}, {r['cores']} cores" for r in found})
    versions = ", ".join(f"{name} {version}" for name, version in found[-1]["versions"].items() if version)
    days = sorted({record["date"] for record in found})
    return "\n".join([f"Measured on {'; '.join(device)}, {days[-1]}; {versions}.", "", *lines])


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(measurement, way, value) of a record."""
    name = record["benchmark"]
    for part, title in PARTS.get(name, {}).items():
        for way, row in record.get(part, {}).items():
            rate = next((f"{value:.3g} {key[:-6]}/s" for key, value in row.items() if key.endswith("_per_s")), "")
            rate = rate or f"{row['seconds']:.0f} s"
            lost = "" if row.get("reached", True) else "more than "
            yield title, way, rate if way == OURS else f"{lost}{row['times_ours']:.1f} × the time of ours ({rate})"
    if name == "peak":
        peak = f"{record['peak_gflop_per_s']:.0f} GFLOP/s"
        for way, row in record["ways"].items():
            yield "a training step's share of the product's peak", way, f"{row['share_of_peak']:.0%} of {peak}"
    if name == "startup":
        for step, row in record["steps"].items():
            yield "waiting", step, f"{row['median_s']:.1f} s"
