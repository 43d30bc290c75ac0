"""JSON in its usual shapes: rows, or a refusal that says what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.errors import DataError
from helpers.sources.local import RawRows, read_local

ROWS = [{"premise": f"Tom {n}\u2028é\x85 sits", "label": n, "ok": None if n % 2 else "x"} for n in range(150)]


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path) -> RawRows:
    return read_local(path, 10**6, 0)


def refused(path: Path, pattern: str) -> str:
    with pytest.raises(DataError, match=pattern) as caught:
        read(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    return str(caught.value)


def dumped(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def lines(rows: list[Any], end: str = "\n") -> str:
    return "".join(dumped(row) + end for row in rows)


SHAPES = {
    "lines": lines(ROWS),
    "lines, CRLF and blank lines": lines(ROWS, "\r\n\r\n"),
    "lines, not the last one": lines(ROWS).rstrip("\n"),
    "byte order mark": "\ufeff" + lines(ROWS),
    "list": dumped(ROWS),
    "list of several lines": dumped(ROWS, indent=2),
    "objects of several lines": "\n".join(dumped(row, indent=1) for row in ROWS),
    "objects without a line between": "".join(dumped(row) for row in ROWS),
    "list inside": dumped({"version": "1.1", "data": ROWS, "authors": ["a", "b"]}, indent=1),
    "list inside, one line": dumped({"version": "1.1", "data": ROWS}),
    "lists by column": dumped({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "pandas columns": dumped({name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}),
    "pandas split": dumped({"columns": list(ROWS[0]), "index": [1, 2], "data": [list(row.values()) for row in ROWS]}),
    "wrapped objects": dumped({"data": {name: {str(n): r[name] for n, r in enumerate(ROWS)} for name in ROWS[0]}}),
}


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_shapes(tmp_path: Path, shape: str, suffix: str) -> None:
    assert read(put(tmp_path / f"t{suffix}", SHAPES[shape])).rows == ROWS


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table", "records"])
def test_what_pandas_writes(tmp_path: Path, orient: Any) -> None:
    pd.DataFrame(ROWS).to_json(tmp_path / "t.json", orient=orient, force_ascii=False)
    rows = read(tmp_path / "t.json").rows
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS


def test_objects_by_id(tmp_path: Path) -> None:
    raw = read(put(tmp_path / "t.json", dumped({"a": {}, "b": {"title": "x", "id": "own"}, "c": {"steps": ["y"]}})))
    assert raw.columns == ["id", "title", "steps"]
    assert raw.rows[0] == {"id": "a", "title": None, "steps": None} and raw.rows[1]["id"] == "own"
    many = {f"r{n}": {"title": f"t{n}", "steps": ["a"]} for n in range(100)}
    assert [row["id"] for row in read(put(tmp_path / "m.json", dumped(many))).rows] == list(many)


def test_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"b": 2}, {"a": 3, "c": [4]}]
    raw = read(put(tmp_path / "t.jsonl", lines(rows)))
    assert raw.columns == ["a", "b", "c"] and raw.rows[1] == {"a": None, "b": 2, "c": None}


def test_one_row_of_lines_that_looks_like_a_table_stays_a_row(tmp_path: Path) -> None:
    row = {"title": "x", "ingredients": ["a", "b"], "steps": ["c", "d"]}
    assert read(put(tmp_path / "t.jsonl", lines([row]))).rows == [row]
    assert read(put(tmp_path / "u.jsonl", lines([{"ingredients": ["a"], "steps": ["c"]}]))).read == 1


def test_numbers_that_json_does_not_know(tmp_path: Path) -> None:
    raw = read(put(tmp_path / "t.jsonl", '{"a": NaN, "b": Infinity}\n'))
    assert raw.rows == [{"a": None, "b": float("inf")}]


def test_a_list_is_streamed_in_pieces(tmp_path: Path) -> None:
    rows = [{"text": "é" * (70_000 if n % 20 == 0 else n), "n": n} for n in range(60)]
    assert read(put(tmp_path / "t.json", dumped(rows))).rows == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (dumped(ROWS)[:-700], r"not valid JSON after row 13\d: it ends in the middle: incomplete download"),
        (dumped({"data": ROWS})[:-50], "not valid JSON: it ends in the middle: incomplete download"),
        (dumped({"train": ROWS, "test": ROWS[:9]}), r"several lists of rows: train \(150\), test \(9\)"),
        (dumped({"a": [1, 2], "b": [1]}), r"lists of different lengths: a \(2\), b \(1\)"),
        (dumped({"title": "x", "n": 1}), r"holds one object and no list of rows \(found title: str, n: int\)"),
        (dumped([[1, 2], [3, 4]]), r"rows that are lists, without names of columns: \[1, 2\].*orient=\"records\""),
        (dumped(ROWS) + dumped(ROWS), "holds more behind its list of 150 rows"),
        (dumped({"columns": ["a", "b"], "data": [["x"]]}), r"has 2 columns, but row 1 of its data is \['x'\]"),
        ('{"a": 1 "b": 2}\n' + lines(ROWS), "not valid JSON"),
        ('"text"', "holds a single str"),
    ],
)  # fmt: skip
def test_what_is_no_table(tmp_path: Path, text: str, said: str) -> None:
    refused(put(tmp_path / "t.json", text), said)


def test_lines_that_cannot_be_read(tmp_path: Path) -> None:
    text = lines(ROWS[:4]) + '{"title": "broken\n' + lines(ROWS[4:20])
    refused(put(tmp_path / "bad.jsonl", text), "has 1 unreadable of 21 rows, the first at line 5: ")
    raw = read(put(tmp_path / "few.jsonl", lines(ROWS[:90]) + "{oops\n" + lines(ROWS[90:])))
    assert (raw.read, raw.unreadable, len(raw.rows)) == (151, 1, 150)
    assert "few.jsonl: 1 of 151 rows left out, the first at line 91: " in raw.notes[0]
    refused(put(tmp_path / "cut.jsonl", lines(ROWS)[:-9]), "ends in the middle.*last line, 150, is not whole")
