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
from helpers.errors import ParameterError, RunError
from helpers.reports.export import commands, export, write_card

REPORTS: dict[str, Any] = {
    "snli": {"source": "stanfordnlp/snli", "licence": "cc-by-sa-4.0", "sizes": {"train": 600, "test": 90}},
    "recipes": {"source": "generator", "licence": "synthetic", "sizes": {"train": 200, "test": 40}},
}
CLAIMS = [
    {"sentence": "it beats the base", "holds": True, "found": "p < 0.001", "checked": True},
    {"sentence": "it keeps what it knew", "holds": False, "found": "perplexity +3", "checked": False},
    {"sentence": "it looks at pictures", "holds": None, "found": "it reads text only", "checked": False},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    notes = {"data": REPORTS, "claims": CLAIMS, "outcomes": {"fixed": 30, "broken": 4, "wrong both times": 7}}
    folder = write_run(tmp_path, "mine", notebook="10_adapters", notes=notes, model_id=TINY, lora_r=4)
    for name in REPORTS:
        save_adapter(folder / "adapter" / name)
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


def test_energy_is_an_estimate_that_says_so(run: Path, tmp_path: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    info |= {"hardware": {"device": "cuda", "device_name": "Tesla T4"}, "wall_time_s": 3600.0}
    (run / "run.json").write_text(json.dumps(info))
    text = write_card(run, "snli", tmp_path / "README.md").read_text()
    assert "energy was not measured; 70 W for all of that time would be 0.07 kWh, about 0.03 kg of CO2" in text


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
    lines = commands(base="a/b", adapters={"x": tmp_path / "x", "y": tmp_path / "y"})
    assert f"--lora-modules x={tmp_path}/x y={tmp_path}/y" in lines[0] and "--max-loras 2" in lines[0]
    assert [line.split()[0] for line in commands(gguf=tmp_path / "m.gguf")] == ["llama.cpp", "Ollama"]
