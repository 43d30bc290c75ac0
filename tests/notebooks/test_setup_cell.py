"""The setup cell, really run on simulated Colab and Kaggle machines: real git, real pip, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from service_cases import Service, bare_repository, make_service

from helpers import hosted
from helpers.machine.images import empty_wheel
from helpers.machine.requirements import named, normal

PREPARED = "print('ready', helpers.__file__, os.environ.get('CUDA_VISIBLE_DEVICES'), sys.path.count(str(root)))"
LOADED = "import numpy, pandas, pyarrow  # as a hosted kernel has them before its first cell"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_repository(Path(hosted.__file__).parent.parent, tmp_path_factory.mktemp("remote"))


def service(platform: str, tmp_path: Path, remote: Path | None) -> Service:
    return make_service(platform, Path(hosted.__file__).parent.parent, tmp_path, remote)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of a failure, which is all that a reader has to read."""
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("platform", ["colab", "kaggle"])
def test_a_first_session_replaces_nothing_that_fits(platform: str, tmp_path: Path, remote: Path) -> None:
    """pip's own resolver, on the recorded list of the image, with the newest packages in the index."""
    machine = service(platform, tmp_path, remote)
    image, torch = machine.image, (machine.site / "torch" / "__init__.py").stat().st_mtime_ns
    cell = f"{LOADED}\n{hosted.SETUP_CELL}\n" + PREPARED.replace("helpers.__f", "__import__('helpers').__f")
    done = machine.run(cell)

    # cloned, under its own address; the torchao that PEFT refuses is gone; no restart is asked for
    clone = machine.cwd / "peft-lab"
    assert done.returncode == 0 and done.stdout.splitlines()[-1].split() == [
        "ready", str(clone / "helpers" / "__init__.py"), "0", "1",
    ], done.stderr  # fmt: skip
    origin = subprocess.run(["git", "-C", str(clone), "config", "remote.origin.url"], capture_output=True, text=True)
    assert origin.stdout.strip() == hosted.REPO_URL
    assert machine.version("torchao") == "" and not (machine.site / "torchao").exists()
    assert "removing torchao 0.10.0" in done.stdout and f"kept: torch=={image.packages['torch']}" in done.stdout

    # what is there and fits stays, to the file; what does not is replaced, and all of it is there afterwards
    wanted = {normal(named(line)[0]) for line in image.missing}
    now = {name: machine.version(name) for name in image.packages}
    changed = {name for name, version in image.packages.items() if now[name] != version} - {"torchao"}
    assert changed <= wanted, {name: (image.packages[name], now[name]) for name in changed - wanted}
    assert (machine.site / "torch" / "__init__.py").stat().st_mtime_ns == torch
    assert all(machine.version(name) for name in wanted)
    assert machine.version("pytest") == "" and machine.version("ruff") == ""

    # again: no pip, no git, nothing to say
    machine.without_pip()
    began = time.monotonic()
    done = machine.run(cell)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ready", str(clone / "helpers" / "__init__.py"), "0", "1"]
    assert time.monotonic() - began < 5 and done.stderr == ""


def test_what_must_be_replaced_under_the_kernel_asks_for_a_restart_once(tmp_path: Path) -> None:
    """A course that needs a newer datasets: nothing newer fits the image, so pip may replace more, never torch."""
    remote = bare_repository(Path(hosted.__file__).parent.parent, tmp_path / "course", datasets="4.7", pyarrow="21")
    machine = service("colab", tmp_path, remote)
    done = machine.run_cell(LOADED)
    last = one_line(done)
    assert "pip may replace other packages too" in done.stdout
    assert "packages in use were updated (pyarrow 18.1.0 -> " in last and "restart the session" in last
    for name in ("torch", "numpy"):
        assert machine.version(name) == machine.image.packages[name]
    done = machine.run_cell(LOADED, "print('ready')")
    assert done.returncode == 0 and done.stdout.split() == ["ready"], done.stderr


