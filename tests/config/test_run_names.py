"""Runs with other settings or other data have other names."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.config import settings
from helpers.config.checks import resolve_run_name
from helpers.config.parameters import Settings
from helpers.files import content_hash


def resolve(given: dict[str, Any]) -> Settings:
    machine = SimpleNamespace(device="cpu", gpu_memory_gb=0.0)
    return settings.resolve("04_qlora_instruct", {"profile": "smoke"} | given, machine)


def name(**changed: object) -> str:
    return resolve_run_name(None, "smoke", "recipes", 0, changed)


def test_a_name_that_says_everything_has_no_mark() -> None:
    assert name(lora_r=8, quant="none") == "smoke-recipes-seed0-lora_r=8-quant=none"


def test_files_of_one_name_in_two_folders_are_two_runs() -> None:
    one, other = name(dataset="/a/train.csv"), name(dataset="/b/train.csv")
    assert one != other and one.startswith("smoke-recipes-seed0-dataset=train.csv-")
    assert len(one) == len("smoke-recipes-seed0-dataset=train.csv-") + 6
    assert name(model_id="mine/phi") != name(model_id="yours/phi")


def test_what_is_cut_off_or_cannot_stand_in_a_name_still_counts() -> None:
    long = "/data/" + "recipes_cleaned_and_deduplicated_" * 4 + "v3.csv"
    names = {name(dataset=long, lora_r=4), name(dataset=long, lora_r=8), name(dataset=long + "x")}
    assert len(names) == 3 and all(len(n) <= 100 for n in names)
    assert name(teacher="my answers.tsv") != name(teacher="my_answers.tsv")


def test_the_content_of_a_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "recipes.csv"
    file.write_text("title,ingredients,steps\na,b,c\n")
    first = resolve({"dataset": str(file)})
    assert resolve({"dataset": str(file)}).run_name == first.run_name
    os.utime(file, (1, 1))
    assert resolve({"dataset": str(file)}).run_name == first.run_name, "when it was touched does not matter"
    file.write_text("title,ingredients,steps\na,b,d\n")
    edited = resolve({"dataset": str(file)})
    assert edited.run_name != first.run_name and edited.dataset_hash != first.dataset_hash
    assert "dataset_hash" not in resolve({}).as_dict()


def test_an_explicit_name_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "recipes.csv"
    file.write_text("x")
    assert resolve({"dataset": str(file), "run_name": "mine"}).run_name == "mine"


def test_the_content_of_a_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    table, picture = tmp_path / "rows.csv", tmp_path / "pictures" / "1.png"
    table.write_text("image,type\n1.png,boots\n")
    picture.write_bytes(b"x" * 100)

    def now() -> str:
        return content_hash(tmp_path, (".csv",))

    seen = [now()]
    assert now() == seen[0]
    table.write_text("image,type\n1.png,shoes\n")
    seen.append(now())
    picture.write_bytes(b"x" * 101)
    seen.append(now())
    picture.rename(picture.with_name("2.png"))
    seen.append(now())
    assert len(set(seen)) == 4


@pytest.mark.parametrize("place", ["first", "last"])
def test_large_tables_of_a_folder_count_by_their_ends(tmp_path: Path, place: str) -> None:
    table = tmp_path / "rows.csv"
    data = bytearray(b"a" * 3_000_000)
    table.write_bytes(data)
    before = content_hash(tmp_path, (".csv",), limit=2_500_000)
    data[5 if place == "first" else -5] = ord("b")
    table.write_bytes(data)
    assert content_hash(tmp_path, (".csv",), limit=2_500_000) != before


def test_a_folder_of_many_pictures_is_looked_at_quickly(tmp_path: Path) -> None:
    for i in range(2000):
        (tmp_path / f"{i}.png").write_bytes(b"x")
    began = time.process_time()
    content_hash(tmp_path, (".csv",))
    assert time.process_time() - began < 2
