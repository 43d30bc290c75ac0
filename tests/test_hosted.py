"""The setup cell: run as a notebook runs it, on pretended Colab and Kaggle machines."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from helpers import hosted
from helpers.errors import HardwareError


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
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    with pytest.raises(HardwareError) as error:
        hosted.prepare(run=Pip(1, stderr), say=quiet)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_old_torchao_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    pip, said = Pip(), []
    monkeypatch.setattr(hosted, "_version", lambda name: "0.10.0")
    hosted.remove_torchao(pip, said.append)
    assert pip.calls[0][3:5] == ["uninstall", "-y"] and "torchao 0.10.0" in said[0]
    for version in ("0.16.0", ""):
        monkeypatch.setattr(hosted, "_version", lambda name, v=version: v)
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


def test_kaggle_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def get_secret(self, name: str) -> str:
            return f"secret {name}"

    monkeypatch.setitem(sys.modules, "kaggle_secrets", types.SimpleNamespace(UserSecretsClient=Client))
    hosted.hub_token("kaggle")
    assert os.environ.pop("HF_TOKEN") == "secret HF_TOKEN"

    class NotAttached:
        def get_secret(self, name: str) -> str:
            raise RuntimeError("no user secrets exist for kernel id")

    monkeypatch.setitem(sys.modules, "kaggle_secrets", types.SimpleNamespace(UserSecretsClient=NotAttached))
    hosted.hub_token("kaggle")
    assert "HF_TOKEN" not in os.environ


def test_headless_colab_does_not_wait_for_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosted.hub_token("colab")
    assert os.environ.pop("HF_HUB_DISABLE_IMPLICIT_TOKEN") == "1"
    (tmp_path / "token").write_text("stored")
    hosted.hub_token("colab")
    assert "HF_HUB_DISABLE_IMPLICIT_TOKEN" not in os.environ


def run_cell(cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The setup cell in a fresh Python, from ``cwd``, without the repository on its path."""
    code = hosted.SETUP_CELL + "\nimport helpers\nprint(helpers.__file__)\n"
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLAB_RELEASE_TAG")}
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**clean, **environment})


def test_setup_cell_finds_the_repository(root: Path) -> None:
    assert len(hosted.SETUP_CELL.strip().splitlines()) <= 20
    for folder in (root, root / "notebooks"):
        done = run_cell(folder)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(root / "helpers" / "__init__.py")


def test_setup_cell_clones_on_colab(tmp_path: Path) -> None:
    """With a git that makes the clone out of a stand-in, since nothing may leave this machine."""
    (tmp_path / "bin").mkdir()
    git = tmp_path / "bin" / "git"
    git.write_text(
        '#!/bin/sh\nfor last in "$@"; do :; done\nmkdir -p "$last/helpers"\n'
        'echo "$@" > "$last/asked"\necho > "$last/helpers/__init__.py"\n'
        'printf \'def prepare():\\n    print("prepared")\\n\' > "$last/helpers/hosted.py"\n'
    )
    git.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    work = tmp_path / "content"
    work.mkdir()
    for _ in range(2):  # the second time it is there already
        done = run_cell(work, PATH=path, COLAB_RELEASE_TAG="1")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "prepared"
    assert hosted.REPO_URL in (work / "peft-lab" / "asked").read_text()


def test_only_the_standard_library_is_imported(root: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import helpers.hosted; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "numpy", "transformers", "IPython"}
