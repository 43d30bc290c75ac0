"""Model cards and exports: from a run's own record, readable by the Hub's classes, nothing overwritten."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from adapter_cases import TINY, save_adapter
from huggingface_hub import ModelCard
from run_cases import entry, write_run

from helpers import __main__ as command_line
from helpers import models
from helpers.errors import ModelError, ParameterError, RunError
from helpers.evaluation import before_after
from helpers.evaluation.intervals import wilson
from helpers.reports.export import commands, export, write_card
from helpers.runs import risks

REPORTS: dict[str, Any] = {
    "snli": {"source": "stanfordnlp/snli", "licence": "cc-by-sa-4.0", "sizes": {"train": 600, "test": 90}},
    "recipes": {"source": "generator", "licence": "synthetic", "sizes": {"train": 200, "test": 40}},
}
CLAIMS = [
    {"sentence": "it beats the base", "holds": True, "found": "p < 0.001", "checked": True},
    {"sentence": "it keeps what it knew", "holds": False, "found": "perplexity +3", "checked": False},
    {"sentence": "it looks at pictures", "holds": None, "found": "it reads text only", "checked": False},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter for each of ``REPORTS``; to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    for name in REPORTS:
        save_adapter(folder / name)
    return folder


@pytest.fixture
def run(tmp_path: Path, trained: Path) -> Path:
    notes = {"data": REPORTS, "claims": CLAIMS, "outcomes": {"fixed": 30, "broken": 4, "wrong both times": 7}}
    folder = write_run(tmp_path, "mine", notebook="10_adapters", notes=notes, model_id=TINY, lora_r=4)
    shutil.copytree(trained, folder / "adapter")
    systems = {"base: snli": {"accuracy": entry(0.33)}, "snli: snli": {"accuracy": entry(0.85)}}
    systems |= {"snli: recipes": {"perplexity": entry(9.0)}, "cat: snli": {"accuracy": entry(0.6)}}
    (folder / "metrics.json").write_text(json.dumps({"systems": systems, "tests": []}))
    return folder


def test_the_card_is_read_by_the_hubs_own_classes(run: Path, tmp_path: Path) -> None:
    file = write_card(run, "snli", tmp_path / "README.md")
    card = ModelCard.load(file)
    assert card.data.library_name == "peft" and card.data.datasets == ["stanfordnlp/snli"]
    assert card.data.base_model is None, "a tiny checkpoint is no model of the Hub"
    results = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert results == {
        ("base: snli", "accuracy"): 0.33, ("snli: snli", "accuracy"): 0.85, ("snli: recipes", "perplexity"): 9.0,
    }  # fmt: skip


def test_the_card_says_what_the_run_recorded(run: Path, tmp_path: Path) -> None:
    text = write_card(run, "snli", tmp_path / "README.md").read_text()
    for part in (
        "Base: `tiny/llama`, licence: Apache-2.0", "stanfordnlp/snli, train 600, test 90; licence: cc-by-sa-4.0",
        "- lora_r: 4", "| snli: snli |", "0.85 [0.80, 0.90]", "does not hold: it keeps what it knew (perplexity +3)",
        "4 test answers: broken", "7 test answers: wrong both times", "it looks at pictures: it reads text only",
        "1 min 00 s", "energy was not measured",
    ):  # fmt: skip
        assert part in text, part
    assert "cat: snli" not in text, "another adapter's results"
    assert "it beats the base" not in text.split("## Where it fails")[1]


def test_the_card_of_one_adapter_tells_its_own_data_from_those_it_was_only_tested_on(run: Path, tmp_path: Path) -> None:
    card = ModelCard.load(write_card(run, "recipes", tmp_path / "README.md"))
    assert card.data.datasets is None, "the pairs were not trained on"
    assert "- Data (recipes): generator, train 200, test 40; licence: synthetic" in card.text
    assert "- Tested only, not trained on (snli): stanfordnlp/snli, test 90; licence: cc-by-sa-4.0" in card.text
    assert "n_train" not in card.text, "one number for tasks of several sizes: the data say each"


@pytest.mark.parametrize("p, told", [(0.6, True), (None, True), (0.01, False)])
def test_where_an_adapter_is_not_told_from_the_base_the_card_says_so(
    run: Path, tmp_path: Path, p: float | None, told: bool
) -> None:
    row = {"b": "base: snli", "metric": "accuracy", "difference": 0.01, "low": -0.1, "high": 0.1, "p_value": p}
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["tests"] = [row | {"a": a, "test": "exact McNemar"} for a in ("snli: snli", "cat: snli")]
    (run / "metrics.json").write_text(json.dumps(metrics))
    shown = write_card(run, "snli", tmp_path / "README.md").read_text().split("## Where it fails")[1]
    assert shown.count("no clear difference from the base in accuracy: +0.010 [-0.100, +0.100], p = ") == told


def test_energy_is_an_estimate_that_says_so(run: Path, tmp_path: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    info |= {"hardware": {"device": "cuda", "device_name": "Tesla T4"}, "wall_time_s": 3600.0}
    (run / "run.json").write_text(json.dumps(info))
    text = write_card(run, "snli", tmp_path / "README.md").read_text()
    assert "energy was not measured; 70 W for all of that time would be 0.07 kWh, about 0.03 kg of CO2" in text


def test_energy_that_was_measured_stands_on_the_card(run: Path, tmp_path: Path) -> None:
    watts = {"mean": 40.0, "low": 20.0, "high": 68.0}
    read = {
        "of": "GPU",
        "how": "nvidia-smi",
        "joules": 144_000.0,
        "measured_s": 3600.0,
        "readings": 720,
        "watts": watts,
    }
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"energy": read}))
    text = write_card(run, "snli", tmp_path / "README.md").read_text()
    assert "energy of the GPU: 0.04 kWh (nvidia-smi, 720 readings in 1 h 00 min: 40 W, 95 % of the time between" in text
    assert "20 and 68), about 0.018 kg of CO2" in text and "was not measured" not in text.split("## Time and energy")[1]


def with_risks(folder: Path, rows: list[Any], finished: str = "2026-01-01", **info: Any) -> None:
    """Give a run's record measurements of risks."""
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | {"risks": rows}))
    told = json.loads((folder / "run.json").read_text()) | {"finished": finished} | info
    (folder / "run.json").write_text(json.dumps(told))


