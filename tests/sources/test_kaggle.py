"""``kaggle:owner/name`` for every task: attached, fetched, or kept by kagglehub; every fault is one line.

The only stand-in is kagglehub itself, a module on sys.path whose download function does what the test says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.config.checks import is_remote, resolve_dataset
from helpers.errors import DataError, ParameterError
from helpers.sources import kaggle

SOURCE = "kaggle:some-one/my.data"
RECIPES = [
    {"title": f"dish {n}", "ingredients": ["salt", f"thing {n}"], "steps": ["mix", f"cook {n} min"]} for n in range(60)
]
# A table for each task that reads one, as a data set on Kaggle has it.
TABLES: dict[str, list[dict[str, Any]]] = {
    "recipes": RECIPES,
    "snli": [
        {"premise": f"a man {n} walks", "hypothesis": f"{kind} {n}", "label": label}
        for n in range(40)
        for label, kind in enumerate(("a person moves", "he is tired", "nobody moves"))
    ],
    "dialogsum": [
        {
            "dialogue": f"#Person1#: Where is room {n}?\n#Person2#: On floor {n * 7}.",
            "summary": f"Room {n} is on {n * 7}.",
        }
        for n in range(60)
    ],
    "scienceqa": [
        {"question": f"How much is {n} + {n}?", "choices": [str(2 * n), str(2 * n + 1)], "answer": 0} for n in range(60)
    ],
}


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /kaggle/input, kagglehub cache and home, online."""
    for name in ("PEFT_LAB_OFFLINE", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PEFT_LAB_INPUT", str(tmp_path / "input"))
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path for a module kagglehub; ``download`` writes it."""
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    (tmp_path / "modules").mkdir()
    sys.modules.pop("kagglehub", None)
    yield tmp_path / "modules"
    sys.modules.pop("kagglehub", None)


def download(hub: Path, *body: str) -> None:
    code = "".join(f"    {line}\n" for line in body)
    (hub / "kagglehub.py").write_text(f"asked = []\n\ndef dataset_download(handle):\n    asked.append(handle)\n{code}")


def fill(folder: Path, rows: list[dict[str, Any]], name: str = "table.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def keep(tmp_path: Path, version: int, complete: bool = True) -> Path:
    """kagglehub's own copy of a version."""
    place = tmp_path / "cache" / "datasets" / "some-one" / "my.data"
    fill(place / "versions" / str(version), RECIPES)
    if complete:
        (place / f"{version}.complete").touch()
    return place / "versions" / str(version)


# -- attached


@pytest.mark.parametrize("layout", ["my.data", "datasets/some-one/my.data"])
@pytest.mark.parametrize("task", sorted(TABLES))
def test_attached_data_is_read_by_every_task(task: str, layout: str, inputs: Path) -> None:
    """Without kagglehub and without Internet: the network guard of the tests would tell."""
    folder = fill(inputs / layout, TABLES[task])
    splits = tasks.get(task).load(n_train=20, n_eval=12, source=SOURCE)
    assert len(splits["train"]) == 20 and splits.report.source == SOURCE
    (note,) = [note for note in splits.report.notes if "attached" in note]
    assert str(folder) in note and "attached" in str(splits.report)
    local = tasks.get(task).load(n_train=20, n_eval=12, source=str(folder))
    assert local.report.fingerprint == splits.report.fingerprint
    assert not is_remote(SOURCE)


def test_one_file_of_several(inputs: Path) -> None:
    fill(inputs / "my.data" / "deep", RECIPES[:50], "train.jsonl")
    fill(inputs / "my.data", RECIPES[50:], "other.jsonl")
    load = tasks.get("recipes").load
    assert load(n_train=None, n_eval=10, source=f"{SOURCE}/deep/train.jsonl").report.rows_read == 50
    assert load(n_train=None, n_eval=10, source=SOURCE).report.rows_read == 60
    with pytest.raises(DataError, match=r"some-one/my.data has no train.csv. It has deep, other.jsonl\."):
        load(source=f"{SOURCE}/train.csv")
    assert "version 3 is not known" in kaggle.locate(f"{SOURCE}/versions/3").note


# -- fetched


def test_what_is_not_attached_is_fetched(inputs: Path, hub: Path, tmp_path: Path) -> None:
    (inputs / "my.data").mkdir()  # an empty folder is not attached data
    folder = fill(tmp_path / "fetched", RECIPES)
    download(hub, f"return {str(folder)!r}")
    assert is_remote(SOURCE)
    report = tasks.get("recipes").load(n_train=20, n_eval=10, source=SOURCE).report
    assert report.rows_read == 60 and "fetched by kagglehub" in report.notes
    assert kaggle.locate(f"{SOURCE}/versions/2/table.jsonl").path == folder / "table.jsonl"
    import kagglehub

    assert kagglehub.asked == ["some-one/my.data", "some-one/my.data/versions/2"]


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("ConnectionError('no route\\nto host')", "no route to host.*connect, or download it from its page"),
        ("OSError('403 Client Error. Please make sure you are authenticated')", "accept its terms on https://www.kagg"),
        ("OSError('404 Client Error.')", "check the spelling on https://www.kaggle.com/datasets/some-one/my.data; a"),
    ],
)
def test_faults_of_fetching_are_one_line(error: str, cure: str, hub: Path, tmp_path: Path) -> None:
    download(hub, f"raise {error}")
    pattern = f"cannot fetch some-one/my.data from Kaggle: (ConnectionError|OSError): .*{cure}"
    with pytest.raises(DataError, match=pattern) as caught:
        kaggle.locate(SOURCE)
    assert "\n" not in str(caught.value)
    # with a copy of its own it goes on, and says so
    keep(tmp_path, 2)
    keep(tmp_path, 10)
    found = kaggle.locate(SOURCE)
    assert found.path.name == "10" and found.note.startswith("kagglehub's copy of version 10 was used (cannot fetch")
    assert kaggle.locate(f"{SOURCE}/versions/2").path.name == "2"


