"""Reading sources: every fault is one clear line."""

from __future__ import annotations

import json
import time
import tracemalloc
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


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json"])
def test_memory_is_that_of_the_rows_kept(tmp_path: Path, name: str) -> None:
    rows = [{"a": f"{n} " + "words, and more " * 60, "b": str(n)} for n in range(6_000)]
    if name.endswith("json"):
        put(tmp_path / name, json.dumps(rows))  # one line of 6 MB
    elif name.endswith("jsonl"):
        put(tmp_path / name, lines(rows))
    else:
        csv_rows = "".join("\t".join((row["a"], row["b"])) + "\n" for row in rows)
        quoted = "".join(f'"{row["a"]}",{row["b"]}\n' for row in rows)
        put(tmp_path / name, "a\tb\n" + csv_rows if name.endswith("tsv") else "a,b\n" + quoted)
    tracemalloc.start()
    assert len(read_local(tmp_path / name, 50, 0).rows) == 50
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


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


def test_many_columns_are_not_all_named_and_deeper_ones_are_found(tmp_path: Path) -> None:
    wide = put(tmp_path / "w.jsonl", lines([{f"c{n}": 0 for n in range(1000)}]))
    with pytest.raises(DataError, match=r"no column 'premise' \(found: c0, c1, .*, c11 and 988 more\)") as caught:
        tasks.get("snli").load(8, 8, str(wide))
    assert len(str(caught.value)) < 300
    answers = [{"question": "Where?", "answers": [{"text": "here"}]}]
    squad = {"version": "1.1", "data": [{"title": "x", "paragraphs": [{"context": "c", "qas": answers}]}] * 3}
    raw = read_local(put(tmp_path / "squad.json", json.dumps(squad)), 100, 0)
    with pytest.raises(DataError, match=r"found: title, paragraphs\); paragraphs.qas.question is inside of a cell"):
        reader.pick_columns(raw, {"question": ("query",)})


def test_cells_that_hold_objects_are_refused(tmp_path: Path) -> None:
    rows = [{"premise": {"en": "A cat.", "fr": "Un chat."}, "hypothesis": "x", "label": n % 3} for n in range(60)]
    fails(
        put(tmp_path / "x.jsonl", lines(rows)),
        "cells of column premise hold objects, not text: {'en': 'A cat.'",
        "snli",
    )


def test_when_no_row_can_be_used_the_reasons_are_named(tmp_path: Path) -> None:
    rows = [{"title": f"d{n}", "ingredients": ["a", "b"], "steps": "mix" if n else ""} for n in range(60)]
    path = put(tmp_path / "r.jsonl", lines(rows))
    fails(
        path,
        r"none of the 60 recipes in .*r.jsonl can be used: 59 fewer than 2 steps; 1 no steps, such as {.*Needed are",
    )
    fails(put(tmp_path / "d.csv", "dialogue,summary\n" + ",x\n" * 50), "none of the 50 .* 50 no dialogue", "dialogsum")
    fails(put(tmp_path / "s.csv", "premise,hypothesis,label\n" + "a,b,-\n" * 50), "50 without an agreed label", "snli")


def test_skipped_lines_are_in_the_report(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(300)]
    rows = [{"title": "t", "ingredients": [w, w + "a"], "steps": [f"{w} {w}b {w}c", f"{w}d {w}e"]} for w in words]
    path = put(tmp_path / "few.jsonl", lines(rows) + "{oops\n")
    report = tasks.get("recipes").load(100, 30, str(path)).report
    assert report.dropped == {"unreadable": 1} and "1 unreadable" in str(report)


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
