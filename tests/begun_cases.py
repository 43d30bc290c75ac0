"""Runs that tests begin and fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from helpers import start
from helpers.evaluation.intervals import Estimate
from helpers.evaluation.statistics import TestResult
from helpers.runs.run import Run

QLORA = "04_qlora_instruct"


def begin(place: Path, **given: Any) -> Run:
    return start(QLORA, {"profile": "smoke", "output_dir": str(place)} | given)


def fill(run: Run) -> None:
    run.add_system("zero-shot", {"rougeL": Estimate(0.1 + 0.2, 0.25, 0.35, 40)})
    run.add_system("qlora", {"rougeL": Estimate(0.6, 0.5, 0.7, 40)})
    run.add_system("qlora", {"perplexity": Estimate(np.float64(7.123456789), 6.5, float("inf"), 120)})
    run.add_tests([TestResult("qlora", "zero-shot", "rougeL", 0.3, 0.2, 0.4, 1e-9, "paired bootstrap")])
