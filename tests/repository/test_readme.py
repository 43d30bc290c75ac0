"""README's commands, links, badges and names are those of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import nbformat
import typer

from helpers.__main__ import app
from helpers.config.lessons import LESSONS, find_lesson
from helpers.config.parameters import PARAMETERS
from helpers.config.settings import resolve

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^()\s]+)\)")
BADGE = re.compile(r"https://(?:colab\.research\.google\.com/github|kaggle\.com/kernels)/[^()\s]+")
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command line shown: lines of code blocks, and code in the text."""
    lines = [line.partition("  #")[0].strip() for block in FENCED.findall(README) for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", FENCED.sub("", README))


def anchors() -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", README), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_relative_links_and_anchors_resolve() -> None:
    links = [urlsplit(link) for link in LINK.findall(README)]
    own = [link for link in links if not link.scheme and not link.netloc]
    assert len(own) >= len(LESSONS)
    for link in own:
        if link.path:
            target = (ROOT / unquote(link.path)).resolve()
            assert target.exists() and target.is_relative_to(ROOT), link.path
        else:
            assert link.fragment in anchors(), link.fragment


def test_every_make_target_exists() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    named = {command.split()[1] for command in commands() if re.match(r"make [a-z]", command)}
    assert {"run", "test"} <= named <= targets, named - targets


def test_every_command_and_option_of_the_command_line_exists() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    shown = [command.split()[3:] for command in commands() if command.startswith("python -m helpers ")]
    assert {words[0] for words in shown} >= {"run", "doctor", "assets", "results"}
    for name, *words in shown:
        assert name in known, name
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, (name, words)
    assert {name for name, *_ in shown} == set(known), "commands that README leaves out"


def test_every_parameter_and_notebook_named_in_a_command_exists() -> None:
    shown = " ".join(command for command in commands() if command.startswith(("make ", "python ", "papermill ")))
    for name in re.findall(r"-p (\w+)", shown):
        assert name in PARAMETERS, name
    for number in re.findall(r"\b\d\d\b", " ".join(re.findall(r'NB="?([\d ]+)', shown))):
        assert find_lesson(number)
    files = re.findall(r"\S+\.ipynb", shown)
    assert files and all((ROOT / name).is_file() for name in files if name.startswith("notebooks/"))


def test_the_lessons_are_those_that_exist_with_their_own_badges() -> None:
    assert re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", README) == list(LESSONS)
    shown = BADGE.findall(README)
    own = []
    for name, spec in LESSONS.items():
        assert f"[{name[:2]} · {spec.title}](notebooks/{name}.ipynb)" in README
        first = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells[0].source
        own += BADGE.findall(first)
    assert shown == own


def test_the_example_of_a_run_name_is_what_a_run_is_called() -> None:
    machine = SimpleNamespace(device="cpu", gpu_memory_gb=0.0)
    given = {"profile": "cpu", "lora_r": 8}
    assert f"gives `{resolve('04', given, machine).run_name}`" in README
    assert f"for instance `{resolve('04', {'profile': 'cpu'}, machine).run_name}`" in README
