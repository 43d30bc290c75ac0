"""Recorded runs: what is kept of a run, and that README and notebooks say what the records say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers.__main__ import app
from helpers.config.lessons import LESSONS
from helpers.errors import RunError
from helpers.reports import recorded, results
from helpers.reports.documents import rewrite
from helpers.reports.recorded import END, FOLDER, START
from helpers.runs.cells import seconds_of_cells
from helpers.runs.records import read_run, read_runs

ROOT = Path(__file__).resolve().parents[2]
QLORA = "04_qlora_instruct"


def estimate(value: float, n: int = 150) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": n}


def made_up_run(output_dir: Path, name: str = "cpu-recipes-seed0", **changes: Any) -> Path:
    """A finished run as ``helpers.runs.run`` writes it, with everything that must not be kept."""
    folder = output_dir / QLORA / name
    (folder / "figures").mkdir(parents=True)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "predictions.jsonl").write_text("{}\n")
    (folder / "history.csv").write_text("step,loss\n1,2.5\n2,2.0\n")
    info = {
        "notebook": QLORA,
        "run_name": name,
        "status": "finished",
        "error": None,
        "finished": "2026-05-01T10:00:00+00:00",
        "wall_time_s": 754.0,
        "peak_rss_gb": 3.21,
        "peak_cuda_gb": None,
        "settings": {
            "notebook": QLORA, "profile": "cpu", "profile_reason": "asked for", "task": "recipes",
            "model_id": "HuggingFaceTB/SmolLM2-135M-Instruct", "dataset": "wikibooks", "n_train": 1500,
            "n_eval": 300, "epochs": 1.0, "quant": "nf4", "run_name": name, "output_dir": str(output_dir),
        },
        "given": ["profile", "output_dir"],
        "notes": {
            "from": f"{output_dir}/{QLORA}/checkpoints/checkpoint-7",
            "windows": r"read C:\Users\somebody\data\mine.csv twice",
            "address": "https://example.com/a/b/c and salt/pepper/oil, 1/2 cup",
        },
        "fallbacks": [{"what": "no cache", "why": "/home/somebody/.cache/peft-lab is full"}],
        "git": {"commit": "0123456789abcdef", "changed": False},
        "versions": {"torch": "2.13.0+cpu", "peft": "0.21.2", "nbclient": "0.11.0"},
        "hardware": {
            "platform": "local", "device": "cpu", "device_name": "Test CPU", "cpu_count": 2, "ram_gb": 25.3,
            "disk_free_gb": 79.4, "dtype": "bfloat16", "cpu_isa": "amx_bf16", "torch_threads": 2, "python": "3.11.7",
            "problems": [],
        },
        "process": {"pid": 4711, "create_time": 1.0, "host": "secret-host"},
    }  # fmt: skip
    info.update(changes)
    (folder / "run.json").write_text(json.dumps(info))
    systems = {
        "zero-shot": {"perplexity": estimate(12.3), "accuracy": estimate(0.25, 300)},
        "qlora": {"perplexity": estimate(8.1), "accuracy": estimate(0.43, 300), "rougeL": estimate(0.211)},
    }
    test = {"a": "qlora", "b": "zero-shot", "metric": "accuracy", "difference": 0.18, "low": 0.1, "high": 0.26}
    metrics = {"systems": systems, "tests": [test | {"p_value": 0.0004, "test": "exact McNemar"}]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    cell = {"id": "a1", "cell_type": "code", "source": ["run.finish()"], "outputs": [], "execution_count": 1}
    cell["metadata"] = {"papermill": {"duration": 12.3456, "start_time": "2026-05-01T09:59:00"}, "tags": []}
    (folder / "notebook.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    noise = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    for figure in ("training", "differences", "quantisation"):
        Image.fromarray(noise).save(folder / "figures" / f"{figure}.png")
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A copy of README and notebooks without records."""
    root = tmp_path / "repo"
    (root / "notebooks").mkdir(parents=True)
    (root / "README.md").write_text(f"# Title\n\n{START}\nold\n{END}\n\nEnd.\n", encoding="utf-8")
    for name in LESSONS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", root / "notebooks")
    return root


def test_readme_and_notebooks_say_what_the_records_say() -> None:
    assert rewrite(recorded.documents(), check=True) == [], f"type: {recorded.COMMAND}"


