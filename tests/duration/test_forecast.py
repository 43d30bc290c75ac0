"""A lesson's time: the sum of its batches, one by one; and what is said of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from helpers.config.lessons import LESSONS
from helpers.config.lessons.base import Work
from helpers.config.settings import resolve
from helpers.duration import forecast, predict, rates, report, work
from helpers.machine import hardware
from helpers.memory.lessons import lesson_jobs
from helpers.memory.report import machine_with, without_card

SHEET = rates.of_processor(2)
SMALL = {"profile": "smoke", "n_train": 20, "n_text": 12, "n_eval": 9, "n_generate": 4}


def lesson(name: str, **given: Any) -> tuple[Any, Any]:
    machine = without_card(hardware.probe())
    small = {key: value for key, value in SMALL.items() if key in LESSONS[name].parameters}
    settings = resolve(name, small | given, machine)
    return settings, lesson_jobs(settings, machine)


def _only(monkeypatch: pytest.MonkeyPatch, name: str, *works: Work, **more: Any) -> None:
    """The lesson does this and nothing else."""
    memory = LESSONS[name].memory
    assert memory is not None
    kept = dataclasses.replace(memory, work=works, besides=0.0, **more)
    monkeypatch.setitem(LESSONS, name, dataclasses.replace(LESSONS[name], memory=kept))


def _seconds(settings: Any, jobs: Any, lengths: list[int] | None = None) -> dict[str, float]:
    found = work.duration_of(settings, jobs, SHEET, lengths)
    assert found is not None
    return found.seconds


def test_a_training_is_the_sum_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, jobs = lesson("04_qlora_instruct", epochs=1.0)
    _only(monkeypatch, "04_qlora_instruct", Work("training", "train", ("n_train",), 1, (50,) * 5))
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


def test_answers_are_the_sum_of_their_batches_token_by_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches, the longest first; every token at its own length of the cache, against the middle one's time."""
    settings, jobs = lesson("04_qlora_instruct", n_eval=40, max_new_tokens=6)
    same = (50,) * 5
    _only(monkeypatch, "04_qlora_instruct", Work("after training", "write", ("n_eval",), 2, same))
    answers, expected = jobs["answers"], 0.0
    assert answers.batch_size == 32
    for new in range(1, 7):
        one = predict.step_time(answers.but(length=50, new_tokens=new), SHEET).reading
        first = predict.step_time(answers.but(length=50, new_tokens=1), SHEET).reading
        expected += first if new == 1 else one - first
    assert _seconds(settings, jobs)["after training"] == pytest.approx(2 * 2 * expected, rel=0.05)
    _only(monkeypatch, "04_qlora_instruct", Work("after training", "write", ("n_eval",), 2, same, at_once=0.25))
    assert _seconds(settings, jobs)["after training"] == pytest.approx(2 * 5 * expected, rel=0.05)
    _only(monkeypatch, "04_qlora_instruct", Work("after training", "write", ("n_eval",), 2, same, until=0.5))
    assert _seconds(settings, jobs)["after training"] == pytest.approx(2 * expected, rel=0.05)


def test_rows_are_counted_as_their_work_says(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, jobs = lesson("04_qlora_instruct", n_eval=64, epochs=3.0)
    one = Work("after training", "read", ("n_eval",), 1, (40,) * 5)

    def read(**changes: Any) -> float:
        _only(monkeypatch, "04_qlora_instruct", dataclasses.replace(one, **changes))
        return _seconds(settings, jobs).get("after training", 0.0)

    whole = read()
    assert read(until=0.5) == whole  # it writes nothing
    assert read(share=0.5) == pytest.approx(whole / 2) == read(most=32)
    assert read(share=2.0) == pytest.approx(2 * whole) == read(times=2)
    assert read(each_epoch=True) == pytest.approx(3 * whole)
    assert read(pictures=True) == 0  # the model reads none
    assert read(tokens=(10,) * 5, shots=3) == pytest.approx(whole)


def test_rows_like_those_that_are_trained_on_have_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, jobs = lesson("03_qlora_nli", n_eval=32)
    like, other = (20,) * 5, (30,) * 5
    train = Work("training", "train", ("n_train",), 1, like)
    for tokens, known in ((like, 60), (other, 30)):
        alone = Work("after training", "read", ("n_eval",), 1, tokens)
        _only(monkeypatch, "03_qlora_nli", train, alone)
        found = _seconds(settings, jobs, [60] * 20)["after training"]
        _only(monkeypatch, "03_qlora_nli", dataclasses.replace(alone, tokens=(known,) * 5))
        assert found == pytest.approx(_seconds(settings, jobs)["after training"])


def test_lesson_seven_reads_all_prompts_in_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, jobs = lesson("07_compositional_prompts", n_train=200, epochs=2.0, batch_size=16)
    train = Work("training", "train", ("n_train",), 1, (16,) * 5, share=0.5)
    _only(monkeypatch, "07_compositional_prompts", train)
    memory = LESSONS["07_compositional_prompts"].memory
    assert memory is not None
    step = predict.step_time(jobs["training"].but(batch_size=memory.usual_rows, length=16), SHEET).total
    assert _seconds(settings, jobs)["training"] == pytest.approx(2 * 7 * step)  # 100 pictures, 16 at once


def test_epochs_rows_and_downloads_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Work("training", "train", ("n_train",), 1, (50,) * 5)
    _only(monkeypatch, "04_qlora_instruct", train, Work("after training", "read", ("n_eval",), 1, (50,) * 5))
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
    memory = LESSONS[name].memory
    assert memory is not None
    trained = {work.part for work in memory.work if work.does == "train"}
    assert trained <= set(found.seconds) <= set(work.PARTS)


def test_what_a_second_model_does_takes_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, jobs = lesson("13_llm_as_adapter", reasoner_id="tiny/llama", epochs=1.0)
    of_one = {}
    for reasons, job in ((False, jobs["training"]), (True, jobs["reasoner"])):
        own = Work("training", "train", ("n_train",), 1, (50,) * 5, grouped=False, reasoner=reasons)
        _only(monkeypatch, "13_llm_as_adapter", own)
        of_one[reasons] = _seconds(settings, jobs)["training"]
        shown = work.picture_tokens(job.model, job.pixels)
        length = min(50 + shown, job.length)
        step = predict.step_time(job.but(length=length, labelled=max(1, min(job.labelled, length // 2))), SHEET).total
        updates = -(-settings.n_train // settings.batch_size)
        assert of_one[reasons] == pytest.approx(updates * step, rel=0.1, abs=0.001 * settings.n_train)
    assert of_one[True] < of_one[False], "the reasoner reads no pictures"


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
