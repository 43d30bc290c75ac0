"""Secrets of Colab and Kaggle, through stand-ins for the modules that those services bring."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.sources import tokens

USERDATA = """
class SecretNotFoundError(Exception): pass
class NotebookAccessError(Exception): pass

def get(key):
    asked.append(key)
    if key == "HF_TOKEN":
        return "hf_colab"
    raise (SecretNotFoundError if key == "NONE" else NotebookAccessError)(key)

asked = []
"""
KAGGLE = """
class BackendError(Exception): pass

class UserSecretsClient:
    def get_secret(self, label):
        if label != "HF_TOKEN":
            raise BackendError("No user secrets exist for kernel id 1 and label " + label)
        return "hf_kaggle"
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "NONE", "DENIED")
    for name in names:
        monkeypatch.setenv(name, "x")  # so that monkeypatch takes away what is set later
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder on sys.path with google.colab.userdata and kaggle_secrets."""
    place = tmp_path / "modules"
    (place / "google" / "colab").mkdir(parents=True)
    (place / "google" / "colab" / "__init__.py").write_text("")
    (place / "google" / "colab" / "userdata.py").write_text(USERDATA)
    (place / "kaggle_secrets.py").write_text(KAGGLE)
    monkeypatch.syspath_prepend(str(place))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("google", "kaggle_secrets")]:
        monkeypatch.delitem(sys.modules, name)
    yield place
    for name in [name for name in sys.modules if name.partition(".")[0] in ("google", "kaggle_secrets")]:
        del sys.modules[name]


def page(monkeypatch: pytest.MonkeyPatch, *, answers: bool) -> None:
    """This process as a kernel of Colab's own kind, with or without a page that answers it."""
    shell = type("Shell", (), {"__module__": "google.colab._shell"})()
    shell.kernel = types.SimpleNamespace(_allow_stdin=answers)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")


def test_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch, service: Path) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert tokens.find() == "hf_mine"


def test_colab_secret(monkeypatch: pytest.MonkeyPatch, service: Path) -> None:
    page(monkeypatch, answers=True)
    assert not tokens.headless()
    assert tokens.find() == "hf_colab" == os.environ["HF_TOKEN"]
    from google.colab import userdata

    assert tokens.find() == "hf_colab" and userdata.asked == ["HF_TOKEN"]  # asked for once
    for name in ("NONE", "DENIED"):
        assert tokens.find(name) == "" and name not in os.environ
        assert tokens.how_to_set(name).startswith("Colab: the key symbol") and name in tokens.how_to_set(name)


def test_colab_without_a_page_is_not_asked(monkeypatch: pytest.MonkeyPatch, service: Path, tmp_path: Path) -> None:
    """papermill starts Colab's own kernel, where the question would wait for ever."""
    page(monkeypatch, answers=False)
    assert tokens.headless() and tokens.find() == ""
    from google.colab import userdata

    assert userdata.asked == []
    tokens.settle_hub_token()  # nor may the Hub's client ask
    assert os.environ.pop("HF_HUB_DISABLE_IMPLICIT_TOKEN") == "1"
    (tmp_path / "token").write_text("hf_stored\n")
    tokens.settle_hub_token()
    assert "HF_HUB_DISABLE_IMPLICIT_TOKEN" not in os.environ and tokens.stored_hub_token() == "hf_stored"


def test_kaggle_secret(monkeypatch: pytest.MonkeyPatch, service: Path) -> None:
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert tokens.find("NONE") == "" and "NONE" not in os.environ
    assert tokens.how_to_set("NONE").startswith("Kaggle: Add-ons > Secrets > add NONE")
    assert tokens.find() == "hf_kaggle" == os.environ["HF_TOKEN"]


def test_kaggle_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch, service: Path) -> None:
    slow = KAGGLE.replace("        if label", "        import time; time.sleep(30)\n        if label")
    (service / "kaggle_secrets.py").write_text(slow)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr(tokens, "WAIT", 0.3)
    began = time.monotonic()
    assert tokens.find() == "" and time.monotonic() - began < 5


def test_elsewhere_nobody_is_asked(service: Path) -> None:
    assert tokens.find() == ""
    assert tokens.how_to_set() == "type: export HF_TOKEN=... before starting Python"
    assert tokens.how_to_set("X", "kaggle").startswith("Kaggle:") and "export X" in tokens.how_to_set("X", "")


def test_services_without_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    page(monkeypatch, answers=True)
    assert tokens.find() == ""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert tokens.find() == ""


def test_a_script_on_colab_does_not_wait(tmp_path: Path, root: Path) -> None:
    """In a process of its own, with a page's module that blocks for ever, as Colab's does with nobody there."""
    (tmp_path / "google" / "colab").mkdir(parents=True)
    (tmp_path / "google" / "colab" / "__init__.py").write_text("")
    (tmp_path / "google" / "colab" / "userdata.py").write_text("import time\ndef get(key): time.sleep(600)\n")
    code = "from helpers.sources import tokens\ntokens.settle_hub_token()\nprint('on', tokens.find())"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment | {"COLAB_RELEASE_TAG": "1"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.strip() == "on", done.stderr


def test_clients_without_a_page_forbid_input() -> None:
    """What ``headless`` relies on, in a real kernel started as papermill and nbconvert start theirs."""
    import nbclient
    import nbformat

    node = nbformat.v4.new_notebook()
    code = "from helpers.sources import tokens\nshell = get_ipython()\n"
    code += "print(shell.kernel._allow_stdin, tokens.headless())\n"
    colab = "type(shell).__module__ = 'google.colab._shell'\nprint(str(type(shell)), tokens.headless())"
    node.cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_code_cell(colab)]
    nbclient.NotebookClient(node, timeout=60, kernel_name="python3").execute()
    first, second = ("".join(o.text for o in cell.outputs if o.output_type == "stream") for cell in node.cells)
    assert first.split() == ["False", "True"]
    assert "google.colab" in second and second.split()[-1] == "True"