def test_risks_stand_on_the_card_with_those_of_the_lessons_beside(run: Path, tmp_path: Path) -> None:
    root = run.parents[1]
    checks = before_after.shares([1, 0, 1, 1], [0, 0, 0, 1], "fulfilled", ("base", "snli"))
    with_risks(run, [risks.row("misalignment", "instructions fulfilled (share)", checks)])
    bits = before_after.means([1.0, 2.0, 1.4], [8.0, 9.0, 7.5], "exposure", (0, 10))
    for name, finished, measure in (("old", "2026-01-01", "older"), ("new", "2026-02-01", "exposure (bits)")):
        beside = write_run(root, name, notebook="04_qlora_instruct", model_id=TINY)
        with_risks(beside, [risks.row("privacy", measure, bits)], finished)
    for name, other in (("failed", {"status": "failed"}), ("elsewhere", {"profile": "cpu"})):
        beside = write_run(root, name, notebook="03_qlora_nli", **other)
        with_risks(beside, [risks.row("overfitting", f"of the run {name}", wilson(1, 4))])
    text = write_card(run, "snli", tmp_path / "README.md").read_text()
    shown = text.split("## Risks, as measured")[1].split("## Where it fails")[0]
    assert "| privacy | exposure (bits) | before 1.47 [0.22, 2.72] (n = 3); after 8.17 [" in shown
    assert "| misalignment | instructions fulfilled (share) | base 0.75 [0.30, 0.95] (n = 4); snli 0.25" in shown
    assert f"| 04, {TINY} |" in shown and f"| 10, {TINY} |" in shown and "p = 0.250, exact sign flips of 3" in shown
    assert "older" not in shown and "of the run" not in shown, "the newest finished run of the same profile"
    assert shown.index("| privacy |") < shown.index("| misalignment |")
    assert "adapters that were trained there" in shown
    missing = shown.split("Not measured by any finished run beside this one: ")[1]
    assert [part.split(" (")[0] for part in missing.split("; ")] == ["bias", "overfitting", "opacity"]
    assert "lesson 03" in missing


def test_a_card_without_a_measured_risk_says_which_lessons_measure_them(run: Path, tmp_path: Path) -> None:
    text = write_card(run, "snli", tmp_path / "README.md").read_text()
    shown = text.split("## Risks, as measured")[1].split("## Where it fails")[0]
    assert "|" not in shown and shown.count("lesson") == 5 + shown.count("lessons")


@pytest.mark.parametrize("to", ["merged", "gguf", "card"])
def test_each_form_is_written_once(run: Path, to: str) -> None:
    told = export(run, to, "recipes")
    path = Path(told.splitlines()[0])
    assert path.exists() and path.parent == run / "exports"
    if to != "card":
        assert str(path.resolve()) in told.splitlines()[1], "commands with the real path"
    with pytest.raises(RunError, match="nothing is overwritten"):
        export(run, to, "recipes")
    assert [p.name for p in (run / "exports").iterdir()] == [path.name], "nothing else stays"


def test_merged_weights_load_without_peft(run: Path) -> None:
    export(run, "merged", "snli")
    assert models.load(str(run / "exports" / "snli-merged"), dtype="float32").tokenizer.chat_template


def test_what_cannot_be_exported(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="holds 2 adapters. Name one: recipes, snli"):
        export(run, "merged")
    with pytest.raises(ParameterError, match="--to 'onnx' is not known. Use one of merged, gguf, card"):
        export(run, "onnx", "snli")
    shutil.copytree(run / "adapter" / "snli", tmp_path / "alone")
    with pytest.raises(RunError, match="is no run's folder, so nothing is known of its data"):
        export(tmp_path / "alone", "card")


def test_the_command_line(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["helpers", "export", str(run), "--to", "merged"])
    assert command_line.main() == 2
    assert capsys.readouterr().err == (
        f"ParameterError: {run / 'adapter'} holds 2 adapters. Name one: recipes, snli.\n"
    )


def test_commands_name_the_folders_that_are_there(tmp_path: Path) -> None:
    ranks: dict[str, dict[str, Any]] = {"x": {"r": 4, "rank_pattern": {"q_proj": 24}}, "y": {"r": 16}}
    for name, config in ranks.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config))
    lines = commands(base="a/b", adapters={"x": tmp_path / "x", "y": tmp_path / "y"})
    assert f"--lora-modules x={tmp_path}/x y={tmp_path}/y" in lines[0] and "--max-loras 2" in lines[0]
    assert "--max-lora-rank 32 " in lines[0], "the limit of vLLM's own above the largest rank"
    assert "--max-lora-rank 16 " in commands(base="a/b", adapters={"y": tmp_path / "y"})[0]
    with pytest.raises(ModelError, match="holds no adapter with a rank"):
        commands(base="a/b", adapters={"z": tmp_path / "z"})
    assert [line.split()[0] for line in commands(gguf=tmp_path / "m.gguf")] == ["llama.cpp", "Ollama"]
