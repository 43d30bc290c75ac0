"""Another model's answers from a file: aligned with our questions, or refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.errors import DataError
from helpers.evaluation.predictions import read_answers

IDS = ["007", "a", "gen-0-3"]


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_answers_come_in_our_order_from_every_file_type(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('index,text\ngen-0-3,"{""answer"": ""B""}"\nother,x\n007,NA\na,\n')
    (tmp_path / "p.tsv").write_text('index\tinput\tanswer\texplanation\n007\tq\tNA\tw\na\tq\t\tw\ngen-0-3\tq\t"{""answer"": ""B""}"\tw\n')  # fmt: skip  # noqa: E501
    jsonl(tmp_path / "p.jsonl", [{"id": "a", "output": None}, {"id": "007", "output": "NA"},
                                 {"id": "gen-0-3", "output": {"answer": "B"}}])  # fmt: skip
    for name in ("p.csv", "p.tsv", "p.jsonl"):
        assert read_answers(tmp_path / name, IDS) == ["NA", "", '{"answer": "B"}'], name
    numbers = jsonl(tmp_path / "n.jsonl", [{"id": i, "answer": i % 3} for i in range(9)])
    assert read_answers(numbers, ["4", "8"]) == ["1", "2"]


def test_what_is_missing_is_said_or_counts_as_empty(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "p.jsonl", [{"id": "a", "answer": "B"}, {"id": "x", "answer": "B"}, {"id": "x", "answer": "C"}]
    )
    with pytest.raises(DataError, match="no answer for 2 of 3 questions, for example 007.*allow_missing"):
        read_answers(path, IDS)
    assert read_answers(path, IDS, allow_missing=True) == ["", "B", ""]
    with pytest.raises(DataError, match="no answer for 1 of 1 questions.*ids look like 'a'"):
        read_answers(path, ["b"], allow_missing=True)
    with pytest.raises(DataError, match="answers x 2 times"):
        read_answers(path, ["a", "x"])


def test_columns_are_found_named_or_asked_for(tmp_path: Path) -> None:
    both = jsonl(tmp_path / "p.jsonl", [{"id": "a", "answer": "gold", "prediction": "B"}])
    with pytest.raises(DataError, match='several columns that may be the answer: answer, prediction. .*answer="'):
        read_answers(both, ["a"])
    assert read_answers(both, ["a"], answer="prediction") == ["B"]
    with pytest.raises(DataError, match="no column 'guess'; it has id, answer, prediction"):
        read_answers(both, ["a"], answer="guess")
    with pytest.raises(DataError, match="no column for the id: number, answer"):
        read_answers(jsonl(tmp_path / "q.jsonl", [{"number": "a", "answer": "B"}]), ["a"])
    with pytest.raises(DataError, match="there is no file"):
        read_answers(tmp_path / "none.csv", ["a"])
    for name, text in (("e.jsonl", ""), ("e.csv", "id,answer\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match="holds no rows"):
            read_answers(tmp_path / name, ["a"])
    with pytest.raises(DataError, match="not a JSON object"):
        read_answers(jsonl(tmp_path / "l.jsonl", [["a", "B"]]), ["a"])
