"""Every notebook runs in profile smoke and learns what it claims, without a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import attempts

from helpers import execute
from helpers.records import RunRecord, read_run
from helpers.settings import NOTEBOOKS

QLORA = "04_qlora_instruct"
NLI, SIDE_BY_SIDE = "03_qlora_nli", "09_evaluation"
PREFIX, VLM = "05_prefix_tuning", "06_lora_vlm"
PROMPTS, CAPTIONS = "07_compositional_prompts", "08_blip2_captioning"
SEEDS = (0, 1, 2)
SEEDED = (NLI, PREFIX, VLM, PROMPTS, CAPTIONS)  # lessons whose claims are checked for every seed


@dataclass(frozen=True)
class SmokeRuns:
    """All notebooks once, some with every seed, 09 after all of them.

    ``calls``: attempts to reach the network.
    """

    outcomes: dict[str, execute.Outcome]
    seeds: dict[tuple[str, int], execute.Outcome]
    calls: list[str]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, empty_caches: None) -> SmokeRuns:
    place = tmp_path_factory.mktemp("outputs")
    before = len(attempts())
    # The longest first, so that the two cores are busy to the end.
    others = [(notebook, seed) for notebook in SEEDED for seed in SEEDS[1:]]
    jobs = []
    for notebook, seed in others:
        jobs += execute.plan([notebook], {"seed": seed}, profile="smoke", output_dir=place)
    jobs += execute.plan(sorted(NOTEBOOKS, reverse=True), {}, profile="smoke", output_dir=place)
    outcomes = execute.run_all(jobs, parallel=2, say=lambda line: None)
    rest = {outcome.notebook: outcome for outcome in outcomes[len(others) :]}
    seeds = dict(zip(others, outcomes, strict=False)) | {(notebook, SEEDS[0]): rest[notebook] for notebook in SEEDED}
    return SmokeRuns(rest, seeds, attempts()[before:])


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_finishes(smoke: SmokeRuns, notebook: str) -> None:
    outcome = smoke.outcomes[notebook]
    assert outcome.status == "finished", outcome.error
    assert outcome.folder is not None
    record = read_run(outcome.folder)
    assert record.status == "finished" and record.info["settings"]["profile"] == "smoke"
    assert record.info["fallbacks"] == []
    for name in ("notebook.ipynb", "notebook.html", "metrics.json"):
        assert (outcome.folder / name).stat().st_size > 0


@pytest.mark.parametrize("notebook", ["02_zero_shot_baselines", NLI, QLORA, PREFIX, VLM, PROMPTS, CAPTIONS])
def test_lessons_that_measure_record_systems_with_intervals(smoke: SmokeRuns, notebook: str) -> None:
    folder = smoke.outcomes[notebook].folder
    assert folder is not None
    record = read_run(folder)
    assert len(record.systems) >= 2
    for metrics in record.systems.values():
        for name, entry in metrics.items():
            assert list(entry) == ["value", "low", "high", "n"] and entry["n"] > 0
            assert entry["low"] <= entry["value"] <= entry["high"], name
            assert name in ("perplexity", "clip_score") or 0 <= entry["value"] <= 1, name
    assert (folder / "predictions.jsonl").stat().st_size > 0


def test_fine_tuning_beats_zero_shot(smoke: SmokeRuns) -> None:
    folder = smoke.outcomes[QLORA].folder
    assert folder is not None
    record = read_run(folder)
    for metric, better in (("perplexity", -1), ("rougeL", 1)):
        # Comparisons of a tuned system with the untouched one, turned so that the tuned one comes first.
        gains = [
            (test["p_value"], test["difference"] * (-1 if "zero" in test["a"] else 1))
            for test in record.tests
            if test["metric"] == metric and ("zero" in test["a"]) != ("zero" in test["b"])
        ]
        assert gains, f"no paired test on {metric} against zero-shot"
        assert any(p < 0.01 and gain * better > 0 for p, gain in gains), gains
    assert (folder / "history.csv").read_text().count("\n") > 2
    assert any((folder / "adapter").glob("*.safetensors"))
    assert any((folder / "figures").glob("*.png"))


def _outputs(folder: Path) -> str:
    """What an executed notebook printed and showed, as text; not its source."""
    cells = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join("".join(text) for text in texts)


def seeded(smoke: SmokeRuns, notebook: str, seed: int) -> RunRecord:
    """The finished run of one lesson with one seed."""
    outcome = smoke.seeds[notebook, seed]
    assert outcome.status == "finished", outcome.error
    assert outcome.folder is not None
    record = read_run(outcome.folder)
    assert (record.notebook, record.info["settings"]["seed"]) == (notebook, seed)
    return record


@pytest.mark.parametrize("seed", SEEDS)
def test_the_classifier_learns_with_every_seed(smoke: SmokeRuns, seed: int) -> None:
    record = seeded(smoke, NLI, seed)
    tuned, before = (record.systems[name]["accuracy"] for name in ("qlora", "zero-shot"))
    assert tuned["n"] >= 300 and tuned["value"] >= 0.85
    assert before["low"] <= 1 / 3 <= before["high"], "nobody taught it these words"
    (test,) = (t for t in record.tests if (t["b"], t["metric"]) == ("zero-shot", "accuracy"))
    assert test["difference"] > 0 and test["p_value"] < 0.001 and "McNemar" in test["test"]


@pytest.mark.parametrize("seed", SEEDS)
def test_prefixes_learn_with_every_seed(smoke: SmokeRuns, seed: int) -> None:
    record = seeded(smoke, PREFIX, seed)
    before, broken, *tuned = (
        record.systems[n] for n in ("zero-shot", "as published, higher rate", "prefix", "embedding")
    )
    assert before["accuracy"]["n"] >= 200
    for measured in tuned:
        assert measured["valid_rate"]["value"] == 1, "it answers"
        assert measured["accuracy"]["value"] >= 0.60 and measured["accuracy"]["low"] > before["accuracy"]["high"]
    assert broken["valid_rate"]["value"] <= 0.7, "the published collator takes the answers away"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_model_that_sees_learns_with_every_seed(smoke: SmokeRuns, seed: int) -> None:
    record = seeded(smoke, VLM, seed)
    before, gold, teacher = (record.systems[name] for name in ("zero-shot", "gold", "teacher"))
    assert gold["accuracy"]["n"] >= 200 and gold["accuracy"]["value"] >= 0.75
    assert min(gold["accuracy"]["low"], teacher["accuracy"]["low"]) > before["accuracy"]["high"]
    assert min(gold["valid_rate"]["value"], teacher["valid_rate"]["value"]) == 1
    (blind,) = (t for t in record.tests if t["b"] == "gold, blind")
    assert blind["difference"] >= 0.25 and blind["p_value"] < 0.001


@pytest.mark.parametrize("seed", SEEDS)
def test_words_are_found_and_recombined_with_every_seed(smoke: SmokeRuns, seed: int) -> None:
    record = seeded(smoke, PROMPTS, seed)
    (mined,) = (t for t in record.tests if t["b"] == "bare words")
    assert mined["difference"] > 0 and mined["p_value"] < 0.01, "words in a sentence beat bare words"
    (gain,) = (t for t in record.tests if (t["a"], t["b"], t["metric"]) == ("Troika", "zero-shot", "harmonic_mean"))
    assert gain["difference"] > 0 and gain["p_value"] < 0.01
    assert record.systems["bare words"]["accuracy"]["n"] >= 200


@pytest.mark.parametrize("seed", SEEDS)
def test_captions_get_their_slots_right_with_every_seed(smoke: SmokeRuns, seed: int) -> None:
    record = seeded(smoke, CAPTIONS, seed)
    tuned = record.systems["repaired"]["slot_accuracy"]
    assert tuned["n"] >= 200 and tuned["value"] >= 0.80
    for other in ("zero-shot", "constant", "shuffled"):
        (test,) = (t for t in record.tests if (t["a"], t["b"]) == ("repaired", other))
        assert test["difference"] > 0 and test["p_value"] < 0.01, other
    constant = record.systems["constant"]
    assert constant["rougeL"]["value"] > 0.65 and constant["slot_accuracy"]["value"] < 0.3, "the frame gives it away"


def test_all_runs_are_compared_and_seeds_pooled(smoke: SmokeRuns) -> None:
    folder = smoke.outcomes[SIDE_BY_SIDE].folder
    assert folder is not None
    notes = read_run(folder).info["notes"]
    assert len(notes["compared"]) == len(NOTEBOOKS) - 1 + len(SEEDED) * (len(SEEDS) - 1)
    assert set(notes["answers"]) >= {"04 missing"} and notes["tests"]["all"] >= 10
    shown = _outputs(folder)
    assert "No ratings exist" in shown and "SIMULATED rater" in shown
    assert "spread (sd)" in shown and "one seed of each experiment so far" not in shown
    assert (folder / "rating_sheet.html").is_file() and (folder / "rating_key.json").is_file()


def test_nothing_reached_for_the_network(smoke: SmokeRuns) -> None:
    assert not smoke.calls