def test_without_internet_on_kaggle(tmp_path: Path, remote: Path) -> None:
    """One clear line; and the repository attached as a dataset is found, wherever Kaggle mounts it."""
    machine = service("kaggle", tmp_path, None)
    done = machine.run_cell(LOADED)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 1 and line.startswith(f"{hosted.REPO_URL} cannot be fetched (fatal: ")
    assert line.endswith(
        "Kaggle: Settings > Internet on, or attach the repository as a dataset. Colab: run this cell again."
    )
    assert list(machine.cwd.iterdir()) == []

    # without the packages that Kaggle lacks: one line too, then from a folder of wheels beside the course
    attached = tmp_path / "kaggle" / "input" / "datasets" / "someone" / "peft-lab" / "peft-lab-main"
    subprocess.run(["git", "clone", "-q", str(remote), str(attached)], check=True)
    del machine.environment["PIP_NO_INDEX"], machine.environment["PIP_FIND_LINKS"]
    machine.environment["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"  # where nobody listens
    last = one_line(machine.run_cell())
    assert "pip could not install the course's packages: ERROR: " in last and "switch Internet on" in last
    shutil.copytree(machine.wheels, attached / hosted.WHEELS)
    done = machine.run_cell(after="import helpers\n" + PREPARED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == [str(attached / "helpers" / "__init__.py"), "0", "1"]
    assert not (machine.cwd / "peft-lab").exists() and machine.version("trl")


def test_the_clone_in_the_working_folder_goes_before_an_attached_one(tmp_path: Path, remote: Path) -> None:
    machine = service("kaggle", tmp_path, None)
    for place in (machine.cwd / "peft-lab", tmp_path / "kaggle" / "input" / "peft-lab"):
        subprocess.run(["git", "clone", "-q", str(remote), str(place)], check=True)
    done = machine.run_cell(after="print(root)")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == str(machine.cwd / "peft-lab")


def test_pip_that_fails_is_one_line_and_the_next_try_goes_on(tmp_path: Path, remote: Path) -> None:
    machine = service("colab", tmp_path, remote)
    (file,) = machine.wheels.glob("evaluate-*.whl")
    file.unlink()
    last = one_line(machine.run_cell())
    assert "No matching distribution found for evaluate" in last and "restart the runtime and try once more" in last
    assert machine.version("torch") == machine.image.packages["torch"]
    empty_wheel(machine.wheels, "evaluate", "0.4.6")
    done = machine.run_cell(after="print('ready')")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "ready", done.stderr


def test_secrets_of_the_service_are_used_and_not_shown(tmp_path: Path, remote: Path) -> None:
    machine = service("kaggle", tmp_path, remote)
    (machine.site / "kaggle_secrets.py").write_text(
        "class UserSecretsClient:\n    def get_secret(self, label):\n        return {'HF_TOKEN': 'hf_secret'}[label]\n"
    )
    done = machine.run_cell(after="print(os.environ['HF_TOKEN'] == 'hf_secret')")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "True", done.stderr
    assert "hf_secret" not in done.stdout + done.stderr


def test_elsewhere_it_only_finds_the_course(root: Path, tmp_path: Path) -> None:
    """On any other machine: no clone, no pip, from the repository and from notebooks/."""
    code = hosted.SETUP_CELL + "\nimport helpers\nprint(helpers.__file__)\n"
    for folder in (root, root / "notebooks"):
        done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.strip() == str(root / "helpers" / "__init__.py"), done.stderr
    machine = service("colab", tmp_path, None)
    del machine.environment["COLAB_RELEASE_TAG"]
    assert "No module named 'helpers'" in one_line(machine.run_cell())


@pytest.mark.slow
@pytest.mark.skipif(
    "PEFT_LAB_WHEELS" not in os.environ or shutil.which("python3.12") is None,
    reason="wants PEFT_LAB_WHEELS, a folder made by `python -m helpers wheels kaggle`, Python 3.12 and an index",
)
def test_lesson_03_on_kaggle_without_network_from_a_folder_of_wheels(root: Path) -> None:
    """With the very packages of Kaggle's image, which come from an index; then pip has the folder only."""
    command = [sys.executable, str(root / "tests" / "platforms" / "session.py"), "kaggle", "03"]
    command += ["--wheels", os.environ["PEFT_LAB_WHEELS"]]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "replaced: transformers " in done.stdout and "03_qlora_nli  finished" in done.stdout


def test_the_cell_fits_on_a_screen() -> None:
    lines = hosted.SETUP_CELL.strip().splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 120
