"""Task zappos: splits are stratified and do not leak, questions and scores are those promised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Image as ImageFeature
from zappos_cases import TASK, everything, load, picture, release

from helpers.errors import DataError
from helpers.tasks.zappos import task as zappos
from helpers.tasks.zappos.words import COLOURS, DRAWN, MATERIALS


# ---------- splits of generated shoes
def test_splits_are_disjoint_repeatable_and_do_not_move_with_n_train() -> None:
    small, large = (TASK.load(n_train=n, n_eval=40, seed=3) for n in (20, 80))
    assert list(small["test"]["id"]) == list(large["test"]["id"])
    assert list(small["validation"]["id"]) == list(large["validation"]["id"])
    assert list(small["train"]["id"]) == list(large["train"]["id"])[:20]
    assert large.report.sizes == {"train": 80, "validation": 13, "test": 40} and large.report.usable == 133
    assert large["train"].column_names == list(TASK.columns)
    pictures = [row["image"].tobytes() for row in everything(large)]
    assert len(set(pictures)) == 133 and large["test"][0]["image"].size == (136, 136)
    again = TASK.load(n_train=20, n_eval=40, seed=3)
    assert again.report.fingerprint == small.report.fingerprint
    assert TASK.load(n_train=20, n_eval=40, seed=4).report.fingerprint != small.report.fingerprint
    for name, words in (("type", DRAWN), ("colour", COLOURS), ("material", MATERIALS)):
        found = Counter(large["test"][name])
        assert set(found) == set(words) and max(found.values()) - min(found.values()) <= 3


@pytest.mark.parametrize(("n_train", "n_eval"), [(0, 10), (5, 0), (-1, 10), (True, 10), (5.0, 10)])
def test_sizes_that_cannot_be_served(n_train: Any, n_eval: int) -> None:
    with pytest.raises(DataError, match="whole number of at least 1"):
        TASK.load(n_train=n_train, n_eval=n_eval)


def test_a_leak_is_refused() -> None:
    rows = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    hashes = {"a": "1", "b": "2", "c": "1"}
    zappos.check_no_leak({"train": rows[:1], "test": rows[1:2]}, hashes)
    with pytest.raises(DataError, match="picture 'c' is in both train and test"):
        zappos.check_no_leak({"train": rows[:1], "test": rows[1:]}, hashes)
    with pytest.raises(DataError, match="id 'b' is in both validation and test"):
        zappos.check_no_leak({"validation": rows[1:2], "test": rows[1:2]}, hashes)


# ---------- sampling
def test_samples_are_random_stratified_and_fixed_for_test(tmp_path: Path) -> None:
    release(tmp_path, 200)
    first, second, other = load(tmp_path, 40, 20), load(tmp_path, 100, 20), load(tmp_path, 40, 20, seed=1)
    for name in ("test", "validation"):
        assert list(first[name]["id"]) == list(second[name]["id"]) != list(other[name]["id"])
    assert list(first["train"]["id"]) == list(second["train"]["id"])[:40]
    for splits, name, each in ((first, "test", 5), (first, "train", 10), (second, "train", 25)):
        assert all(abs(count - each) <= 1 for count in Counter(splits[name]["type"]).values())
    numbers = [int(key.split("-")[0]) - 100000 for key in first["test"]["id"]]
    assert max(numbers) > 120 and min(numbers) < 80  # not the first of a sorted list
    assert any("70 pictures were opened, a random part of 200" in note for note in first.report.notes)
    pictures = [row["image"].tobytes() for row in everything(second)]
    assert len(set(pictures)) == len(pictures)
    with pytest.raises(DataError, match="200 usable pictures in .*n_train 500"):
        load(tmp_path, 500)


def test_the_fingerprint_follows_the_pictures_and_not_their_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        release(tmp_path / name)
    prints = [load(tmp_path / name).report.fingerprint for name in ("a", "b")]
    assert prints[0] == prints[1]
    used = load(tmp_path / "b")["train"].cast_column("image", ImageFeature(decode=False))[0]["image"]["path"]
    Path(used).write_bytes(picture(999))
    assert load(tmp_path / "b").report.fingerprint != prints[0]


# ---------- questions
def test_examples_ask_for_a_caption_or_for_one_word() -> None:
    rows = TASK.load(n_train=40, n_eval=10)["train"]
    for row, example in zip(rows, TASK.examples(rows), strict=True):
        said = f"A photo of {row['type']} with {row['colour']} color and {row['material']} material"
        assert (example["prompt"], example["completion"], example["answer"]) == ("", said, -1)
        assert np.array_equal(np.asarray(example["image"]), np.asarray(row["image"])) and example["options"] == []
    for form, words in (("type", sorted(DRAWN)), ("colour", list(COLOURS)), ("material", list(MATERIALS))):
        for row, example in zip(rows, TASK.examples(rows, form), strict=True):
            assert example["options"] == words and words[example["answer"]] == example["completion"] == row[form]
            assert TASK.bare_prompt(form)[0]["content"] == example["prompt"]
    with pytest.raises(DataError, match="has no form 'color'.*Did you mean 'colour'"):
        TASK.examples(rows, "color")


def test_vision_messages_hold_one_rgb_picture() -> None:
    example = TASK.examples(TASK.load(n_train=2, n_eval=2)["train"], "colour")[0]
    messages = TASK.to_vision_messages(example | {"image": example["image"].convert("L")})
    assert [part["type"] for part in messages["prompt"][0]["content"]] == ["image", "text"]
    assert messages["completion"][0]["content"][0]["text"] == example["completion"]
    assert len(messages["images"]) == 1 and messages["images"][0].mode == "RGB"
    caption = TASK.examples(TASK.load(n_train=2, n_eval=2)["train"])[0]
    assert TASK.to_vision_messages(caption)["prompt"] == [{"role": "user", "content": [{"type": "image"}]}]
