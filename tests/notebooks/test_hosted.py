"""What the setup cell calls: ``prepare`` and its steps. The cell itself is run in test_setup_cell.py."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from helpers import hosted
from helpers.errors import HardwareError
from helpers.machine import requirements


class Pip:
    """Stands in for pip: notes what it was asked and what the constraints file held."""

    def __init__(self, returncode: int = 0, stderr: str = "") -> None:
        self.calls: list[list[str]] = []
        self.constraints: list[str] = []
        self.returncode, self.stderr = returncode, stderr

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.calls.append(list(command))
        if "-c" in command:
            self.constraints = Path(command[list(command).index("-c") + 1]).read_text().split()
        return subprocess.CompletedProcess(list(command), self.returncode, "", self.stderr)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "CUDA_VISIBLE_DEVICES", "PEFT_LAB_ALL_GPUS", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        monkeypatch.setenv(name, "x")  # so that monkeypatch restores what prepare sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(hosted, "stale_modules", list)


def quiet(_: str) -> None:
    pass


def lacks_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    real = requirements.installed_version
    monkeypatch.setattr(requirements, "installed_version", lambda name: "" if name == "trl" else real(name))


def test_nothing_happens_elsewhere() -> None:
    pip = Pip()
    before = dict(os.environ)
    hosted.prepare(run=pip, say=quiet)
    assert pip.calls == [] and dict(os.environ) == before


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_installs_around_the_torch_that_is_there(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    pip = Pip()
    hosted.prepare(run=pip, say=quiet)
    assert pip.calls == []  # all is there
    lacks_trl(monkeypatch)
    hosted.prepare(run=pip, say=quiet)
    (command,) = pip.calls
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    wanted = [word for word in command if ">=" in word]
    assert any(word.startswith("trl>=") for word in wanted)
    names = {word.partition(">")[0] for word in wanted}
    assert not names & {"torch", "numpy", "pytest", "ruff", "mypy"}
    assert f"torch=={metadata.version('torch')}" in pip.constraints
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_all_gpus_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEFT_LAB_ALL_GPUS", "1")
    hosted.one_gpu()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.delenv("PEFT_LAB_ALL_GPUS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    hosted.one_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("stderr", "says"),
    [
        ("noise\nERROR: No matching distribution found for trl", "No matching distribution found for trl"),
        ("WARNING: Retrying NewConnectionError\nERROR: no", "switch Internet on"),
        ("", "no output"),
    ],
)
def test_pip_failure_is_one_line(stderr: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks_trl(monkeypatch)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    with pytest.raises(HardwareError) as error:
        hosted.prepare(run=Pip(1, stderr), say=quiet)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_old_torchao_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    pip, said = Pip(), []
    monkeypatch.setattr(hosted, "installed_version", lambda name: "0.10.0")
    hosted.remove_torchao(pip, said.append)
    assert pip.calls[0][3:5] == ["uninstall", "-y"] and "torchao 0.10.0" in said[0]
    for version in ("0.16.0", ""):
        monkeypatch.setattr(hosted, "installed_version", lambda name, v=version: v)
        hosted.remove_torchao(pip, said.append)
    assert len(pip.calls) == 1


def test_replaced_packages_ask_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pyarrow", types.SimpleNamespace(__version__="18.1.0"))
    assert any(text.startswith("pyarrow 18.1.0 -> ") for text in hosted.stale_modules())
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("HF_TOKEN", "x")
    with pytest.raises(HardwareError, match=r"pyarrow 18\.1\.0.*restart the session"):
        hosted.prepare(run=Pip(), say=quiet)


def test_outputs_of_a_repository_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PEFT_LAB_OUTPUT")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    hosted.writable_outputs(said.append)
    assert "PEFT_LAB_OUTPUT" not in os.environ and said == []
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))  # as on /kaggle/input
    hosted.writable_outputs(said.append)
    assert os.environ.pop("PEFT_LAB_OUTPUT") == str(tmp_path / "outputs") and "cannot be written" in said[0]


def test_requirements_are_compared_as_pip_would(root: Path) -> None:
    for line in hosted.lesson_requirements(root / "requirements.txt"):
        requirement = Requirement(line)
        here = metadata.version(requirement.name)
        assert hosted.is_missing(line) == (Version(here) not in requirement.specifier), line
        assert hosted.is_missing(f"{requirement.name}>=999") and hosted.is_missing(f"{requirement.name}-x>=0.1")


def test_only_the_standard_library_is_imported(root: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import helpers.hosted; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "numpy", "transformers", "IPython"}
