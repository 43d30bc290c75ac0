"""Records of runs on disk, as a run leaves them, and notebooks that make such runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from helpers.config.lessons import find_lesson
from helpers.config.settings import parameters_cell
from helpers.runs.records import to_json


def entry(value: float) -> dict[str, Any]:
    """A metric's value with an interval, as metrics.json has it."""
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 300}


def write_run(
    root: Path, name: str, *, notebook: str = "03_qlora_nli", accuracy: float = 0.9, p: float | None = 0.001,
    status: str = "finished", notes: dict[str, Any] | None = None, **settings: Any,
) -> Path:  # fmt: skip
    """A record of lesson 03 that finished, but for what is asked for; returns its folder."""
    folder = root / notebook / name
    folder.mkdir(parents=True)
    used = {"profile": "smoke", "task": "snli", "model_id": "tiny/phi", "n_train": 900, "n_eval": 300, "seed": 0}
    info = {
        "notebook": notebook, "run_name": name, "status": status, "settings": used | {"run_name": name} | settings,
        "hardware": {"device": "cpu", "dtype": "float32", "cpu_isa": "avx2", "torch_threads": 2},
        "notes": notes or {}, "wall_time_s": 60.0, "peak_rss_gb": 2.0, "peak_cuda_gb": None,
    }  # fmt: skip
    systems = {"zero-shot": {"accuracy": entry(0.33)}, "qlora": {"accuracy": entry(accuracy)}}
    test = {
        "a": "qlora",
        "b": "zero-shot",
        "metric": "accuracy",
        "difference": accuracy - 0.33,
        "low": 0.1,
        "high": 0.9,
    }
    metrics = {"systems": systems, "tests": [test | {"p_value": p, "test": "exact McNemar"}]}
    (folder / "run.json").write_text(to_json(info))
    (folder / "metrics.json").write_text(to_json(metrics))
    return folder


def notebook(folder: Path, name: str, *cells: str, begin: bool = True) -> Path:
    """A throwaway notebook in the course's form, under the id of a real one."""
    spec = find_lesson(name)
    node = nbformat.v4.new_notebook()
    node.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    node.metadata["language_info"] = {"name": "python"}
    parameters = nbformat.v4.new_code_cell(parameters_cell(spec.id), metadata={"tags": ["parameters"]})
    first = [f'from helpers import start\nrun = start("{spec.id}", globals())'] if begin else []
    node.cells = [parameters, *(nbformat.v4.new_code_cell(source) for source in [*first, *cells])]
    path = folder / f"{spec.id}.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(node, path)
    return path
