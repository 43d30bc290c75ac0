"""Measurements of risks in a run's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from begun_cases import begin, fill

from helpers.errors import ParameterError
from helpers.evaluation import before_after
from helpers.evaluation.intervals import wilson
from helpers.runs import risks


def test_a_measurement_is_kept_with_its_interval_and_its_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path)
    fill(run)
    capsys.readouterr()
    found = before_after.means([1.0, 2.0, 1.5], [9.0, 8.0, 9.9], "exposure", (0, 9.97))
    run.add_risk("privacy", "exposure (bits)", found)
    run.add_risk("opacity", "rows found (share)", wilson(3, 4))
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("privacy: exposure (bits): before 1.50 [") and "exact sign flips of 3" in printed[0]
    assert printed[1] == "opacity: rows found (share): 0.75 [0.30, 0.95] (n = 4)"
    first, second = json.loads((run.folder / "metrics.json").read_text())["risks"]
    assert list(first["values"]) == ["before", "after"] and first["values"]["after"]["n"] == 3
    assert set(first["change"]) == {"difference", "low", "high", "p_value", "test"}
    assert first["change"]["difference"] == pytest.approx(7.46667) and first["change"]["p_value"] == 0.25
    assert second["change"] is None and second["values"]["measured"]["value"] == 0.75


def test_the_same_measurement_again_replaces_the_first(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.add_risk("opacity", "rows found (share)", wilson(3, 4))
    run.add_risk("opacity", "rows found (share)", wilson(4, 4))
    (row,) = json.loads((run.folder / "metrics.json").read_text())["risks"]
    assert row["values"]["measured"]["value"] == 1


def test_a_run_that_goes_on_keeps_what_was_measured(tmp_path: Path) -> None:
    begin(tmp_path).add_risk("bias", "gap (nats)", wilson(1, 4))
    run = begin(tmp_path, resume=True)
    run.add_risk("privacy", "given away (share)", wilson(0, 4))
    kept = json.loads((run.folder / "metrics.json").read_text())["risks"]
    assert [row["risk"] for row in kept] == ["bias", "privacy"]


def test_an_unknown_risk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="unknown risk 'privaci'"):
        begin(tmp_path).add_risk("privaci", "x", wilson(1, 2))


def test_numbers_are_short() -> None:
    assert [risks.number(v) for v in (None, 0.12345, -3.0, 1234.5)] == ["–", "0.12", "-3.00", "1234"]


def test_every_run_has_a_record_of_energy_or_why_there_is_none(tmp_path: Path) -> None:
    run = begin(tmp_path)
    fill(run)
    run.finish()
    found = json.loads((run.folder / "run.json").read_text())["energy"]
    assert {"of", "how", "joules"} <= set(found) and (found["joules"] is None) == ("why" in found)
