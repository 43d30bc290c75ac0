"""The table of a sweep: in order of the settings, with intervals, kept as CSV and JSON; seeds pooled for each."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from run_cases import entry

from helpers.reports import compare_runs, side_by_side, sweep_table
from helpers.runs import sweep
from helpers.runs.headless import Outcome
from helpers.runs.records import to_json

SWEPT: dict[str, list[Any]] = {"lora_r": [64, 4], "seed": [1, 0]}


def ran(place: Path, names: tuple[str, ...] = ("03",), swept: dict[str, list[Any]] = SWEPT) -> sweep.Sweep:
    """A sweep all of whose runs have finished, as it is found when it is asked for again."""

    def planned() -> sweep.Sweep:
        return sweep.plan(names, {"n_eval": 60}, swept, profile="smoke", output_dir=place)

    for member in planned().members:
        member.folder.mkdir(parents=True)
        value = 0.6 + 0.1 * (member.varied.get("lora_r") == 64) + 0.02 * member.varied.get("seed", 0)
        systems = {"zero-shot": {"accuracy": entry(0.33)}, "qlora": {"accuracy": entry(value), "rouge1": entry(0.5)}}
        info = {"notebook": member.settings.notebook, "run_name": member.folder.name, "status": "finished"}
        info |= {"settings": member.settings.as_dict(), "given": list(member.settings.given), "wall_time_s": 61.0}
        info |= {"hardware": {"device": "cpu", "dtype": "float32"}, "peak_rss_gb": 1.0, "peak_cuda_gb": None}
        (member.folder / "run.json").write_text(to_json(info))
        (member.folder / "metrics.json").write_text(to_json({"systems": systems, "tests": []}))
    return planned()


def test_rows_are_in_order_of_their_settings_and_show_the_result(tmp_path: Path) -> None:
    text = sweep_table.ending(ran(tmp_path), [])
    lines = text.splitlines()
    assert [lines[0], lines[1].split()] == ["03_qlora_nli", ["lora_r", "seed", "system", "accuracy", "time", "status"]]
    rows = [line.split() for line in lines[3:7]]
    assert [(row[0], row[1]) for row in rows] == [("4", "0"), ("4", "1"), ("64", "0"), ("64", "1")]
    assert lines[3].endswith("0.60 [0.55, 0.65]  1 min 01 s  finished before") and "zero-shot" not in text
    pooled = text.split("over seeds:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[:5] for line in pooled[1:]] == [
        ["03", "snli", f"lora_r={rank}", "qlora", "accuracy"] for rank in (4, 64)
    ]


def test_files_hold_what_the_table_shows_and_all_systems(tmp_path: Path) -> None:
    text = sweep_table.ending(ran(tmp_path), [])
    (file,) = (tmp_path / "03_qlora_nli").glob("sweep-lora_r-seed-??????.csv")
    assert f"table: {file}, .json" in text and (tmp_path / "index.html").is_file()
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert [(r["lora_r"], r["seed"], r["accuracy"], r["status"]) for r in rows[:2]] == [
        ("4", "0", "0.6", "finished"), ("4", "1", "0.62", "finished"),
    ]  # fmt: skip
    assert float(rows[0]["accuracy_low"]) < 0.6 < float(rows[0]["accuracy_high"])
    kept = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert kept["swept"] == SWEPT and kept["fixed"] == {"n_eval": 60, "profile": "smoke"}
    assert [run["settings"] for run in kept["runs"]][0] == {"lora_r": 4, "seed": 0}
    assert set(kept["runs"][0]["systems"]) == {"zero-shot", "qlora"}
    again = sweep.plan(["03"], {}, SWEPT, profile="smoke", output_dir=tmp_path)
    assert sweep_table._keep(again, [sweep_table.Row(again.members[0], "failed", "why", None, None)]) != file


def test_runs_that_did_not_finish_have_a_row_and_a_line(tmp_path: Path) -> None:
    found = sweep.plan(["03"], {}, {"lora_r": [4, 8, 64]}, profile="smoke", output_dir=tmp_path)
    outcomes = [
        Outcome("03_qlora_nli", "failed", "ValueError: no", None, 3.0, 4, 9),
        Outcome("03_qlora_nli", "timed out", "no end after 9 s in cell 4", None, 9.0, 4, 9),
        Outcome("03_qlora_nli", "interrupted", "not started", None, 0.0, 0, 0),
    ]
    text = sweep_table.ending(found, outcomes)
    assert [line for line in text.splitlines() if line.startswith("did not finish")] == [
        "did not finish: 03 lora_r=4: failed: ValueError: no",
        "did not finish: 03 lora_r=8: timed out: no end after 9 s in cell 4",
        "did not finish: 03 lora_r=64: interrupted: not started",
    ]
    assert text.splitlines()[3:6] == ["4       3.0 s  failed", "8       9.0 s  timed out", "64             interrupted"]


def test_a_lesson_without_one_result_shows_all_systems(tmp_path: Path) -> None:
    text = sweep_table.ending(ran(tmp_path, ("02",), {"seed": [0]}), [])
    assert [line.split()[1] for line in text.splitlines()[3:5]] == ["zero-shot", "qlora"]


def test_lesson_09_tells_the_runs_of_a_sweep_apart(tmp_path: Path) -> None:
    ran(tmp_path)
    records, left_out = compare_runs.find(tmp_path, "smoke")
    assert not left_out
    overview = compare_runs.overview(records)
    assert sorted(overview["lora_r"]) == [4, 4, 64, 64]
    assert len(set(compare_runs.labels(records))) == 4
    pooled = side_by_side.seeds_frame(records)
    tuned = pooled[(pooled["system"] == "qlora") & (pooled["metric"] == "accuracy")]
    assert dict(zip(tuned["run"], tuned["mean"], strict=True)) == {
        "03 snli lora_r=4": 0.61, "03 snli lora_r=64": 0.71,
    }  # fmt: skip


def test_learning_curves_of_several_settings_do_not_hide_each_other(tmp_path: Path) -> None:
    ran(tmp_path, swept={"lora_r": [4, 64], "n_train": [100, 300]})
    curves = compare_runs.learning_curves(compare_runs.find(tmp_path, "smoke")[0])
    tuned = {label: list(points) for label, points in curves.items() if label.endswith("qlora")}
    assert tuned == {"03 · lora_r=4 · qlora": [100, 300], "03 · lora_r=64 · qlora": [100, 300]}