def test_records_in_the_repository_are_small_and_name_no_machine() -> None:
    for (profile, notebook), record in recorded.read().items():
        assert record.status == "finished" and recorded.is_default(record), (profile, notebook)
        text = (record.folder / "run.json").read_text(encoding="utf-8")
        assert record.info == recorded._without_paths(record.info), (profile, notebook)
        assert not {"process", "output_dir", "host", "pid"} & (set(record.info) | set(record.info["settings"])), text
        pictures = list((record.folder / "figures").glob("*"))
        assert len(pictures) <= recorded.MAX_FIGURES
        assert all(p.suffix == ".png" and p.stat().st_size <= recorded.MAX_FIGURE_BYTES for p in pictures)


def test_collect_keeps_what_readers_need_and_nothing_of_the_machine(tmp_path: Path, repo: Path) -> None:
    made_up_run(tmp_path / "outputs")
    (folder,) = recorded.collect(tmp_path / "outputs", repo)
    assert folder == repo / FOLDER / "cpu" / QLORA
    kept = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert kept == ["figures/differences.png", "figures/training.png", "history.csv", "metrics.json", "run.json"]
    text = (folder / "run.json").read_text()
    for secret in (str(tmp_path), "secret-host", "4711", "somebody", "disk_free_gb", "nbclient"):
        assert secret not in text, secret
    record = read_run(folder)
    assert record.status == "finished" and record.systems["qlora"]["rougeL"]["n"] == 150
    assert record.info["notes"] == {
        "from": "checkpoint-7",
        "windows": "read mine.csv twice",
        "address": "https://example.com/a/b/c and salt/pepper/oil, 1/2 cup",
    }
    assert record.info["settings"]["epochs"] == 1.0 and record.info["versions"]["torch"] == "2.13.0+cpu"
    assert record.info["hardware"] == {
        "platform": "local", "device": "cpu", "device_name": "Test CPU", "cpu_count": 2, "cpu_isa": "amx_bf16",
        "torch_threads": 2, "ram_gb": 25.3, "dtype": "bfloat16", "python": "3.11.7",
    }  # fmt: skip
    assert record.info["git"]["commit"].startswith("0123")
    assert list(record.info["cell_seconds"].values()) == [12.35] and set(record.info["cell_seconds"]) == set(
        seconds_of_cells(tmp_path / "outputs" / QLORA / "cpu-recipes-seed0" / "notebook.ipynb")
    )
    # a second look replaces the record and leaves no figure behind
    (folder / "figures" / "old.png").write_bytes(b"")
    recorded.collect(tmp_path / "outputs", repo)
    assert not (folder / "figures" / "old.png").exists()


def test_only_finished_default_runs_are_kept(tmp_path: Path, repo: Path) -> None:
    place = tmp_path / "outputs"
    made_up_run(place, status="failed")
    made_up_run(place, "cpu-recipes-seed0-lora_r=8", given=["profile", "lora_r"])
    made_up_run(place, "cpu-recipes-seed1", given=["profile", "seed"])
    assert len(read_runs(place)) == 3
    assert recorded.collect(place, repo) == []
    shutil.rmtree(place)
    made_up_run(place, given=["profile", "lora_r", "run_name"])  # the default's name on another run
    assert recorded.collect(place, repo) == []


@pytest.mark.parametrize("limit", [60_000, 4_000])
def test_pictures_are_made_small(tmp_path: Path, limit: int) -> None:
    folder = made_up_run(tmp_path)
    data = recorded.small_picture(folder / "figures" / "training.png", limit)
    assert len(data) <= limit
    (tmp_path / "small.png").write_bytes(data)
    with Image.open(tmp_path / "small.png") as picture:
        assert picture.format == "PNG"
        width, height = picture.size
    assert width / height == pytest.approx(5 / 3, rel=0.1)
    assert recorded.small_picture(tmp_path / "small.png", limit) == data  # small enough: untouched


