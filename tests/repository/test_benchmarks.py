"""The benchmarks run from a plain checkout, compare equal answers and write what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from helpers.errors import ParameterError, RunError
from helpers.reports import measured
from helpers.runs import benchmarks

ROOT = Path(__file__).resolve().parents[2]


def test_inference_speed(tmp_path: Path) -> None:
    words = ["--repeats", "2", "--rows", "10", "--new-tokens", "4", "--output-dir", str(tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks" / "inference_speed.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "inference_speed-tiny_llama.json").read_text(encoding="utf-8"))
    assert set(record["ratios"]) == {"dequantised", "shared prompt", "shared examples", "sorted batches"}
    for name, result in record["ratios"].items():
        assert 0 < result["min"] <= result["median"] <= result["max"] and len(result["ratios"]) == 2
        assert f"{name:<16} {result['median']:.2f}x" in done.stdout
    assert record["model"] == "tiny/llama" and record["versions"]["torch"]


def test_embedding_memory(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "embedding_memory.py"), "--pictures", "70"]
    command += ["--output-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "embedding_memory-tiny_clip.json").read_text(encoding="utf-8"))
    assert set(record["ways"]) == {"streamed", "all at once"}
    for name, way in record["ways"].items():
        assert way["unreadable"] == 1 and way["runs"][0]["vectors"][0] == 69
        assert way["images_per_s"] > 0 and f"{name:<12}" in done.stdout


def _record(name: str, tmp_path: Path, *words: str, command: bool = False) -> tuple[dict[str, Any], str]:
    """What a benchmark wrote and printed, on the tiny Llama in float32, one turn of each way.

    Args:
        command: as one types it; else in this process, which has imported the libraries.
    """
    given = ["--model", "tiny/llama", "--dtype", "float32", "--repeats", "1", "--output-dir", str(tmp_path), *words]
    if command:
        line = [sys.executable, "-m", "helpers", "bench", name, *given]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        printed = done.stdout
    else:
        with redirect_stdout(StringIO()) as said, mock.patch.object(sys, "argv", [name, *given]):
            import_module(f"benchmarks.{name}").main()
        printed = said.getvalue()
    (path,) = tmp_path.glob(f"{name}-llama-float32-*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert path.with_suffix(".png").stat().st_size > 1000
    assert record["benchmark"] == name and record["dtype"] == "float32" and record["threads"] >= 1
    assert record["ways"]["ours"]["times_ours"] == 1
    for way in record["ways"].values():
        assert len(way["seconds"]) == 1 and way["median_s"] > 0 and way["times_ours"] > 0
    return record, printed


def test_classification(tmp_path: Path) -> None:
    record, printed = _record("classification", tmp_path, "--rows", "16", command=True)
    assert list(record["ways"]) == ["Project E", "Trainer", "ours"]
    assert record["rows"] == 16 and 0 < record["tokens"] < 16 * record["longest"] <= 16 * 128
    assert "Project E" in printed and "x ours" in printed


def test_instruction(tmp_path: Path) -> None:
    record, _ = _record("instruction", tmp_path, "--rows", "16", "--updates", "4")
    assert list(record["ways"]) == ["SFTTrainer", "SFTTrainer, no checkpointing", "ours"]
    reached = record["to_loss"]
    assert reached["ours"]["updates"] == 4 and reached["ours"]["losses"][-1] == record["target"]
    for way in reached.values():
        assert way["seconds"] > 0 and way["reached"] == (way["losses"][-1] <= record["target"])


def test_evaluation(tmp_path: Path) -> None:
    record, _ = _record("evaluation", tmp_path, "--rows", "9", "--new-tokens", "6")
    assert list(record["ways"]) == list(record["shots"]) == ["generate and parse", "a forward pass an option", "ours"]
    assert (
        record["same"]["choices"] == record["same"]["choices with examples"] == record["same"]["answers"] == 1
    )  # in float32 they have to


def test_peak(tmp_path: Path) -> None:
    record, _ = _record("peak", tmp_path, "--rows", "2", "--length", "40")
    for way in ("plain", "ours"):
        assert 0 < record["ways"][way]["share_of_peak"] < 1
        assert sum(record["profile"][way].values()) == pytest.approx(1, abs=0.03)
    assert "dequantisation" in record["profile"]["plain"] and "dequantisation" not in record["profile"]["ours"]


def test_the_work_of_a_step_is_that_of_its_products() -> None:
    """Against PyTorch's own counter of floating-point operations, attention left out."""
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks import peak
    from helpers.memory.batches import batch
    from helpers.memory.jobs import Job
    from helpers.memory.measure import load
    from helpers.memory.steps import loss_of
    from helpers.models.skeletons import configuration

    rows: dict[str, Any] = {"batch_size": 2, "length": 40, "labelled": 16, "padded": False}
    job = Job("tiny/llama", quant="none", device="cpu", dtype="float32", **rows)
    model, inputs = load(job), batch(job, configuration("tiny/llama"))
    with FlopCounterMode(display=False) as counter:  # it counts neither 4-bit products nor those that add in place
        loss_of(job, model, inputs).backward()
    counted = sum(
        value for name, value in counter.get_flop_counts()["Global"].items() if "scaled_dot_product" not in str(name)
    )
    assert peak.work(model, inputs) == pytest.approx(counted, rel=0.02)


def test_benchmarks_are_listed_and_named() -> None:
    names = benchmarks.listing()
    assert {"classification", "instruction", "evaluation", "peak", "startup", "inference_speed"} <= set(names)
    assert "harness" not in names and all(names.values())
    with pytest.raises(ParameterError, match="did you mean 'startup'"):
        benchmarks.run("start-up")


def test_readmes_table_says_what_the_records_say(tmp_path: Path) -> None:
    assert "Nothing has been recorded" in measured.block(tmp_path)
    place = tmp_path / measured.FOLDER
    place.mkdir(parents=True)
    row = {"seconds": [2.0], "median_s": 2.0, "examples_per_s": 8.0, "times_ours": 1.0}
    record = {
        "benchmark": "classification", "dtype": "float32", "isa": "avx2", "threads": 2, "cores": 2, "device": "a CPU",
        "date": "2026-01-01", "versions": {"torch": "2.13.0", "trl": None},
        "ways": {"Project E": row | {"examples_per_s": 1.6, "times_ours": 5.0}, "ours": row},
    }  # fmt: skip
    (place / "one.json").write_text(json.dumps(record), encoding="utf-8")
    peak = {"share_of_peak": 0.61}
    more = record | {"benchmark": "peak", "isa": "amx_bf16", "ways": {"ours": peak}, "peak_gflop_per_s": 500.0}
    (place / "a.json").write_text(json.dumps(more), encoding="utf-8")
    block = measured.block(tmp_path)
    assert "a CPU, 2 cores, 2026-01-01; torch 2.13.0." in block
    assert "| training a classifier | Project E |  | 5.0 × the time of ours (1.6 examples/s) |" in block
    assert "| training a classifier | ours |  | 8 examples/s |" in block
    assert "61% of 500 GFLOP/s" in block
    assert block.index("classifier") < block.index("61%")
    (place / "one.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="one.json cannot be read"):
        measured.block(tmp_path)
