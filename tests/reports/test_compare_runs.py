"""Many runs side by side, from records on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_cases import entry, write_run

from helpers import plots
from helpers.errors import RunError
from helpers.evaluation.statistics import holm
from helpers.reports import compare_runs
from helpers.runs.records import to_json


def test_only_finished_runs_of_the_profile_are_compared(tmp_path: Path) -> None:
    write_run(tmp_path, "good")
    write_run(tmp_path, "broken", status="failed")
    write_run(tmp_path, "large", profile="cpu")
    write_run(tmp_path, "self", notebook="09_evaluation")
    kept, left_out = compare_runs.find(tmp_path, "smoke", own="09_evaluation")
    assert [r.run_name for r in kept] == ["good"]
    assert left_out == ["03_qlora_nli/broken: failed", "03_qlora_nli/large: profile cpu"]


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no folder"):
        compare_runs.find(tmp_path / "nothing", "smoke")


def test_names_are_short_and_never_collide(tmp_path: Path) -> None:
    write_run(tmp_path, "one")
    write_run(tmp_path, "two", seed=1)
    write_run(tmp_path, "one", notebook="04_qlora_instruct", task="recipes")
    records, _ = compare_runs.find(tmp_path, "smoke")
    assert compare_runs.labels(records) == ["03 one", "03 two", "04"]
    assert list(compare_runs.systems(records)) == [
        "03 one · zero-shot", "03 one · qlora", "03 two · zero-shot", "03 two · qlora", "04 · zero-shot", "04 · qlora",
    ]  # fmt: skip
    overview = compare_runs.overview(records)
    assert list(overview.index) == ["03 one", "03 two", "04"]
    assert set(overview["computed in"]) == {"float32, AVX2, 2 threads"}


def test_p_is_corrected_over_all_runs_together(tmp_path: Path) -> None:
    values = [0.02, 0.001, None, 0.04]
    for i, p in enumerate(values):
        write_run(tmp_path, f"r{i}", p=p, seed=i)
    records, _ = compare_runs.find(tmp_path, "smoke")
    rows = compare_runs.tests(records)
    known = [p for p in values if p is not None]
    assert [r["p_holm"] for r in rows if r["p_value"] is not None] == pytest.approx(list(holm(known)))
    assert next(r for r in rows if r["p_value"] is None)["p_holm"] is None
    table = compare_runs.tests_frame(rows)
    assert list(table["run"])[0] == "03 r1" and list(table["p"])[-1] == "–"


def test_seeds_are_grouped_only_when_nothing_else_differs(tmp_path: Path) -> None:
    for seed, accuracy in ((2, 0.86), (0, 0.9), (1, 0.88)):
        write_run(tmp_path, f"s{seed}", seed=seed, accuracy=accuracy)
    write_run(tmp_path, "longer", seed=3, epochs=9.0)
    records, _ = compare_runs.find(tmp_path, "smoke")
    (group,) = compare_runs.by_seed(records)
    assert [record.info["settings"]["seed"] for record in group] == [0, 1, 2]
    assert [record.systems["qlora"]["accuracy"]["value"] for record in group] == [0.9, 0.88, 0.86]


def test_learning_curves_come_from_notes_and_from_runs_of_several_sizes(tmp_path: Path) -> None:
    noted = {"learning_curve": {"accuracy": {"100": entry(0.5), "900": entry(0.9)}}}
    write_run(tmp_path, "whole", notes=noted)
    write_run(tmp_path, "half", n_train=450, accuracy=0.8)
    records, _ = compare_runs.find(tmp_path, "smoke")
    curves = compare_runs.learning_curves(records)
    assert {n: e["value"] for n, e in curves["03 whole"].items()} == {100: 0.5, 900: 0.9}
    assert {n: e["value"] for n, e in curves["03 · qlora"].items()} == {450: 0.8, 900: 0.9}
    assert plots.learning_curve(curves, "training examples", "accuracy").axes


def test_points_are_read_from_notes(tmp_path: Path) -> None:
    point = {"name": "900 pairs", "metric": "accuracy", "train_seconds": 30.0} | entry(0.9)
    write_run(tmp_path, "one", notes={"points": [point, point | {"metric": "rougeL"}]})
    write_run(tmp_path, "none", notebook="02_zero_shot_baselines")
    records, _ = compare_runs.find(tmp_path, "smoke")
    points = compare_runs.points(records)
    assert list(points) == ["03 · 900 pairs"]
    assert plots.pareto(points, list(points), "training (s)", "accuracy").axes


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    found = {"free": (0.0, 0.3), "cheap": (1.0, 0.8), "dear": (5.0, 0.8), "worse": (6.0, 0.7), "best": (9.0, 0.9)}
    assert compare_runs.pareto(found) == ["free", "cheap", "best"]
    assert compare_runs.pareto({"a": (1.0, 0.5), "b": (1.0, 0.5)}) == ["a", "b"]


def test_answers_of_two_systems_are_found_by_form(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "one", notebook="04_qlora_instruct", task="recipes")
    rows = [
        {"form": "steps", "input": "q\u2028\x85", "reference": "r", "prediction": "p", "baseline": "b", "score": 0.2},
        {"form": "missing", "input": "q", "reference": "a", "prediction": "a", "baseline": "b", "score": 1.0},
        {"form": "missing", "input": "q2", "reference": "a", "prediction": "a", "score": 1.0},
    ]
    (folder / "predictions.jsonl").write_text("".join(to_json(row, indent=None) + "\n" for row in rows))
    (record,) = compare_runs.find(tmp_path, "smoke")[0]
    assert compare_runs.paired_answers(record, "generation") == {"steps": rows[:1]}
    assert compare_runs.paired_answers(record, "choice") == {"missing": rows[1:2]}


def test_the_records_of_the_course_stand_in_for_runs_that_are_missing() -> None:
    assert {r.info["settings"]["profile"] for r in compare_runs.recorded("smoke")} == {"smoke"}
    assert {r.info["settings"]["profile"] for r in compare_runs.recorded("full")} <= {"full", "cpu"}
    assert all(compare_runs.recorded(profile, own="03_qlora_nli") for profile in ("smoke", "cpu", "full"))
    assert "03_qlora_nli" not in [r.notebook for r in compare_runs.recorded("smoke", own="03_qlora_nli")]
