"""One command makes a fork: what it rewrites, and that it touches nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

from helpers import hosted
from helpers.errors import ParameterError, RunError
from helpers.reports import links
from helpers.reports.documents import rewrite

ROOT = Path(__file__).resolve().parents[2]
FORK = "https://github.com/some-one/peft.lab-2"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository without its records and weights."""
    leave = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png")
    for folder in ("helpers", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder, ignore=leave)
    for name in ("README.md", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / "copy")
    return tmp_path / "copy"


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The copy's own command line."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, "-m", "helpers", "address", *words]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_this_repository_is_up_to_date() -> None:
    assert rewrite(links.documents(), check=True) == []


def test_a_fork_is_one_command(copy: Path) -> None:
    before = contents(copy)
    done = command(copy, "--check", FORK)
    notebooks = sorted(p.name for p in (copy / "notebooks").glob("*.ipynb"))
    names = ["hosted.py", "README.md", *notebooks]
    assert done.returncode == 1 and [line.split()[0] for line in done.stdout.splitlines()] == names
    assert contents(copy) == before
    done = command(copy, FORK + ".git")
    assert done.returncode == 0 and [line.split()[1] for line in done.stdout.splitlines()] == names, done.stderr
    after = contents(copy)

    # the constant decides: the copy's own code says so, with and without the address
    assert command(copy, "--check").returncode == 0 and command(copy, "--check", FORK).returncode == 0
    assert command(copy, "--check", hosted.REPO_URL).returncode == 1
    assert command(copy).stdout == "" and contents(copy) == after  # nothing left to do

    # only the address changed, and it is gone everywhere
    old, new = hosted.REPO_URL.removeprefix("https://github.com/"), FORK.removeprefix("https://github.com/")
    assert set(after) == set(before)
    for name, data in before.items():
        expected = data.decode("utf-8", "surrogateescape").replace(old, new)
        if name == "README.md":
            expected = expected.replace("&& cd peft-lab", "&& cd peft.lab-2")
        assert after[name].decode("utf-8", "surrogateescape") == expected, name
    text = (copy / "README.md").read_text()
    assert old not in text and f"git clone {FORK} && cd peft.lab-2\n" in text

    # and back again
    assert command(copy, hosted.REPO_URL).returncode == 0
    assert contents(copy) == before


def test_what_a_fork_shows(copy: Path) -> None:
    rewrite(links.documents(FORK, copy))
    cells = set()
    for path in (copy / "notebooks").glob("*.ipynb"):
        node = nbformat.read(path, as_version=4)
        nbformat.validate(node)
        colab, kaggle = re.findall(r"\]\((https://[^()]*(?:colab|kaggle)[^()]*notebooks[^()]*)\)", node.cells[0].source)
        assert urlsplit(colab).path == f"/github/some-one/peft.lab-2/blob/main/notebooks/{path.name}"
        query = parse_qs(urlsplit(kaggle).query)
        assert query["src"] == [f"{FORK}/blob/main/notebooks/{path.name}"]
        assert query["accelerator"] == [hosted.ACCELERATOR]
        cells.add(next(cell.source for cell in node.cells if cell.cell_type == "code"))
    assert cells == {hosted.setup_cell(FORK).strip()}


def test_a_damaged_badge_and_an_old_setup_cell_are_made_anew(copy: Path) -> None:
    before = contents(copy)
    path = copy / "notebooks" / "03_qlora_nli.ipynb"
    node = json.loads(path.read_text())
    first, setup = node["cells"][0], next(c for c in node["cells"] if c["cell_type"] == "code")
    first["source"] = "".join(first["source"]).replace("&accelerator=nvidiaTeslaT4", "").splitlines(keepends=True)
    setup["source"] = ["# Setup. Colab and Kaggle: an older one\n", "prepare()"]
    path.write_text(json.dumps(node, indent=1, ensure_ascii=False) + "\n")
    assert rewrite(links.documents(root=copy), check=True) == [path.name] == rewrite(links.documents(root=copy))
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("given", "address_of"),
    [
        ("https://github.com/a/b", "a/b"),
        ("https://github.com/a/b/", "a/b"),
        (" https://github.com/a-1/b_c.d.git ", "a-1/b_c.d"),
        ("git@github.com:a/b.git", "a/b"),
    ],
)
def test_addresses(given: str, address_of: str) -> None:
    assert links.clean(given) == f"https://github.com/{address_of}"


@pytest.mark.parametrize(
    "given", ["", "a/b", "https://gitlab.com/a/b", "https://github.com/a", "https://github.com/a/b/tree/main", 'x"y']
)
def test_no_address(given: str, copy: Path) -> None:
    before = contents(copy)
    with pytest.raises(ParameterError, match="Write https://github.com/OWNER/REPO"):
        rewrite(links.documents(given, copy))
    assert contents(copy) == before


def test_a_notebook_of_another_form_is_refused_before_anything_changes(copy: Path) -> None:
    path = copy / "notebooks" / "09_evaluation.ipynb"
    node = json.loads(path.read_text())
    node["cells"] = [cell for cell in node["cells"] if cell["cell_type"] != "code"]
    path.write_text(json.dumps(node))
    before = contents(copy)
    with pytest.raises(RunError, match="first code cell of 09_evaluation.ipynb is not the setup cell"):
        rewrite(links.documents(FORK, copy))
    node["cells"] = node["cells"][1:]
    path.write_text(json.dumps(node))
    with pytest.raises(RunError, match="first text of 09_evaluation.ipynb has no badges"):
        rewrite(links.documents(FORK, copy), check=True)
    before[f"notebooks/{path.name}"] = path.read_bytes()
    assert contents(copy) == before
