"""The benchmarks run from a plain checkout, compare equal answers and write what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_inference_speed(tmp_path: Path) -> None:
    words = ["--repeats", "2", "--rows", "10", "--new-tokens", "4", "--output-dir", str(tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks" / "inference_speed.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
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
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "embedding_memory-tiny_clip.json").read_text(encoding="utf-8"))
    assert set(record["ways"]) == {"streamed", "all at once"}
    for name, way in record["ways"].items():
        assert way["unreadable"] == 1 and way["runs"][0]["vectors"][0] == 69
        assert way["images_per_s"] > 0 and f"{name:<12}" in done.stdout
