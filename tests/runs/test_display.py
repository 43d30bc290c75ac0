"""Texts that lessons print: one example as several systems answered it; the most memory held."""

from __future__ import annotations

import re

import pytest

from helpers.runs import provenance
from helpers.runs.display import labelled_texts


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
