"""Texts that lessons print: one example as several systems answered it; the most memory held."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from machine_cases import ready

from helpers.config.settings import resolve
from helpers.machine.hardware import describe
from helpers.runs import provenance
from helpers.runs.display import labelled_texts, start_screen


def test_texts_stand_below_each_other_behind_their_labels() -> None:
    shown = labelled_texts({"reference": "1. Chop.\n2.  Serve.", "qlora": ""}).splitlines()
    assert shown == ["reference  1. Chop. 2. Serve.", "qlora      (empty)"]


def test_long_texts_are_wrapped_and_cut() -> None:
    lines = labelled_texts({"a": "word " * 100}, width=30, longest=60).splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 30
    assert all(line.startswith("   ") for line in lines[1:]) and lines[-1].endswith("…")
    assert labelled_texts({}) == ""


@pytest.mark.parametrize(("cuda", "text"), [(5.24, "5.2 GB GPU"), (None, None)])
def test_peak_memory_is_that_of_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, cuda: float | None, text: str | None
) -> None:
    monkeypatch.setattr(provenance, "peak_cuda_gb", lambda: cuda)
    found = provenance.peak_memory()
    assert found == text if text else re.fullmatch(r"\d+\.\d GB RAM", found)


def test_the_first_screen_says_that_one_of_two_gpus_is_used() -> None:
    for name, said in (("kaggle_t4x2", 1), ("colab_t4", 0)):
        machine = describe(ready(name))
        screen = start_screen(resolve("03_qlora_nli", {"profile": "full"}, machine), machine, Path("run"))
        assert " ".join(screen.split()).count("the one of 2 GPUs that is used") == said, screen
