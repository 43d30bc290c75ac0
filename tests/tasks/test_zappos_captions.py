"""Captions counted word by word, and written to a file that the task reads back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from zappos_cases import TASK, everything, labelled, load

from helpers.errors import DataError
from helpers.tasks.zappos import (
    all_right,
    caption,
    caption_lines,
    slot_hits,
    slot_shares,
    slots_named,
    slots_right,
    word_outcomes,
    write_captions,
)

ROWS = [
    {"type": "heels", "colour": "red", "material": "leather"},
    {"type": "ankle boots", "colour": "", "material": "rubber"},
    {"type": "", "colour": "", "material": ""},
]
TEXTS = [caption("heels", "red", "rubber"), "Black ANKLE BOOTS, rubbery", "anything"]


def test_the_lenient_reading_wants_whole_words_in_any_place_and_case() -> None:
    assert slots_named("Red leather heels, no oxfords", ROWS[0]) == dict.fromkeys(("type", "colour", "material"), True)
    assert slots_named(TEXTS[1], ROWS[1]) == {"type": True, "material": False}
    assert slots_right("Red leather heels", ROWS[0])["colour"] is False  # the strict reading wants the sentence


def test_hits_by_slot_and_shares_by_caption() -> None:
    assert slot_hits(TEXTS, ROWS) == {"type": [True, False], "colour": [True], "material": [False, False]}
    assert slot_hits(TEXTS, ROWS, slots_named)["type"] == [True, True]
    assert slot_hits(TEXTS[2:], ROWS[2:]) == {}
    assert slot_shares(TEXTS, ROWS) == [pytest.approx(2 / 3), 0.0, 0.0]
    assert slot_shares(TEXTS, ROWS, slots_named) == [pytest.approx(2 / 3), 0.5, 0.0]
    assert all_right([caption(**ROWS[0]), *TEXTS[1:]], ROWS) == [True, False, True]
    with pytest.raises(ValueError, match="zip"):
        slot_hits(TEXTS[:2], ROWS)


def test_a_caption_in_lines_and_words_counted() -> None:
    assert caption_lines(caption("heels", "red", "")) == "heels\nred color\nan unspecified material"
    assert word_outcomes(["red", "", "black", "red"], ["red", "red", "red", ""]) == {
        "right": 1, "wrong": 1, "unspecified": 1
    }  # fmt: skip


def test_written_captions_are_read_back_by_the_task(tmp_path: Path) -> None:
    rows = load(labelled(tmp_path / "files"), None)["train"]
    words = {"colour": ["red", "", *["white"] * (len(rows) - 2)], "material": [""] * (len(rows) - 1) + ["rubber"]}
    table = write_captions(rows, words, {"colour": np.linspace(0, 1, len(rows))}, tmp_path)
    assert table["new_prompt"][0] == caption(rows[0]["type"], "red", "") and table["p_colour"].iloc[-1] == 1
    assert len(pd.read_csv(tmp_path / "captions.csv")) == len(rows) and not (tmp_path / "pictures").exists()
    found = {row["id"]: row for row in everything(load(tmp_path / "captions.csv", None, 6))}
    for row, colour, material in zip(rows, words["colour"], words["material"], strict=True):
        again = found[row["id"]]
        assert (again["type"], again["colour"], again["material"]) == (row["type"], colour, material)
        assert again["image"].tobytes() == row["image"].tobytes()


def test_pictures_without_a_file_are_written_and_lengths_are_checked(tmp_path: Path) -> None:
    rows = TASK.load(n_train=4, n_eval=2)["train"]
    words = {"colour": rows["colour"], "material": rows["material"]}
    table = write_captions(rows, words, {}, tmp_path)
    assert sorted((tmp_path / "pictures").iterdir()) == [tmp_path / path for path in table["image_path"]]
    with pytest.raises(DataError, match="1 values of colour for 4 pictures"):
        write_captions(rows, {"colour": ["red"], "material": rows["material"]}, {}, tmp_path)
