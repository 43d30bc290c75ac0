"""Folders, archives, saved data sets: which files are data, and which file each row is from."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.config.checks import resolve_dataset
from helpers.errors import DataError, ParameterError
from helpers.sources import reader
from helpers.sources.files.kinds import SUFFIXES
from helpers.sources.local import RawRows, read_local

ROWS = [{"premise": f"A {n}.", "hypothesis": f"B {n}.", "label": "0"} for n in range(60)]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows: list[dict[str, str]]) -> str:
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path) -> RawRows:
    return read_local(path, 10**6, 0)


def refused(path: Path, pattern: str) -> None:
    with pytest.raises(DataError, match=pattern) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_about_data_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "data" / "train.csv", table(ROWS))
    about = ("dataset_infos.json", "dataset_info.json", "state.json", "README.md", "LICENSE.txt", "README.txt")
    about += (".hidden.csv", "__MACOSX/._train.csv", ".git/x.json", "train.csv.lock", "requirements.txt", "schema.json")
    for name in (*about, "tokenizer_config.json", "metadata.json"):
        put(tmp_path / name, '{"description": "not data"}')
    raw = read(tmp_path)
    assert raw.rows == ROWS and set(raw.files) == {"data/train.csv"} and raw.notes == []


def test_texts_and_copies_in_other_formats_are_left_out_with_a_note(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", lines(ROWS))
    put(tmp_path / "train.csv", table(ROWS))
    put(tmp_path / "notes.txt", "do not read\n")
    raw = read(tmp_path)
    assert raw.rows == ROWS
    assert raw.notes[0].endswith("hold the data: notes.txt")
    assert raw.notes[1] == "read train.jsonl and not train.csv, which has the same name"


def test_columns_are_found_for_each_file(tmp_path: Path) -> None:
    first = [{"name": f"dish {n}", "directions": f"heat {n}"} for n in range(20)]
    put(tmp_path / "a.csv", table(first))
    put(tmp_path / "b.csv", table([{"title": f"dish {n}", "steps": f"cool {n}", "kind": "x"} for n in range(20, 40)]))
    raw = read(tmp_path)
    assert raw.columns == ["name", "directions", "title", "steps", "kind"] and raw.rows[0]["title"] is None
    assert raw.notes == ["b.csv has other columns than a.csv: title, steps, kind"]
    picked = reader.pick_columns(raw, {"title": ("name",), "steps": ("directions",), "kind": ()}, ("kind",))
    assert [row["title"] for row in picked] == [f"dish {n}" for n in range(40)]
    assert picked[0] == {"title": "dish 0", "steps": "heat 0", "kind": None} and picked[39]["kind"] == "x"
    with pytest.raises(
        DataError, match=r"a.csv in .* has no column 'kind' \(found: name, directions.*give the one file"
    ):
        reader.pick_columns(raw, {"kind": ()})


def test_each_row_keeps_its_file_through_the_sample(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path / part / "p.jsonl", lines([{"from": f"{part}/p.jsonl", "n": n} for n in range(2000)]))
    raw = read_local(tmp_path, 300, 0)
    assert raw.files == [row["from"] for row in raw.rows] and len(raw.files) == 300
    assert 100 < Counter(raw.files)["train/p.jsonl"] < 200


@pytest.mark.parametrize(("suffix", "packed"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_packed_files(tmp_path: Path, suffix: str, packed: Any) -> None:
    for name, text in (
        ("a.jsonl", lines(ROWS)),
        ("b.csv", table(ROWS)),
        ("c.json", json.dumps(ROWS)),
        ("d", table(ROWS)),
    ):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(packed.compress(text.encode()))
        assert read(path).rows == ROWS, name
        path.write_bytes(path.read_bytes()[:-30])
        refused(path, f"{name}{suffix} (ends in the middle|cannot be unpacked)")
    put(tmp_path / f"e.csv{suffix}", table(ROWS))
    refused(tmp_path / f"e.csv{suffix}", "cannot be unpacked")


def test_zip_of_one_file_or_of_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("snli/train.jsonl", lines(ROWS[:30]))
        archive.writestr("snli/test.csv.gz", gzip.compress(table(ROWS[30:]).encode()))
        archive.writestr("README.txt", "not data")
        archive.writestr("__MACOSX/snli/._train.jsonl", "not data")
    raw = read(tmp_path / "t.zip")
    assert sorted(map(str, raw.rows)) == sorted(map(str, ROWS))
    assert Counter(raw.files) == {"snli/train.jsonl": 30, "snli/test.csv": 30}
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("deep/bad.csv", 'a,b\nx,"y\n')
    refused(tmp_path / "bad.zip", r"bad\.zip: deep/bad\.csv cannot be read: .* in line 2")
    refused(put(tmp_path / "no.zip", "x"), "no.zip cannot be unpacked")
    with zipfile.ZipFile(tmp_path / "sheet.zip", "w") as archive:
        archive.writestr("t.xlsx", "x")
    refused(tmp_path / "sheet.zip", "cannot read .*sheet.zip: t.xlsx.*Save the sheet as CSV")


def test_data_sets_saved_to_disk(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {"train": Dataset.from_list(ROWS[:40]), "test": Dataset.from_list(ROWS[40:])}
    parts["train"].save_to_disk(tmp_path / "one")
    raw = read(tmp_path / "one")
    assert raw.rows == ROWS[:40] and set(raw.files) == {"data"}
    DatasetDict(parts).save_to_disk(tmp_path / "all")
    raw = read(tmp_path / "all")
    assert raw.rows == ROWS and Counter(raw.files) == {"train/data": 40, "test/data": 20}
    (tmp_path / "all" / "test" / "state.json").write_text("{")
    refused(tmp_path / "all", "all is a folder of datasets' save_to_disk, which it cannot read")
    arrow = next((tmp_path / "one").glob("*.arrow"))
    assert read(arrow).rows == ROWS[:40]
    copy = tmp_path / "cache" / "x-train.arrow"  # as load_dataset keeps a data set, and what map leaves there
    copy.parent.mkdir()
    copy.write_bytes(arrow.read_bytes())
    copy.with_name("cache-12.arrow").write_bytes(b"old")
    put(copy.with_name("dataset_info.json"), "{}")
    assert read(copy.parent).rows == ROWS[:40]


def test_arrow_and_parquet_files(tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = pd.DataFrame(ROWS).set_index(pd.Index(range(5, 65)))
    frame.to_parquet(tmp_path / "t.parquet")
    pd.DataFrame(ROWS).to_feather(tmp_path / "t.feather")
    assert read(tmp_path / "t.parquet").rows == read(tmp_path / "t.feather").rows == ROWS
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "d.parquet")
    refused(tmp_path / "d.parquet", "has the column 'a' twice")
    (tmp_path / "t.feather").write_bytes((tmp_path / "t.feather").read_bytes()[:-40])
    refused(tmp_path / "t.feather", "is not a readable Arrow file")


def test_copy_of_a_repository_by_the_hubs_client(tmp_path: Path) -> None:
    put(tmp_path / "refs" / "main", "abc")
    put(tmp_path / "snapshots" / "old" / "t.csv", table(ROWS[:5]))
    put(tmp_path / "snapshots" / "abc" / "t.csv", table(ROWS))
    assert read(tmp_path).rows == ROWS


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("t.xlsx", "Save the sheet as CSV"),
        ("t.pkl", "may run any program"),
        ("t.docx", "Save it as CSV"),
        ("t", "Use one"),
    ],
)
def test_kinds_that_are_not_read(tmp_path: Path, name: str, cure: str) -> None:
    put(tmp_path / name, "x")
    refused(tmp_path / name, f"cannot read .*{name}: files of type .* are not known. .*{cure}.*\\.parquet, \\.jsonl")


def test_folders_without_data(tmp_path: Path) -> None:
    refused(tmp_path, r"has no data files \(found: nothing\)")
    put(tmp_path / "a.png", "x")
    refused(tmp_path, r"has no data files \(found: a.png\)")
    put(tmp_path / "t.xlsx", "x")
    refused(tmp_path, "t.xlsx: files of type .xlsx are not known")


def test_parameters_accept_what_is_read(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = put(tmp_path / f"t{suffix}", "x")
        assert resolve_dataset(str(path), "smoke", "snli") == str(path)
        with pytest.raises(ParameterError, match="there is no such file"):
            resolve_dataset(f"owner/none{suffix}", "smoke", "snli")
        assert reader.kind_of(f"owner/none{suffix}") == "local"


def test_a_task_reads_a_txt_table_and_a_packed_one(tmp_path: Path) -> None:
    rows = [{"sentence1": f"A cat {n}.", "sentence2": f"B {n}.", "label": str(n % 3)} for n in range(60)]
    text = table(rows).replace(",", "\t")
    plain = tasks.get("snli").load(8, 8, str(put(tmp_path / "t.txt", text)))
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(text.encode()))
    packed = tasks.get("snli").load(8, 8, str(tmp_path / "t.txt.gz"))
    assert plain.report.fingerprint == packed.report.fingerprint
    assert "t.txt: fields are separated by tabs" in str(plain.report)
