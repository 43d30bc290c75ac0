"""Lessons end with results on files of one's own that have no optional column, few rows and nothing to learn."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from lesson_claims import shown
from own_data_cases import write_own

from helpers.runs import headless
from helpers.runs.records import read_run

SMALLEST = {"n_train": 8, "n_eval": 8}
# The lessons that ask most of the data, each on a task whose optional columns it would use.
CASES = {
    ("01", "dialogsum"): {},
    ("03", "snli"): {"epochs": 1, "lora_targets": "all-linear"},  # as in profile cpu
    ("04", "dialogsum"): {"epochs": 1, "n_text": 4, "n_generate": 2, "max_new_tokens": 16},
    ("06", "scienceqa"): {"epochs": 1, "max_new_tokens": 24},
    ("07", "zappos"): {"epochs": 1},
    ("13", "kitchen"): {"epochs": 1, "max_new_tokens": 24},
    ("11", "dialogsum"): {"n_seeds": 1, "n_rates": 1, "ranks": "1+8", "strengths": "0.001+0.01"},
}


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, empty_caches: None, warm_kernels: None
) -> dict[tuple[str, str], headless.Outcome]:
    place = tmp_path_factory.mktemp("own")
    jobs = []
    for (lesson, task), more in CASES.items():
        data = write_own(place / task, task, 40, random.Random(task))
        given = {"task": task, "dataset": str(data)} | SMALLEST | more
        jobs += headless.plan([lesson], given, profile="smoke", output_dir=place / "outputs")
    return dict(zip(CASES, headless.run_all(jobs, parallel=2, say=lambda line: None), strict=True))


@pytest.mark.parametrize(("lesson", "task"), CASES)
def test_a_lesson_ends_with_its_results(
    outcomes: dict[tuple[str, str], headless.Outcome], lesson: str, task: str
) -> None:
    outcome = outcomes[lesson, task]
    assert outcome.status == "finished", outcome.error
    assert outcome.folder is not None
    record = read_run(outcome.folder)
    assert record.status == "finished" and record.systems
    claims = record.notes["claims"]
    assert claims and not any(claim["checked"] for claim in claims)
    assert any(claim["holds"] is not True for claim in claims), "here there is nothing to find"
    said = shown(outcome.folder)
    for claim in claims:
        told = {True: "holds here too", False: "not found here", None: "could not be measured here"}[claim["holds"]]
        assert f"{told}: {claim['sentence']}" in said


@pytest.mark.parametrize(
    ("lesson", "task", "says"),
    [
        ("01", "dialogsum", "form 'topic' is left out"),
        ("04", "dialogsum", "form 'topic' is left out"),
        ("06", "scienceqa", "no test question has a picture"),
        ("07", "zappos", "no colour and no material is known here"),
        ("07", "zappos", "combinations are left out"),
    ],
)
def test_what_is_left_out_is_said(
    outcomes: dict[tuple[str, str], headless.Outcome], lesson: str, task: str, says: str
) -> None:
    folder = outcomes[lesson, task].folder
    assert folder is not None and says in shown(folder)


def test_without_topics_summaries_alone_are_learned_and_measured(
    outcomes: dict[tuple[str, str], headless.Outcome],
) -> None:
    folder = outcomes["04", "dialogsum"].folder
    assert folder is not None
    record = read_run(folder)
    assert set(record.systems["qlora"]) == {"perplexity", "bleu", "rouge1", "rouge2", "rougeL", "cosine"}
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["form"] for row in rows] == ["summary"] * 2
    assert any("form 'topic' is left out" in note for note in record.notes["data"]["notes"])


def test_each_run_is_told_from_the_others_and_lesson_09_shows_them_all(
    outcomes: dict[tuple[str, str], headless.Outcome], tmp_path: Path
) -> None:
    from helpers.reports import compare_runs

    folder = outcomes["01", "dialogsum"].folder
    assert folder is not None
    records, left_out = compare_runs.find(folder.parents[1], "smoke")
    assert len(records) == len(CASES) and not left_out
    assert len(compare_runs.systems(records)) == sum(len(record.systems) for record in records)
