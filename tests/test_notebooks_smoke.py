"""Every notebook runs in profile smoke, learns what it claims, and says the same twice; without a network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from helpers import execute
from helpers.records import RunRecord, is_complete, read_json, read_run
from helpers.settings import NOTEBOOKS, PARAMETERS

ROOT = Path(__file__).resolve().parent.parent
QLORA = "04_qlora_instruct"
NLI, SIDE_BY_SIDE = "03_qlora_nli", "09_evaluation"
PREFIX, VLM = "05_prefix_tuning", "06_lora_vlm"
PROMPTS, CAPTIONS = "07_compositional_prompts", "08_blip2_captioning"
SEEDS = (0, 1, 2)
SEEDED = (NLI, PREFIX, VLM, PROMPTS, CAPTIONS)  # lessons whose claims are checked for every seed

# Python imports a module of this name at start-up: every process of these tests, kernels included, refuses to
# look up or reach any other machine, and writes down that it was asked to.
GUARD = """
import os, socket
_LOCAL = {"127.0.0.1", "::1", "localhost", "", None, "0.0.0.0", socket.gethostname()}
def _check(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host not in _LOCAL:
        with open(os.environ["PEFT_LAB_TEST_CALLS"], "a") as file:
            file.write(f"{host}\\n")
        raise OSError(f"the network is forbidden in this test: {host}")
_look_up = socket.getaddrinfo
def getaddrinfo(host, *rest, **options):
    _check(host)
    return _look_up(host, *rest, **options)
socket.getaddrinfo = getaddrinfo
class Socket(socket.socket):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return super().connect(address)
    def connect_ex(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return super().connect_ex(address)
socket.socket = Socket
"""


@dataclass(frozen=True)
class SmokeRuns:
    """All notebooks once, 04 twice, 03 with every seed, 09 after all of them.

    ``calls`` is where attempts to reach the network were written down.
    """

    outcomes: dict[str, execute.Outcome]
    again: execute.Outcome
    seeds: dict[tuple[str, int], execute.Outcome]
    calls: Path


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD)
    calls = folder / "calls.txt"
    calls.touch()
    with pytest.MonkeyPatch.context() as patch:
        inherited = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([inherited] if inherited else [])]))
        patch.setenv("PEFT_LAB_TEST_CALLS", str(calls))
        # An empty cache: smoke needs no asset, and finds nothing that an earlier run left.
        patch.setenv("PEFT_LAB_CACHE", str(folder / "cache"))
        patch.setenv("HF_HOME", str(folder / "hf"))
        yield calls


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, offline: Path) -> SmokeRuns:
    place = tmp_path_factory.mktemp("outputs")
    first = place / "first"
    # The longest first, so that the two cores are busy to the end.
    jobs = execute.plan([QLORA], {}, profile="smoke", output_dir=place / "again")
    others = [(notebook, seed) for notebook in SEEDED for seed in SEEDS[1:]]
    for notebook, seed in others:
        jobs += execute.plan([notebook], {"seed": seed}, profile="smoke", output_dir=first)
    jobs += execute.plan(sorted(NOTEBOOKS, reverse=True), {}, profile="smoke", output_dir=first)
    again, *outcomes = execute.run_all(jobs, parallel=2, say=lambda line: None)
    rest = {outcome.notebook: outcome for outcome in outcomes[len(others) :]}
    seeds = dict(zip(others, outcomes, strict=False)) | {(notebook, SEEDS[0]): rest[notebook] for notebook in SEEDED}
    return SmokeRuns(rest, again, seeds, offline)


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
    mined = [t for t in record.tests if t["b"].endswith("bare word")]
    assert {t["a"].split(",")[0] for t in mined} == {"colour", "material"}
    assert all(t["difference"] > 0 and t["p_value"] < 0.01 for t in mined), "a caption's words beat bare words"
    (gain,) = (t for t in record.tests if (t["a"], t["b"], t["metric"]) == ("Troika", "zero-shot", "harmonic_mean"))
    assert gain["difference"] > 0 and gain["p_value"] < 0.01
    assert record.systems["colour, bare word"]["accuracy"]["n"] >= 200


@pytest.mark.parametrize("seed", SEEDS)
def test_captions_get_their_slots_right_with_every_seed(smoke: SmokeRuns, seed: int) -> None:
    record = seeded(smoke, CAPTIONS, seed)
    tuned = record.systems["repaired"]["slot_accuracy"]
    assert tuned["n"] >= 200 and tuned["value"] >= 0.80
    for other in ("zero-shot", "constant", "shuffled"):
        (test,) = (t for t in record.tests if (t["a"], t["b"]) == ("repaired", other))
        assert test["difference"] > 0 and test["p_value"] < 0.01, other
    assert record.systems["constant"]["rougeL"]["value"] > 0.7 > record.systems["constant"]["slot_accuracy"]["value"]


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


def test_the_same_notebook_twice_gives_identical_metrics(smoke: SmokeRuns) -> None:
    first, second = smoke.outcomes[QLORA].folder, smoke.again.folder
    assert first is not None and second is not None and first != second
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()


def test_nothing_reached_for_the_network(smoke: SmokeRuns) -> None:
    assert smoke.calls.read_text() == ""


def test_the_guard_does_forbid_the_network(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    calls = tmp_path / "calls.txt"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PEFT_LAB_TEST_CALLS": str(calls)}
    code = "import urllib.request; urllib.request.urlopen('http://huggingface.co', timeout=2)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "the network is forbidden" in done.stderr
    assert calls.read_text() == "huggingface.co\n"


def papermill(*words: str, cwd: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "papermill", *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=timeout)


def test_plain_papermill_works_without_our_command_line(tmp_path: Path, offline: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEFT_LAB_OUTPUT", str(tmp_path / "outputs"))
        words = ["notebooks/01_eda.ipynb", str(tmp_path / "out.ipynb"), "-p", "profile", "smoke"]
        done = papermill(*words, "-p", "seed", "1", cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    (info,) = (tmp_path / "outputs").glob("*/*/run.json")
    record = read_json(info)
    assert record["status"] == "finished" and record["settings"]["seed"] == 1


def test_plain_papermill_stops_at_an_unknown_parameter(tmp_path: Path) -> None:
    words = ["notebooks/00_start_here.ipynb", str(tmp_path / "out.ipynb"), "-p", "profil", "smoke"]
    done = papermill(*words, "-p", "output_dir", str(tmp_path), cwd=ROOT)
    assert done.returncode != 0
    assert "unknown parameter 'profil' (did you mean 'profile'?)" in done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_papermill_lists_every_parameter_with_its_comment(notebook: str, tmp_path: Path) -> None:
    done = papermill("--help-notebook", f"notebooks/{notebook}.ipynb", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    entries = re.split(r"\n  (?=\w+: )", done.stdout)[1:]
    listed = {entry.split(":")[0]: entry for entry in entries}
    assert tuple(listed) == NOTEBOOKS[notebook].parameters
    for name, entry in listed.items():
        head, _, comment = entry.partition("(default ")[2].partition(")")
        assert entry.startswith(f"{name}: {PARAMETERS[name].type.__name__} ") and head
        assert len(comment.strip()) > 3, entry


def kill_family(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a process and everything below it, kernels included: nothing gets to clean up."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=20)


def test_killed_in_training_and_resumed_ends_in_the_same_metrics(smoke: SmokeRuns, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "helpers", "run", "04", "--profile", "smoke", "--output-dir", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 300
    while not any(is_complete(path) for path in tmp_path.glob("*/*/checkpoints/checkpoint-*")):
        assert process.poll() is None and time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.2)
    kill_family(process)
    process.wait()
    (folder,) = (path.parent for path in tmp_path.glob("*/*/run.json"))
    assert read_run(folder).status == "interrupted"
    assert not (folder / "metrics.json").exists()

    done = subprocess.run([*words, "-p", "resume", "True"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    record = read_run(folder)
    assert record.status == "finished" and record.info["notes"]["resumed_from"].startswith("checkpoint-")
    whole = smoke.outcomes[QLORA].folder
    assert whole is not None
    assert (folder / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
