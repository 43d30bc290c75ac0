"""The measurements in ``benchmarks/`` of a checkout: which there are, and running one."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.errors import ParameterError
from helpers.files import repo_root
from helpers.hints import did_you_mean


def listing(root: Path | None = None) -> dict[str, str]:
    """Name of each benchmark -> the first line of what it says of itself.

    Raises:
        ParameterError: this is not a checkout of the course, which alone has benchmarks.
    """
    folder = (root or repo_root()) / "benchmarks"
    found = {}
    for path in sorted(folder.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in module.body):
            found[path.stem] = (ast.get_docstring(module) or "").partition("\n")[0]
    if not found:
        raise ParameterError(f"{folder} has no benchmarks", "Run it in a checkout of the course")
    return found


def run(name: str, words: Sequence[str] = (), root: Path | None = None) -> int:
    """Run a benchmark with these arguments in a process of its own; its exit code.

    Raises:
        ParameterError: there is none of that name.
    """
    known = listing(root)
    stem = name.removesuffix(".py").replace("-", "_")
    if stem not in known:
        raise ParameterError(f"there is no benchmark {name!r}{did_you_mean(stem, known)}", f"Known: {', '.join(known)}")
    place = root or repo_root()
    return subprocess.run([sys.executable, str(place / "benchmarks" / f"{stem}.py"), *words], check=False).returncode
