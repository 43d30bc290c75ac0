"""README's errors of predicted times are those of the record, and the record's are those of its rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.planned_time import END, START, table  # noqa: E402

RECORDS = sorted((ROOT / "outputs" / "reference" / "time").glob("*.json"))


def test_readme_shows_the_latest_record() -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split(START)[1].split(END)[0].strip()
    assert shown in [table(json.loads(file.read_text(encoding="utf-8"))) for file in RECORDS]


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_errors_follow_from_the_rows(file: Path) -> None:
    record = json.loads(file.read_text(encoding="utf-8"))
    assert len(record["rows"]) >= 20
    for row in record["rows"]:
        assert row["own"] == pytest.approx(row["predicted_s"] / row["measured_s"] - 1, abs=0.02)
    for name, found in record["errors"].items():
        errors = [abs(row[name]) for row in record["rows"]]
        assert found == {"n": len(errors), "median": round(median(errors), 3), "worst": round(max(errors), 3)}
