"""Waiting before anything is learned: imports, from a lesson's first cell to its first update, checking the assets.

    python -m helpers bench startup [--model ID] [--repeats N] [--keep]

Each turn is a new process, as a lesson's kernel is. The first update is that of lesson 03's trainer.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness

STEPS = {
    "import helpers": "import helpers",
    "from helpers import start": "from helpers import start",
    "import helpers.training": "from helpers.training import train",
    "first update": """
import sys, tempfile
from benchmarks import classification, harness, trainings
sys.argv = ["classification", "--model", {model!r}] + {dtype!r}
options = harness.arguments("")
machine = harness.machine_of(options)
model, tokenizer, rows = classification.prepared(options.model, 16, machine)
with tempfile.TemporaryDirectory() as folder:
    trainings.ours(classification.trainer_of(model, tokenizer, rows, machine, folder, "ours"))
""",
    "assets --offline": "from helpers.__main__ import app; app(['assets', '--offline'], standalone_mode=False)",
}


def main() -> None:
    options = harness.arguments(__doc__ or "")
    dtype = ["--dtype", options.dtype] if options.dtype else []
    found = {}
    for name, code in STEPS.items():
        turns = [_seconds(code.format(model=options.model, dtype=dtype) if "{" in code else code)
                 for _ in range(options.repeats + 1)][1:]  # fmt: skip
        found[name] = {"seconds": [round(value, 2) for value in turns], "median_s": round(statistics.median(turns), 2)}
        print(f"{name:<28} {found[name]['median_s']:8.2f} s", flush=True)
    harness.report("startup", options, options.dtype or harness.machine_of(options).dtype, steps=found)


def _seconds(code: str) -> float:
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(harness.ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=harness.ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip()[-500:] or done.stdout[-500:])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
