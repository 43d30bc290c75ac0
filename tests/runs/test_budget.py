"""Lessons within a time: sizes go down where they have to, never below those with which the claims hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.config.lessons import LESSONS
from helpers.config.settings import resolve
from helpers.errors import ParameterError
from helpers.machine import hardware
from helpers.runs import budget, headless

NAMES = ["02", "03"]


def ran(place: Path, lesson: str, seconds: float, **given: Any) -> None:
    """What a finished run of a lesson leaves of itself."""
    machine = hardware.probe()
    settings = resolve(lesson, {"profile": "cpu", **given}, machine).as_dict()
    folder = place / settings["notebook"] / f"run{len(list(place.glob('*/*')))}"
    folder.mkdir(parents=True)
    info = {"status": "finished", "resumed": False, "settings": settings, "wall_time_s": seconds, "finished": "2026"}
    (folder / "run.json").write_text(json.dumps(info | {"hardware": {"dtype": machine.dtype}}))
    (folder / "notebook.ipynb").write_text(json.dumps({"cells": []}))


def planned(place: Path, given: dict[str, Any] | None = None, names: list[str] = NAMES) -> list[headless.Job]:
    return headless.plan(names, given or {}, profile="cpu", output_dir=place)


def sizes(jobs: list[headless.Job]) -> dict[str, Any]:
    return {name: value for job in jobs for name, value in job.parameters.items() if name.startswith("n_")}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    ran(tmp_path, "02", 200.0)
    ran(tmp_path, "03", 500.0)
    return tmp_path


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("90s", 90), ("1h30m", 5400), ("1h 30m", 5400)])
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert budget.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "15 minutes", "0m", "-5m", "m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is no time"):
        budget.seconds_of(text)


def test_enough_time_changes_nothing(place: Path) -> None:
    said: list[str] = []
    jobs = planned(place)
    assert budget.within(jobs, 701, said.append) == jobs
    assert len(said) == 1 and "together 12 min, 12 min given" in said[0]


def test_too_little_makes_sizes_smaller_and_says_so(place: Path) -> None:
    said: list[str] = []
    jobs = budget.within(planned(place), 600, said.append)
    usual = {("02", "n_eval"): 120, ("02", "n_generate"): 40, ("03", "n_train"): 1000, ("03", "n_eval"): 300}
    rows = {(job.spec.id[:2], name): row for job in jobs for name, row in job.spec.shorter.items()}
    found = {(job.spec.id[:2], name): job.parameters[name] for job in jobs for name in job.spec.shorter}
    assert found.keys() == usual.keys() == rows.keys()
    assert all(rows[name].least <= found[name] < usual[name] for name in found)
    takes = {"02": 200.0, "03": 500.0}
    for lesson, whole in list(takes.items()):
        gone = [rows[at].share * (1 - found[at] / usual[at]) for at in found if at[0] == lesson]
        takes[lesson] = whole * (1 - sum(gone))
    assert 540 < sum(takes.values()) <= 600, "and no smaller than needed"
    assert f"03 n_train {found['03', 'n_train']} (usual: 1,000)" in said[1] and len(said) == 2


def test_never_below_the_least_and_then_it_says_how_long(place: Path) -> None:
    said: list[str] = []
    found = sizes(budget.within(planned(place), 60, said.append))
    assert found == {n: row.least for lesson in NAMES for n, row in budget.find_lesson(lesson).shorter.items()}
    assert said[-1].startswith("longer than given, 7 min")


def test_what_was_given_is_left_alone(place: Path) -> None:
    ran(place, "03", 450.0, n_train=900)
    said: list[str] = []
    found = sizes(budget.within(planned(place, {"n_train": 900}), 400, said.append))
    assert found["n_train"] == 900 and found["n_generate"] == 10 and "03 8 min" in said[0]


def test_an_earlier_run_with_a_smaller_size_counts_for_its_part(tmp_path: Path) -> None:
    share = LESSONS["03_qlora_nli"].shorter["n_train"].share
    ran(tmp_path, "03", 300.0, n_train=700)
    (row,) = budget.lasting(planned(tmp_path, names=["03"]))
    assert row.seconds == pytest.approx(300 / (1 - share * 0.3))


def test_a_lesson_that_nobody_timed_is_said_to_be_unknown(place: Path) -> None:
    said: list[str] = []
    jobs = planned(place, {"max_new_tokens": 50}, names=["02"])
    assert budget.within(jobs, 60, said.append) == jobs and "02 not known" in said[0]


def test_the_least_sizes_are_sizes_of_the_lesson() -> None:
    for lesson in LESSONS.values():
        assert sum(row.share for row in lesson.shorter.values()) < 1
        for name, row in lesson.shorter.items():
            assert 0 < row.least < lesson.default(name, "cpu") and row.share > 0
