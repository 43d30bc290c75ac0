"""Published data sets load as they are, without a column renamed: every row comes out as it was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from layout_cases import LAYOUTS, PARTS, dialogsum, dialogsum_test, write, write_parts, write_rows

from helpers import tasks

KEYS = {"snli": "hypothesis", "dialogsum": "dialogue", "recipes": "title", "scienceqa": "question"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_loads_as_it_is(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    splits = tasks.get(layout.task).load(None, 10, str(write(layout, tmp_path)))
    key = KEYS[layout.task]
    wanted = {row[key]: row for i in range(60) if (row := layout.wanted(i))}
    found: list[dict[str, Any]] = [dict(row) for part in splits.values() for row in part]
    assert {row[key] for row in found} <= set(wanted)
    # Sentence pairs leave the overhang of a split's last premise out.
    assert len(found) >= len(wanted) - 4 and sum(splits.report.dropped.values()) == 60 - len(wanted)
    for row in found:
        right = wanted[row[key]]
        if name == "SciQ":  # its choices have no order
            assert row["choices"][row["answer"]] == right["choices"][right["answer"]]
            row |= {"choices": sorted(row["choices"]), "answer": right["answer"]}
            right = {**right, "choices": sorted(right["choices"])}
        assert {column: row[column] for column in right} == right


@pytest.mark.parametrize("name", PARTS)
def test_official_splits_are_kept(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS[name]
    numbers = write_parts(name, tmp_path)
    splits = tasks.get(layout.task).load(None, 12, str(tmp_path))
    key = KEYS[layout.task]
    own = {part: {row[key] for i in range_ if (row := layout.wanted(i))} for part, range_ in numbers.items()}
    found = {part: set(rows[key]) for part, rows in splits.items()}
    assert found["train"] == own["train"] and found["test"] <= own["test"] and found["validation"] <= own["validation"]
    assert len(splits["test"]) == 12 and len(splits["validation"]) == 10


def test_dialogsums_release_has_one_summary_in_train_and_three_in_test(tmp_path: Path) -> None:
    for name, row, numbers in (
        ("train", dialogsum, range(40)), ("dev", dialogsum, range(40, 60)), ("test", dialogsum_test, range(60, 80)),
    ):  # fmt: skip
        write_rows([row(i) for i in numbers], tmp_path / f"dialogsum.{name}.jsonl")
    splits = tasks.get("dialogsum").load(None, 12, str(tmp_path))
    assert len(splits["train"]) == 40 and all(len(row["references"]) == 1 for row in splits["train"])
    for row in splits["test"]:
        own = next(dialogsum_test(i) for i in range(60, 80) if dialogsum_test(i)["dialogue"] == row["dialogue"])
        assert row["references"] == [own["summary1"], own["summary2"], own["summary3"]]
