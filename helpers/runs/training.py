"""The training of a lesson as a command: the notebook's own cells that are tagged ``training``, in order.

What is taught stands in the notebook, and here it runs from there: nothing is written twice. On several processes each
of them runs the cells. They read all data and share out what is trained on (``helpers.training.sharing``); the first
one prints and writes the run folder.
"""

from __future__ import annotations

import json
import linecache
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.config.lessons import LESSONS
from helpers.errors import ParameterError
from helpers.runs import headless
from helpers.runs.together import work_together

TAG, PARAMETERS = "training", "parameters"


def train(
    lesson: str, parameters: Mapping[str, Any], *, profile: str | None = None, output_dir: Path | None = None
) -> None:
    """Run the training of a lesson, from ``start`` to ``run.finish``, as this process or as one of several.

    Args:
        lesson: "03" or "03_qlora_nli".
        parameters: of the notebook, by name.
        profile, output_dir: as for ``headless.plan``.

    Raises:
        ParameterError: an unknown lesson or parameter, a bad value, a lesson whose training is no part of its own.
    """
    work_together(lambda: _run(lesson, parameters, profile, output_dir))


def _run(lesson: str, parameters: Mapping[str, Any], profile: str | None, output_dir: Path | None) -> None:
    (job,) = headless.plan([lesson], parameters, profile=profile, output_dir=output_dir)
    sources = tagged(job.notebook)
    if len(sources) < 2:
        known = [name[:2] for name in LESSONS if len(tagged(job.notebook.with_name(f"{name}.ipynb"))) > 1]
        what = f"the training of {job.spec.id} cannot be run without the rest of it"
        raise ParameterError(what, f"Lessons with one that can: {', '.join(known)}. Else: python -m helpers run")
    os.environ.setdefault("MPLBACKEND", "Agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for name, source in sources.items():
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # for a traceback
        exec(compile(source, name, "exec"), namespace)
        if name == next(iter(sources)):  # the cell of parameters
            namespace.update(job.parameters)


def tagged(notebook: Path) -> dict[str, str]:
    """Name → source of the cell of parameters and of those that train, in order; {} where there is no such file."""
    if not notebook.is_file():
        return {}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tags = [set(cell["metadata"].get("tags", ())) for cell in cells]
    return {
        f"{notebook.name}, cell {number}": "".join(cell["source"])
        for number, cell in enumerate(cells, 1)
        if tags[number - 1] & {TAG, PARAMETERS}
    }
