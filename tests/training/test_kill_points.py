"""A run killed anywhere is never corrupt, and continued to the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
POINTS, SEED = 100, 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_hundred_kill_points(tmp_path: Path) -> None:
    """See kill_points.py: SIGKILL before the k-th change of a file, or at any moment; locally and on a new machine."""
    words = [sys.executable, str(ROOT / "tests" / "kill_points.py"), str(tmp_path), str(POINTS), str(SEED)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == [], done.stderr[-3000:]
    # The points did what they are for: most runs died before their end, and many had something to continue from.
    assert found["changes"] >= 100 and found["killed"] >= 80 and found["twice"] >= 10
    assert found["moved"] >= 20 and found["continued"] >= 40 and found["before the record"] >= 3
