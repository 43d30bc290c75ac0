"""A cell run before those that it needs: one line says which; every other error looks as ever."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers.config.lessons import LESSONS
from helpers.machine.cells import cell_to_run, code_cells, defined_by, notebook_of

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture(scope="module")
def kernel() -> Iterator[NotebookClient]:
    """Lesson 00 in a kernel that has run the setup cell only, as after a restart."""
    node = nbformat.read(NOTEBOOKS / "00_start_here.ipynb", as_version=4)
    client = NotebookClient(node, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}})
    with client.setup_kernel():
        place = next(i for i, cell in enumerate(node.cells) if cell.cell_type == "code")
        client.execute_cell(node.cells[place], place)
        yield client


def error_of(kernel: NotebookClient, source: str) -> str:
    """What a reader sees of the error of a cell, without colours."""
    kernel.nb.cells.append(nbformat.v4.new_code_cell(source))
    with pytest.raises(CellExecutionError):
        kernel.execute_cell(kernel.nb.cells[-1], len(kernel.nb.cells) - 1)
    (output,) = [output for output in kernel.nb.cells.pop().outputs if output.output_type == "error"]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(output.traceback))


def test_the_cell_to_run_first_is_named(kernel: NotebookClient) -> None:
    cell = next(source for source in code_cells(NOTEBOOKS / "00_start_here.ipynb") if "machine.supports()" in source)
    said = error_of(kernel, cell)
    assert len(said.splitlines()) == 1 and "name 'machine' is not defined yet: code cell 3 " in said
    assert "begins with: from helpers import start" in said and "Run All Above" in said
    assert "code cell 3" in error_of(kernel, "[machine for _ in range(2)]")


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        ("nobody_defines_this", "name 'nobody_defines_this' is not defined"),
        ("def f():\n    return cfg.profile\n\nf()", "in f()"),  # inside of a function it may be anything
        ("import json\njson.loads('{')", "JSONDecodeError"),
        ("os.no_such_name", "has no attribute 'no_such_name'"),
    ],
)
def test_other_errors_keep_their_traceback(kernel: NotebookClient, source: str, shows: str) -> None:
    said = error_of(kernel, source)
    assert shows in said and "Traceback (most recent call last)" in said and "Run that cell" not in said


def test_which_cell_defines_a_name() -> None:
    function = "def f(x):\n    inner = x\n    return inner"
    cells = ["import os", "a = 1\nfor b in range(3):\n    c = b", function, "use = f"]
    assert defined_by(cells[1]) == {"a", "b", "c"} and defined_by(cells[2]) == {"f"}
    assert defined_by("%time x = 1\nfrom p import q as r\nwith z as (k, v):\n    w: int = 2") == {"r", "k", "v", "w"}
    found = cell_to_run("f", cells[3], [cells[0]], cells)
    assert found is not None and "code cell 3" in str(found) and isinstance(found, NameError) and found.name == "f"
    assert cell_to_run("f", cells[3], cells[:3], cells) is None  # it was run: then it is a real error
    assert cell_to_run("use", cells[1], [], cells) is None  # only a later cell defines it
    assert cell_to_run("inner", cells[3], [], cells) is None


def test_the_notebook_is_known_by_its_cells(tmp_path: Path) -> None:
    for lesson in LESSONS:
        code = code_cells(NOTEBOOKS / f"{lesson}.ipynb")
        assert notebook_of([code[0], code[2]]) == code and notebook_of([code[0]]) == []
    assert notebook_of([], str(NOTEBOOKS / "03_qlora_nli.ipynb")) == code_cells(NOTEBOOKS / "03_qlora_nli.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    assert notebook_of([], str(tmp_path / "broken.ipynb")) == []
