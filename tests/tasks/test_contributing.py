"""CONTRIBUTING's task: one folder and one line, and lessons 01 and 02 run on it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import tasks
from helpers.runs.records import read_runs

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 60


def shown_task() -> str:
    """The Python code between the marks in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- task:start -->\n```python\n(.*?)```\n<!-- task:end -->", text, re.DOTALL)
    return str(code)


def test_it_is_short() -> None:
    assert 10 < len(shown_task().splitlines()) <= MOST_LINES


@pytest.mark.slow
def test_a_folder_and_a_line_are_all_it_takes(tmp_path: Path, empty_caches: None, warm_kernels: None) -> None:
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("helpers", "notebooks"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    before = (copy / "helpers/tasks/__init__.py").read_text(encoding="utf-8")
    (copy / "helpers/tasks/reviews").mkdir()
    (copy / "helpers/tasks/reviews/__init__.py").write_text(shown_task(), encoding="utf-8")
    after = before.replace('    "zappos",\n', '    "zappos",\n    "reviews",\n')
    assert len(after.splitlines()) == len(before.splitlines()) + 1
    (copy / "helpers/tasks/__init__.py").write_text(after, encoding="utf-8")
    words = [sys.executable, "-m", "helpers", "run", "01", "02", "--profile", "smoke", "-o", str(tmp_path / "outputs")]
    words += ["-p", "n_train", "100", "-p", "n_eval", "30"]
    # From the copy, whose folder comes before the repository's on the path.
    done = subprocess.run([*words, "-p", "task", "reviews"], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {record.notebook: record for record in read_runs(tmp_path / "outputs")}
    assert set(found) == {"01_eda", "02_zero_shot_baselines"}
    for record in found.values():
        assert record.status == "finished" and record.info["settings"]["task"] == "reviews"
        assert record.info["notes"]["data"]["task"] == "reviews" and record.systems


@pytest.mark.parametrize("folder", tasks.FOLDERS)
def test_a_task_imports_no_other_task(folder: str) -> None:
    others = [f"helpers.tasks.{other}" for other in tasks.FOLDERS if other != folder]
    for path in (ROOT / "helpers/tasks" / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not [n for n in names for o in others if n == o or n.startswith(f"{o}.")], f"{path.name}: {names}"
