"""A lesson's time: the sum of its batches, one by one; and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.config.lessons import LESSONS
from helpers.config.settings import resolve
from helpers.duration import forecast, predict, rates, report, work
from helpers.machine import hardware
from helpers.memory.lessons import lesson_jobs
from helpers.memory.report import machine_with, without_card

SHEET = rates.of_processor(2)
SMALL = {"profile": "smoke", "n_train": 20, "n_text": 12, "n_eval": 9, "n_generate": 4}


def lesson(name: str, **given: Any) -> tuple[Any, Any]:
    machine = without_card(hardware.probe())
    settings = resolve(name, SMALL | given, machine)
    return settings, lesson_jobs(settings, machine)


def test_a_training_is_the_sum_of_its_batches() -> None:
    settings, jobs = lesson("04_qlora_instruct", epochs=1.0)
    lengths = [30 + 5 * i for i in range(20)]
    found = work.duration_of(settings, jobs, SHEET, lengths)
    assert found is not None and found.rows_known
    job, expected = jobs["training"], 0.0
    batches = work.padded_lengths(lengths, job.batch_size, 1, grouped=True, seed=settings.seed)
    for length in batches:
        one = job.but(length=length, labelled=max(1, min(job.labelled, length // 2)))
        expected += predict.step_time(one, SHEET).total
    assert found.updates == len(batches) == 3
    assert found.seconds["training"] == pytest.approx(expected, rel=0.02)
    assert found.update == pytest.approx(found.seconds["training"] / 3)
    assert found.total == pytest.approx(sum(found.seconds.values()))


def test_epochs_rows_and_downloads_add_up() -> None:
    once = work.duration_of(*lesson("04_qlora_instruct", epochs=1.0), SHEET)
    twice = work.duration_of(*lesson("04_qlora_instruct", epochs=2.0), SHEET, download_gb=3.0, megabytes=30.0)
    assert once is not None and twice is not None and not once.rows_known
    assert twice.seconds["training"] == pytest.approx(2 * once.seconds["training"])
    assert twice.seconds["download"] == 100.0 and "download" not in once.seconds
    assert twice.seconds["after training"] == once.seconds["after training"] > 0


@pytest.mark.parametrize("name", [name for name, row in LESSONS.items() if row.memory and row.memory.work])
def test_every_lesson_with_work_on_record_has_a_time(name: str) -> None:
    machine = without_card(hardware.probe())
    settings = resolve(name, {"profile": "smoke"}, machine)
    found = forecast.lesson_time(settings, machine, lesson_jobs(settings, machine))
    assert found is not None and found.seconds["training"] > 0 and found.updates > 0
    trained = {work.part for work in LESSONS[name].memory.work if work.does == "train"}  # type: ignore[union-attr]
    assert trained <= set(found.seconds) <= set(work.PARTS)


def test_a_card_that_was_not_measured_says_so() -> None:
    t4 = machine_with("T4 16 GB", hardware.probe())
    settings = resolve("03_qlora_nli", {"profile": "full"}, t4)
    found = forecast.lesson_time(settings, t4, lesson_jobs(settings, t4))
    assert found is not None
    assert "not yet measured on this card" in report.one_line(found) and "not yet measured" in report.describe(found)
    hours = found.total / 3600
    assert f"{hours * 2.5:.1f} Colab units at 2.5 an hour" in report.describe(found, 2.5)
    assert "units" not in report.describe(found)  # no price is known here
    kept = json.loads(json.dumps(report.as_dict(found)))
    assert kept["total_seconds"] == pytest.approx(found.total, abs=0.1) and kept["measured"] is False


def test_times_in_words() -> None:
    shown = {5: "5 s", 99: "99 s", 125: "2 min 05 s", 1500: "25 min", 3600: "1 h 00 min", 7500: "2 h 05 min"}
    assert {seconds: report.clock(seconds) for seconds in shown} == shown