def test_tables_show_the_records_and_say_what_is_missing(tmp_path: Path, repo: Path) -> None:
    empty = recorded.read(repo)
    assert "No `cpu` run is recorded yet." in results.readme_block(empty, FOLDER)
    rows = results.notebook_block(QLORA, empty).splitlines()
    assert rows[0] == "| profile | model | data | peak memory | time | computed in |"
    assert "tiny/llama" in rows[2] and rows[2].endswith("| not yet recorded | – | – |")
    assert "Llama-2-7b" in rows[4] and rows[4].endswith("| not yet measured on a GPU | – | – |")

    made_up_run(tmp_path / "outputs")
    recorded.collect(tmp_path / "outputs", repo)
    found = recorded.read(repo)
    row = results.notebook_block(QLORA, found).splitlines()[3]
    assert row == (
        "| `cpu` | `HuggingFaceTB/SmolLM2-135M-Instruct`, 4-bit | wikibooks, 1,500 train, 300 test "
        "| 3.2 GB RAM | 12 min 34 s | bfloat16, AMX-BF16, 2 threads |"
    )
    block = results.readme_block(found, FOLDER)
    link = f"[04]({FOLDER}/cpu/{QLORA})"
    assert f"| {link} | zero-shot | 12.30 [12.25, 12.35] |  | 0.25 [0.20, 0.30] | 150 / 300 |" in block
    assert "| 04 | qlora − zero-shot | accuracy | +0.180 [+0.100, +0.260] | < 0.001 | exact McNemar |" in block
    assert "Test CPU, 2 cores, 25 GB RAM; computed in bfloat16, AMX-BF16, 2 threads; torch 2.13.0, peft 0.21.2" in block
    assert "; commit `0123456`" in block
    assert "Time and peak memory of each recorded run (`cpu` in bfloat16, AMX-BF16, 2 threads):" in block
    assert f"[04 training]({FOLDER}/cpu/{QLORA}/figures/training.png)" in block
    assert "| 04 · QLoRA instruction tuning | not yet recorded | 12 min 34 s, 3.2 GB RAM |" in block
    assert results.peak_memory({"peak_cuda_gb": 14.24, "peak_rss_gb": 5.0}) == "14.2 GB GPU, 5.0 GB RAM"
    assert results.markdown_table([{"a": "x|y"}]).splitlines()[1:] == ["|---|", "| x\\|y |"]


def test_tables_say_what_an_older_record_does_not_hold(tmp_path: Path, repo: Path) -> None:
    folder = made_up_run(tmp_path / "outputs")
    info = json.loads((folder / "run.json").read_text())
    del info["hardware"]["cpu_isa"], info["hardware"]["torch_threads"]
    (folder / "run.json").write_text(json.dumps(info))
    recorded.collect(tmp_path / "outputs", repo)
    found = recorded.read(repo)
    told = "bfloat16 (instruction set, threads not recorded)"
    assert results.notebook_block(QLORA, found).splitlines()[3].endswith(f"| {told} |")
    assert f"computed in {told}; torch" in results.readme_block(found, FOLDER)
    assert "cpu_isa" not in found["cpu", QLORA].info["hardware"], "nothing is invented"


def test_a_run_in_another_number_format_lies_beside_the_usual_one(tmp_path: Path, repo: Path) -> None:
    folder = made_up_run(tmp_path / "outputs")
    recorded.collect(tmp_path / "outputs", repo)
    alone = results.readme_block(recorded.read(repo), FOLDER)
    for name, changes in {
        "run.json": {"dtype": "float32", "cpu_isa": "avx2"}, "metrics.json": {"value": 0.25},
    }.items():  # fmt: skip
        read = json.loads((folder / name).read_text())
        inside = read["hardware"] if name == "run.json" else read["systems"]["qlora"]["accuracy"]
        inside |= changes
        (folder / name).write_text(json.dumps(read))
    (kept,) = recorded.collect(tmp_path / "outputs", repo)
    assert kept == repo / FOLDER / "cpu-float32" / QLORA
    found = recorded.read(repo)
    assert list(found) == [("cpu", QLORA), ("cpu-float32", QLORA)]
    block = results.readme_block(found, FOLDER)
    both = "bfloat16, AMX-BF16, 2 threads | float32, AVX2, 2 threads"
    assert f"| lesson | system | metric | {both} |" in block and both not in alone
    assert "| 04 | qlora | accuracy | 0.43 [0.38, 0.48] | 0.25 [0.38, 0.48] |" in block
    assert block.count(f"{FOLDER}/cpu/{QLORA}") == alone.count(f"{FOLDER}/cpu/{QLORA}")
    assert results.notebook_block(QLORA, found) == results.notebook_block(QLORA, {("cpu", QLORA): found["cpu", QLORA]})


