"""What the images of Colab and Kaggle hold, and the folder of wheels that a session without Internet lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from machine_cases import NAMES, read
from packaging.requirements import Requirement
from service_cases import index

from helpers.errors import AssetError
from helpers.machine import images, problems
from helpers.machine.requirements import KEEP, lesson_requirements, named, normal
from helpers.machine.versions import version_tuple

# Nothing else may be installed on Colab; on Kaggle transformers is too old (requirements.txt says for what).
ABSENT = {"trl", "bitsandbytes", "evaluate", "sacrebleu", "rouge-score", "gguf"}
LACKS = {"colab": ABSENT | {"papermill"}, "kaggle": ABSENT | {"transformers"}}


def lacks(image: images.Image) -> set[str]:
    return {normal(named(line)[0]) for line in image.missing}


@pytest.mark.parametrize("name", images.names())
def test_an_image_lacks_only_what_no_image_can_have(name: str) -> None:
    image = images.read(name)
    assert lacks(image) == LACKS[name]
    assert problems.PYTHON_MIN <= version_tuple(image.python)[:2] <= problems.PYTHON_MAX
    assert not set(KEEP) & lacks(image) and "+cu" in image.packages["torch"]


@pytest.mark.parametrize("name", images.names())
def test_the_record_reaches_everything_that_the_requirements_need(name: str, root: Path) -> None:
    """Else pip would fail, or pass, for want of a record: then refresh.py has to be run again."""
    image = images.read(name)
    todo = [normal(named(line)[0]) for line in lesson_requirements(root / "requirements.txt")]
    seen: set[str] = set()
    while todo:
        package = todo.pop()
        if package in seen or package in KEEP:
            continue
        seen.add(package)
        assert package in image.packages or package in image.needs, f"{package} is not recorded"
        for needs in image.needs.get(package, {}).values():
            assert all(Requirement(need).marker is None for need in needs)
            todo += [normal(Requirement(need).name) for need in needs]


def test_recorded_machines_hold_what_their_image_holds() -> None:
    for name in NAMES:
        record = read(name)["record"]
        if record["platform"] != "local":
            image = images.read(record["platform"])
            held = {normal(package): version for package, version in record["versions"].items()}
            assert held == {package: image.packages[package] for package in held}, name
            assert version_tuple(record["python"])[:2] == version_tuple(image.python)[:2]


def test_wheels_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip resolves for the image's Python; what the image has is not fetched, what it has too old is."""
    image = images.read("kaggle")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index(image, tmp_path / "index")))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    images.empty_wheel(tmp_path / "wheels", "old", "1.0")
    said: list[str] = []
    fetched = images.download_wheels(image, tmp_path / "wheels", said.append)
    names = {normal(path.name.split("-")[0]) for path in fetched}
    assert lacks(image) <= names and not names & set(image.kept())
    assert "lacks: " in said[0] and "transformers" in said[0]
    assert not (tmp_path / "wheels" / "old-1.0-py3-none-any.whl").exists()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(AssetError, match="pip could not fetch the wheels: ERROR: "):
        images.download_wheels(image, tmp_path / "none", said.append)


def test_ci_takes_each_image_with_its_python(root: Path) -> None:
    jobs = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    tried = {entry["image"]: entry["python"] for entry in jobs["platforms"]["strategy"]["matrix"]["include"]}
    short = {name: ".".join(images.read(name).python.split(".")[:2]) for name in images.names()}
    assert tried == short | {"oldest": ".".join(map(str, problems.PYTHON_MIN))}


def test_an_unknown_image() -> None:
    with pytest.raises(AssetError, match="take one of: colab, kaggle"):
        images.read("sagemaker")
