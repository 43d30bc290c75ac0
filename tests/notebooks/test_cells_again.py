"""Cells run again, as readers do: ``start`` after other cells, then with a changed parameter.

One kernel serves all lessons, its names removed between them: importing the libraries takes longer than the cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.config.lessons import LESSONS

# Few rows: the cells are in question, not what is learned.
SMALL = {"n_train": 60, "n_text": 40, "n_eval": 20, "n_generate": 8}
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def settings_of(outputs: Path) -> dict[str, dict[str, Any]]:
    """Run name → settings in its record, of all runs in ``outputs``."""
    found = {}
    for path in outputs.glob("*/*/run.json"):
        found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))["settings"]
    return found


def shows_table(cell: Any) -> bool:
    return any("<table" in str(output.get("data", {}).get("text/html", "")) for output in cell.outputs)


def change(parameters: Any, **values: Any) -> None:
    """Write other values into the parameters cell."""
    for name, value in values.items():
        line = f"{name}: {type(value).__name__} = {value!r}"
        parameters.source = re.sub(rf"^{name}: .*$", line, parameters.source, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def kernel(empty_caches: None, warm_kernels: None) -> Iterator[Any]:
    """The kernel's manager."""
    client = NotebookClient(nbformat.v4.new_notebook(), resources={"metadata": {"path": str(NOTEBOOKS)}})
    with client.setup_kernel():
        yield client.km


@pytest.mark.parametrize("notebook", LESSONS)
def test_start_again_after_the_first_table_and_with_a_changed_parameter(
    notebook: str, tmp_path: Path, kernel: Any
) -> None:
    node = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    parameters = next(cell for cell in code if "parameters" in cell.metadata.get("tags", []))
    start = next(cell for cell in code if "run = start(" in cell.source)
    change(parameters, profile="smoke", **{n: v for n, v in SMALL.items() if n in LESSONS[notebook].parameters})
    anew = f"%reset -f\nimport os\nos.environ['PEFT_LAB_OUTPUT'] = {str(tmp_path)!r}"
    node.cells.append(nbformat.v4.new_code_cell(anew))
    client = NotebookClient(node, km=kernel, timeout=300)

    def run(cell: Any) -> None:
        client.execute_cell(cell, node.cells.index(cell))

    with client.setup_kernel():
        run(node.cells[-1])
        for cell in code:
            run(cell)
            if shows_table(cell):
                break
        else:
            pytest.fail("no cell showed a table")
        first = settings_of(tmp_path)
        run(start)
        assert len(first) == 1 and settings_of(tmp_path) == first
        name, value = ("seed", 7) if "seed" in LESSONS[notebook].parameters else ("run_name", "again")
        change(parameters, **{name: value})
        run(parameters)
        run(start)
    (added,) = set(settings_of(tmp_path)) - set(first)
    assert settings_of(tmp_path)[added][name] == value
