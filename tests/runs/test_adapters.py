"""Adapters on disk: whole, finished, of this base; else one clear line."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from adapter_cases import TINY, save_adapter
from run_cases import write_run

from helpers.errors import LabError, ModelError, ParameterError, RunError
from helpers.runs.adapters import check_base, given_adapters, name_base, named_folders, of_run

KNOWN = ["recipes", "snli"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    save_adapter(folder)
    name_base(folder, TINY)
    return folder


@pytest.fixture
def run(tmp_path: Path, plain: Path) -> Path:
    """A finished run with one adapter."""
    folder = write_run(tmp_path, "mine", notebook="04_qlora_instruct", model_id=TINY)
    shutil.copytree(plain, folder / "adapter")
    return folder


def test_a_run_and_a_plain_folder_are_read(run: Path, plain: Path) -> None:
    of_a_run, alone = of_run(run), of_run(plain)
    assert of_a_run.folder == run / "adapter" and of_a_run.run is not None and of_a_run.run.run_name == "mine"
    assert alone.folder == plain and alone.run is None
    assert of_a_run.base == alone.base == TINY and of_a_run.name == alone.name == "default"


def test_one_of_several(run: Path) -> None:
    for name in KNOWN:
        shutil.copytree(run / "adapter", run / "several" / name)
    shutil.rmtree(run / "adapter")
    (run / "several").rename(run / "adapter")
    assert of_run(run, "snli").folder == run / "adapter" / "snli"
    with pytest.raises(ParameterError, match="holds 2 adapters. Name one: recipes, snli"):
        of_run(run)
    with pytest.raises(ParameterError, match="no adapter 'snl' .*snli"):
        of_run(run, "snl")
    found = given_adapters(f"recipes={run}, snli={run / 'adapter' / 'snli'}", KNOWN, TINY)
    assert [saved.folder.name for saved in found.values()] == KNOWN


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_run_that_did_not_finish(run: Path, status: str) -> None:
    info = json.loads((run / "run.json").read_text())
    gone = {"pid": 2**22 + 1, "create_time": 1.0, "host": socket.gethostname()}
    (run / "run.json").write_text(json.dumps(info | {"status": status, "process": gone}))
    with pytest.raises(RunError, match=f"is {'interrupted' if status == 'running' else status}: its adapter"):
        of_run(run)


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter(run: Path, missing: str) -> None:
    (run / "adapter" / missing).unlink()
    with pytest.raises(ModelError, match=f"no adapter of PEFT: {missing} is missing"):
        of_run(run)


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no folder"):
        of_run(tmp_path / "nothing")
    with pytest.raises(ModelError, match="holds no adapter of PEFT"):
        of_run(tmp_path)


def test_an_adapter_of_another_base(plain: Path) -> None:
    check_base(of_run(plain), TINY)
    with pytest.raises(ModelError, match="was trained on tiny/llama, not on tiny/phi. Set model_id = 'tiny/llama'"):
        given_adapters(f"snli={plain}", KNOWN, "tiny/phi")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("recipes", "'recipes' is not a name and a folder"),
        ("recipes=a, recipes=b", "two adapters are named 'recipes'"),
        ("recipe=a", "unknown name 'recipe'.*recipes"),
        ("lora=a", "adapter name 'lora' will not do"),
        ("a.b=a", "adapter name 'a.b' will not do"),
        ("recipes=", "is not a name and a folder"),
    ],
)
def test_names_that_will_not_do(given: str, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        named_folders(given, KNOWN)


def test_the_lines_are_single(tmp_path: Path) -> None:
    calls: list[Any] = [lambda: of_run(tmp_path), lambda: named_folders("x", KNOWN)]
    for call in calls:
        with pytest.raises(LabError) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert named_folders(None, KNOWN) == {}
