"""Every notebook runs in profile smoke and learns what it claims, without a network."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from conftest import attempts
from lesson_claims import (
    BASELINES,
    CAPTIONS,
    CLAIMS,
    LLM_ADAPTER,
    LOW_RANK,
    NLI,
    PREFIX,
    PROMPTS,
    QLORA,
    SIDE_BY_SIDE,
    VLM,
    baselines,
    instruct,
    shown,
)

from helpers.config.lessons import LESSONS
from helpers.runs import headless
from helpers.runs.records import read_run

SEEDS = (0, 1)  # a third one is run in profile full: see test_notebooks_full.py
SEEDED = tuple(CLAIMS)  # lessons whose claims are checked for every seed


@dataclass(frozen=True)
class SmokeRuns:
    """All notebooks once, some with every seed, 09 after all of them.

    ``calls``: attempts to reach the network.
    """

    outcomes: dict[str, headless.Outcome]
    seeds: dict[tuple[str, int], headless.Outcome]
    calls: list[str]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, empty_caches: None, warm_kernels: None) -> SmokeRuns:
    place = tmp_path_factory.mktemp("outputs")
    before = len(attempts())
    # The longest first, so that the two cores are busy to the end.
    others = [(notebook, seed) for notebook in SEEDED for seed in SEEDS[1:]]
    jobs = []
    for notebook, seed in others:
        jobs += headless.plan([notebook], {"seed": seed}, profile="smoke", output_dir=place)
    jobs += headless.plan(sorted(LESSONS, reverse=True), {}, profile="smoke", output_dir=place)
    outcomes = headless.run_all(jobs, parallel=2, say=lambda line: None)
    rest = {outcome.notebook: outcome for outcome in outcomes[len(others) :]}
    seeds = dict(zip(others, outcomes, strict=False)) | {(notebook, SEEDS[0]): rest[notebook] for notebook in SEEDED}
    return SmokeRuns(rest, seeds, attempts()[before:])


@pytest.mark.parametrize("notebook", LESSONS)
def test_notebook_finishes(smoke: SmokeRuns, notebook: str) -> None:
    outcome = smoke.outcomes[notebook]
    assert outcome.status == "finished", outcome.error
    assert outcome.folder is not None
    record = read_run(outcome.folder)
    assert record.status == "finished" and record.info["settings"]["profile"] == "smoke"
    assert record.info["fallbacks"] == []
    for name in ("notebook.ipynb", "notebook.html", "metrics.json"):
        assert (outcome.folder / name).stat().st_size > 0
    saved = list((outcome.folder / "figures").glob("*.png"))
    assert (outcome.folder / "notebook.ipynb").read_text(encoding="utf-8").count('"image/png"') >= len(saved)


@pytest.mark.parametrize("notebook", [BASELINES, NLI, QLORA, PREFIX, VLM, PROMPTS, CAPTIONS, LOW_RANK, LLM_ADAPTER])
def test_lessons_that_measure_record_systems_with_intervals(smoke: SmokeRuns, notebook: str) -> None:
    folder = smoke.outcomes[notebook].folder
    assert folder is not None
    record = read_run(folder)
    assert len(record.systems) >= 2
    for metrics in record.systems.values():
        for name, entry in metrics.items():
            assert list(entry)[:4] == ["value", "low", "high", "n"] and entry["n"] > 0
            assert set(entry) - {"value", "low", "high", "n"} <= {"groups"}
            assert entry["low"] <= entry["value"] <= entry["high"], name
            assert name in ("perplexity", "clip_score") or 0 <= entry["value"] <= 1, name
    assert (folder / "predictions.jsonl").stat().st_size > 0


def test_every_way_of_asking_is_compared(smoke: SmokeRuns) -> None:
    folder = smoke.outcomes[BASELINES].folder
    assert folder is not None
    baselines(read_run(folder))


def test_fine_tuning_beats_zero_shot(smoke: SmokeRuns) -> None:
    folder = smoke.outcomes[QLORA].folder
    assert folder is not None
    instruct(read_run(folder))
    assert (folder / "history.csv").read_text().count("\n") > 2
    assert any((folder / "adapter").glob("*.safetensors"))
    assert any((folder / "figures").glob("*.png"))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("notebook", SEEDED)
def test_the_claims_hold_with_every_seed(smoke: SmokeRuns, notebook: str, seed: int) -> None:
    outcome = smoke.seeds[notebook, seed]
    assert outcome.status == "finished", outcome.error
    assert outcome.folder is not None
    record = read_run(outcome.folder)
    assert (record.notebook, record.info["settings"]["seed"]) == (notebook, seed)
    CLAIMS[notebook](record)


def test_all_runs_are_compared_and_seeds_pooled(smoke: SmokeRuns) -> None:
    folder = smoke.outcomes[SIDE_BY_SIDE].folder
    assert folder is not None
    notes = read_run(folder).info["notes"]
    assert len(notes["compared"]) == len(LESSONS) - 1 + len(SEEDED) * (len(SEEDS) - 1)
    assert set(notes["answers"]) >= {"04 missing"} and notes["tests"]["all"] >= 10
    said = shown(folder)
    assert "No ratings exist" in said and "SIMULATED rater" in said
    assert "spread (sd)" in said and "one seed of each experiment so far" not in said
    assert (folder / "rating_sheet.html").is_file() and (folder / "rating_key.json").is_file()


def test_nothing_reached_for_the_network(smoke: SmokeRuns) -> None:
    assert not smoke.calls