def test_rewrite_changes_the_blocks_and_nothing_else(tmp_path: Path, repo: Path) -> None:
    rewrite(recorded.documents(repo))
    assert rewrite(recorded.documents(repo), check=True) == [] and rewrite(recorded.documents(repo)) == []
    before = {p.name: p.read_text(encoding="utf-8") for p in repo.rglob("*.ipynb")}
    made_up_run(tmp_path / "outputs")
    recorded.collect(tmp_path / "outputs", repo)
    assert rewrite(recorded.documents(repo), check=True) == ["README.md", f"{QLORA}.ipynb"]
    assert rewrite(recorded.documents(repo)) == ["README.md", f"{QLORA}.ipynb"]
    assert rewrite(recorded.documents(repo), check=True) == []
    readme = (repo / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# Title\n\n{START}\n") and readme.endswith(f"\n{END}\n\nEnd.\n") and "old" not in readme
    for name, text in before.items():
        now = (repo / "notebooks" / name).read_text(encoding="utf-8")
        lines = [(a, b) for a, b in zip(text.splitlines(), now.splitlines(), strict=True) if a != b]
        assert len(lines) == (1 if name == f"{QLORA}.ipynb" else 0)  # one row of one table
    # a hand-edited number is found
    path = repo / "notebooks" / f"{QLORA}.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("12 min 34 s", "1 min 34 s"), encoding="utf-8")
    assert rewrite(recorded.documents(repo), check=True) == [f"{QLORA}.ipynb"]


def test_records_of_other_settings_are_named(tmp_path: Path, repo: Path) -> None:
    folder = made_up_run(tmp_path / "outputs")
    info = json.loads((folder / "run.json").read_text())
    info["settings"]["epochs"] = 7.0
    (folder / "run.json").write_text(json.dumps(info))
    recorded.collect(tmp_path / "outputs", repo)
    (line,) = recorded.outdated(repo)
    assert line.startswith(f"cpu {QLORA}: ") and "epochs 7.0, now " in line


def test_faults_are_one_line(tmp_path: Path, repo: Path) -> None:
    with pytest.raises(RunError, match="no single pair of"):
        recorded.replace_block("no marks", "", "README.md")
    with pytest.raises(RunError, match="no single pair of"):
        recorded.replace_block(f"{END}{START}", "", "README.md")
    with pytest.raises(RunError, match="0 cells"):
        recorded.notebook_text('{"cells": []}', "", "x.ipynb")
    (repo / "README.md").unlink()
    with pytest.raises(RunError, match="complete copy"):
        rewrite(recorded.documents(repo), check=True)
    made_up_run(tmp_path / "outputs")
    (folder,) = recorded.collect(tmp_path / "outputs", repo)
    folder.rename(folder.parent / "01_eda")
    with pytest.raises(RunError, match="is not a record of cpu 01_eda"):
        recorded.read(repo)


def test_command(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "repo_root", lambda: repo)
    made_up_run(tmp_path / "outputs")
    before = CliRunner().invoke(app, ["reference", "--check"])
    assert before.exit_code == 1 and "README.md: its table is not what" in before.stdout
    done = CliRunner().invoke(app, ["reference", "--output-dir", str(tmp_path / "outputs")])
    assert done.exit_code == 0 and "rewritten  README.md" in done.stdout and f"cpu/{QLORA}" in done.stdout
    after = CliRunner().invoke(app, ["reference", "--check"])
    assert (after.exit_code, after.stdout) == (0, "")


def test_the_recorded_cpu_run_supports_what_lesson_04_claims() -> None:
    """A real model on recipes it never saw: better in perplexity, ROUGE-L and accuracy, each with p < 0.01."""
    metrics = json.loads((ROOT / recorded.FOLDER / "cpu" / QLORA / "metrics.json").read_text())
    settings = json.loads((ROOT / recorded.FOLDER / "cpu" / QLORA / "run.json").read_text())["settings"]
    assert metrics["systems"]["qlora"]["rougeL"]["n"] == settings["n_generate"]
    tests = {t["metric"]: t for t in metrics["tests"] if (t["a"], t["b"]) == ("qlora", "zero-shot")}
    for metric, better in (("perplexity", -1), ("rougeL", 1), ("accuracy", 1)):
        assert tests[metric]["difference"] * better > 0 and tests[metric]["p_value"] < 0.01, tests[metric]