def test_half_a_download_is_never_used(hub: Path, tmp_path: Path) -> None:
    download(hub, "raise ConnectionError('gone')")
    keep(tmp_path, 3, complete=False)
    with pytest.raises(DataError, match="cannot fetch"):
        kaggle.locate(SOURCE)
    keep(tmp_path, 1)
    assert kaggle.locate(SOURCE).path.name == "1"


def test_without_kagglehub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(
        DataError, match=f"^{SOURCE} needs kagglehub, which is not installed. pip install kagglehub, or"
    ):
        kaggle.locate(SOURCE)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    with pytest.raises(DataError, match=r"attach it to the notebook \(Add Input\)"):
        kaggle.locate(SOURCE)
    keep(tmp_path, 4)
    assert kaggle.locate(SOURCE).path.name == "4"


def test_offline_nothing_is_fetched(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download(hub, "raise AssertionError('asked')")
    monkeypatch.setenv("PEFT_LAB_OFFLINE", "1")
    with pytest.raises(DataError, match="neither attached nor in kagglehub's cache, and PEFT_LAB_OFFLINE=1 forbids"):
        kaggle.locate(SOURCE)
    keep(tmp_path, 1)
    assert kaggle.locate(SOURCE).path.name == "1"
    import kagglehub

    assert kagglehub.asked == []


def test_a_script_on_colab_does_not_wait_for_a_page(hub: Path, tmp_path: Path, root: Path) -> None:
    """kagglehub asks Colab's page for credentials; with nobody there the answer never comes."""
    (hub / "google" / "colab").mkdir(parents=True)
    (hub / "google" / "colab" / "__init__.py").write_text("")
    (hub / "google" / "colab" / "userdata.py").write_text("import time\ndef get(key): time.sleep(600)\n")
    folder = fill(tmp_path / "fetched", RECIPES)
    body = ["try:", "    from google.colab import userdata", "    userdata.get('KAGGLE_KEY')"]
    download(hub, *body, "except ImportError:", "    pass", f"return {str(folder)!r}")
    code = (
        "import google.colab, sys\nfrom helpers.sources import kaggle\n"
        f"print(kaggle.locate({SOURCE!r}).path)\nprint('google.colab' in sys.modules)\n"
        "from google.colab import userdata"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{hub}{os.pathsep}{root}", "COLAB_RELEASE_TAG": "1"}
    environment["PEFT_LAB_INPUT"] = str(tmp_path / "input")
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == [str(folder), "True"] and done.returncode == 0, done.stderr


# -- names


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("kaggle:a/b", ("a", "b", 0, "")),
        ("kaggle:a-1/b_c.d", ("a-1", "b_c.d", 0, "")),
        ("kaggle:a/b/versions/12", ("a", "b", 12, "")),
        ("kaggle:a/b/x y/z.csv", ("a", "b", 0, "x y/z.csv")),
        ("kaggle:a/b/versions/2/z.csv", ("a", "b", 2, "z.csv")),
    ],
)
def test_names(text: str, parts: tuple[str, str, int, str]) -> None:
    found = kaggle.parse(text)
    assert (found.owner, found.name, found.version, found.file) == parts
    assert resolve_dataset(text, "full", "recipes") == text  # a notebook may name it


@pytest.mark.parametrize("text", ["kaggle:", "kaggle:zappos", "kaggle:/a/b", "kaggle:a/b/../c", "kaggle:a b/c"])
def test_no_names(text: str) -> None:
    for task in TABLES:
        with pytest.raises(DataError, match="names no data set on Kaggle. Write kaggle:owner/name"):
            tasks.get(task).load(source=text)
    with pytest.raises(ParameterError, match="dataset = .* names no data set on Kaggle. Write kaggle:owner/name"):
        resolve_dataset(text, "full", "recipes")
