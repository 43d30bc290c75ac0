"""Cells run out of order: a name that an earlier cell of the notebook defines, and that cell has not been run.

Python alone says ``NameError: name 'jobs' is not defined``. ``explain_missing_names`` makes IPython say which cell
has to run before. Standard library only.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from helpers.errors import LabError
from helpers.files import repo_root

_SHOWN = 60  # characters of a cell's first line


class CellNotRun(LabError, NameError):
    """A cell needs a name that a cell before it defines."""


def explain_missing_names() -> None:
    """From now on a NameError of a cell says which cell to run first; all other errors look as ever."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.set_custom_exc((NameError,), _show)


def _show(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: Any = None) -> None:
    """What IPython calls for a NameError: one line where a cell has not been run, else the traceback."""
    missing = None
    # Raised by a line of the cell itself. In a function, or in a library, it may be anything: the traceback is shown.
    if isinstance(error, NameError) and error.name and _in_cell(trace, shell.user_ns):
        history = list(shell.history_manager.input_hist_raw)
        code = notebook_of(history, shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", ""))
        missing = cell_to_run(error.name, history[-1], history[:-1], code)
    if missing is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
    else:
        shell.showtraceback((type(missing), missing, None))


def _in_cell(trace: TracebackType | None, namespace: Any) -> bool:
    """Whether an error was raised by a cell's own lines, comprehensions included."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals is namespace and trace.tb_frame.f_code.co_name[0] == "<"


def cell_to_run(name: str, failed: str, run: Sequence[str], code: Sequence[str]) -> CellNotRun | None:
    """The error that says which cell defines ``name``; None where no earlier cell does, or where it has been run.

    Args:
        failed: source of the cell that failed.
        run: sources of the cells that this kernel has run.
        code: sources of the notebook's code cells, in order.
    """
    done = {source.strip() for source in run}
    last = next((i for i, source in enumerate(code) if source.strip() == failed.strip()), len(code))
    found = [i for i in range(last) if name in defined_by(code[i])]
    if not found or any(code[i].strip() in done for i in found):
        return None
    first = next((line.strip() for line in code[found[0]].splitlines() if line.strip()), "")
    begins = first if len(first) <= _SHOWN else f"{first[: _SHOWN - 2]} …"
    what = f"name {name!r} is not defined yet: code cell {found[0] + 1} defines it and has not been run in this kernel"
    cure = f"Run that cell first; it begins with: {begins} (or all: Run > Run All Above, Colab: Runtime > Run before)"
    error = CellNotRun(what, cure)
    error.name = name
    return error


def defined_by(source: str) -> set[str]:
    """Names that a cell binds when it runs; those inside of its functions and classes are not among them."""
    try:
        tree = ast.parse("\n".join(line for line in source.splitlines() if line.lstrip()[:1] not in ("%", "!")))
    except SyntaxError:
        return set()
    return set(_bound(tree))


def _bound(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child.name
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif isinstance(child, ast.AnnAssign) and child.value is None:
            continue
        elif not isinstance(child, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            yield from _bound(child)


def notebook_of(history: Sequence[str], named: str = "") -> list[str]:
    """Sources of the code cells of the notebook in this kernel, [] where it cannot be told.

    Args:
        history: sources of the cells that were run; the lesson is meant that has most of them.
        named: the file that the front end names, if it does; then that one.
    """
    if named.endswith(".ipynb") and Path(named).is_file():
        return code_cells(Path(named))
    done = {source.strip() for source in history}
    lessons = [code_cells(path) for path in sorted((repo_root() / "notebooks").glob("*.ipynb"))]
    lessons.sort(key=lambda code: -sum(source.strip() in done for source in code))
    shared = [sum(source.strip() in done for source in code) for code in lessons[:2]]
    return lessons[0] if shared and shared[0] > sum(shared[1:]) else []


def code_cells(notebook: Path) -> list[str]:
    """Sources of a notebook's code cells, in order; [] where it cannot be read."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
