"""The benchmarks run from a plain checkout, compare equal answers and write what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_inference_speed(tmp_path: Path) -> None:
    words = ["--repeats", "2", "--rows", "10", "--new-tokens", "4", "--output-dir", str(tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks" / "inference_speed.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "inference_speed-tiny_llama.json").read_text(encoding="utf-8"))
    assert set(record["ratios"]) == {"dequantised", "shared prompt", "sorted batches"}
    for name, result in record["ratios"].items():
        assert 0 < result["min"] <= result["median"] <= result["max"] and len(result["ratios"]) == 2
        assert f"{name:<16} {result['median']:.2f}x" in done.stdout
    assert record["model"] == "tiny/llama" and record["versions"]["torch"]
