"""Reading sources: every fault is one clear line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.local import RawRows, read_local

ROWS = [{"title": f"dish {n}", "ingredients": ["a", "b"], "steps": ["x", f"y {n}"]} for n in range(300)]


def fails(source: Path | str, pattern: str, task: str = "recipes") -> None:
    with pytest.raises(DataError, match=pattern) as caught:
        tasks.get(task).load(10, 10, str(source))
    assert "\n" not in str(caught.value)


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_all_file_types_give_the_same_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"a": f"x{n}", "b": f'y, "{n}"\nz'} for n in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    put(tmp_path / "r.jsonl", lines(rows) + "\n")
    put(tmp_path / "r.json", json.dumps(rows, indent=1))
    put(tmp_path / "wrapped.json", json.dumps({"version": 1, "data": rows}))
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row.values()) for row in rows]
    put(tmp_path / "r.csv", "\ufeffa,b\n" + "\n".join(quoted))
    put(tmp_path / "r.tsv", "a\tb\n" + "\n".join(line.replace('","', '"\t"') for line in quoted))
    for name in ("r.parquet", "r.jsonl", "r.json", "wrapped.json", "r.csv", "r.tsv"):
        raw = read_local(tmp_path / name, 1000, 0)
        assert raw.rows == rows and raw.columns == ["a", "b"] and raw.read == 50, name
    put(tmp_path / "byid.json", json.dumps({"k1": rows[0], "k2": rows[1]}))
    assert [row["id"] for row in read_local(tmp_path / "byid.json", 9, 0).rows] == ["k1", "k2"]


def test_folder_is_read_whole_and_thinned_fairly(tmp_path: Path) -> None:
    for part in range(3):
        put(tmp_path / f"part{part}.jsonl", lines([{"n": part * 1000 + n} for n in range(1000)]))
    put(tmp_path / "README.md", "not data")
    assert [row["n"] for row in read_local(tmp_path, 10_000, 0).rows] == list(range(3000))
    sample = read_local(tmp_path, 300, seed=1)
    assert (len(sample.rows), sample.read) == (300, 3000) and "random 300 of 3,000" in sample.notes[0]
    numbers = [row["n"] for row in sample.rows]
    assert len(set(numbers)) == 300
    for part in range(3):
        assert 60 < sum(part * 1000 <= n < (part + 1) * 1000 for n in numbers) < 140
    assert numbers == [row["n"] for row in read_local(tmp_path, 300, seed=1).rows]
    assert numbers != [row["n"] for row in read_local(tmp_path, 300, seed=2).rows]


def test_json_array_larger_than_one_read(tmp_path: Path) -> None:
    rows = [{"text": "é" * 5000, "n": n} for n in range(60)]
    path = put(tmp_path / "big.json", json.dumps(rows, ensure_ascii=False))
    assert read_local(path, 100, 0).rows == rows


def test_missing_column_names_found_and_nearest(tmp_path: Path) -> None:
    rows = [{"Title": "t", "ingrediants": ["a"], "steps": ["b"]}]
    fails(
        put(tmp_path / "r.jsonl", lines(rows)),
        r"r.jsonl has no column 'ingredients' \(found: Title, ingrediants, steps; nearest is 'ingrediants'\)"
        r".*Name a column one of: ingredients, ",
    )
    fails(
        put(tmp_path / "s.csv", "premise,label\na,1\n"),
        "no column 'hypothesis'.*found: premise, label",
        "snli",
    )


def test_aliases_ignore_case_and_underscores() -> None:
    raw = RawRows("x", [{"Recipe_Name": "t", "DIRECTIONS": "d", "Ingredient List": "i"}])
    raw.columns = list(raw.rows[0])
    picked = reader.pick_columns(raw, {"title": ("recipe name",), "steps": ("directions",), "id": ()}, ("id",))
    assert picked == [{"title": "t", "steps": "d", "id": None}]


@pytest.mark.parametrize("name", ["e.jsonl", "e.csv", "e.json", "e.tsv"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    fails(put(tmp_path / name, ""), f"{name} is empty: it holds no rows")


def test_header_only_and_empty_list(tmp_path: Path) -> None:
    fails(put(tmp_path / "h.csv", "title,ingredients,steps\n"), "is empty")
    fails(put(tmp_path / "l.json", "[]"), "is empty")


def test_unreadable_json_lines(tmp_path: Path) -> None:
    text = lines(ROWS[:4]) + '{"title": "broken\n' + lines(ROWS[4:20])
    fails(put(tmp_path / "bad.jsonl", text), r"bad.jsonl has 1 unreadable of 21 rows, the first at line 5: ")
    fails(
        put(tmp_path / "list.jsonl", "[1, 2]\n"),
        "2 unreadable of 2 rows, the first at line 1: not a JSON object but 1",
    )
    few = put(tmp_path / "few.jsonl", lines(ROWS[:250]) + "{oops\n" + lines(ROWS[250:]))
    raw = read_local(few, 1000, 0)
    assert (raw.read, raw.unreadable, len(raw.rows)) == (301, 1, 300)


def test_skipped_lines_are_in_the_report(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(300)]
    rows = [{"title": "t", "ingredients": [w, w + "a"], "steps": [f"{w} {w}b {w}c", f"{w}d {w}e"]} for w in words]
    path = put(tmp_path / "few.jsonl", lines(rows) + "{oops\n")
    report = tasks.get("recipes").load(100, 30, str(path)).report
    assert report.dropped == {"unreadable": 1} and "1 unreadable" in str(report)


def test_ragged_and_broken_files(tmp_path: Path) -> None:
    fails(put(tmp_path / "r.csv", "title,ingredients,steps\na,b\n"), "first at line 2: fewer than 3 fields")
    fails(put(tmp_path / "r.csv", "title,ingredients,steps\na,b,c,d\n"), "first at line 2: more than 3 fields")
    fails(put(tmp_path / "r.csv", "title,steps,steps\na,b,c\n"), "the column 'steps' twice")
    fails(put(tmp_path / "r.json", '{"title": '), "r.json is not valid JSON")
    fails(put(tmp_path / "r.json", '[{"title": "x"}, {"ti'), "not valid JSON after row 1")
    fails(put(tmp_path / "r.json", '"text"'), "holds a single str")
    fails(put(tmp_path / "r.parquet", "no parquet"), "is not a readable parquet file")
    (tmp_path / "latin.csv").write_bytes("title,ingredients,steps\ncr\xe8me,b,c\n".encode("latin-1"))
    fails(tmp_path / "latin.csv", "latin.csv is not UTF-8")


def test_paths_and_names_that_lead_nowhere(tmp_path: Path) -> None:
    fails(tmp_path / "none.jsonl", "none.jsonl does not exist")
    fails("recipes.csv", "recipes.csv does not exist")
    fails(put(tmp_path / "r.xlsx", "x"), r"files of type .xlsx are not known.*\.parquet, \.jsonl")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "has no data files")
    fails("wikiboks", "unknown data source 'wikiboks'.*Built-in are generator, wikibooks")


def test_what_a_source_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert reader.kind_of("corbt/all-recipes") == "hub"
    assert reader.kind_of("AkashPS11/recipes_data_food.com") == "hub"
    for local in ("./a/b", "data/x.csv", "/tmp/x", "~/x"):
        assert reader.kind_of(local) == "local"
    (tmp_path / "corbt" / "all-recipes").mkdir(parents=True)
    assert reader.kind_of("corbt/all-recipes") == "local"


def test_hub_offline_fails_fast_and_clearly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    start = time.perf_counter()
    fails(
        "stanfordnlp/snli",
        "Hub cannot be reached and stanfordnlp/snli .* not in the local cache.*HF_HUB_OFFLINE",
        "snli",
    )
    assert time.perf_counter() - start < 10
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True
