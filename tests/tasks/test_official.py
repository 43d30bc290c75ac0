"""Official splits: recognised by name, kept, completed, their copies counted; published protocols on a local Hub."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hub import catalog
from hub.client import Client
from hub.server import LocalHub

from helpers import tasks
from helpers.errors import DataError
from helpers.sources import reader
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT, has_splits, split_of, split_of_cell, split_of_path
from helpers.tasks import official
from helpers.tasks.base import LoadReport
from helpers.tasks.snli import generator as snli_generator

pytest_plugins = ["hub_cases"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("SICK_trial.txt", "validation"),
        ("test-00000-of-00002.parquet", "test"),
        ("xnli.dev.ko.tsv", "validation"),
        ("data/train/part-0.parquet", "train"),
        ("multinli_1.0_dev_matched.jsonl", "validation"),
        ("dev_mismatched.tsv", ""),
        ("test.jsonl.gz", "test"),
        ("latest.csv", ""),
        ("train_test.csv", ""),
        ("my data/recipes.csv", ""),
        ("nliTrain.csv", "train"),
        ("devset.csv", "validation"),
        ("testdata/a.csv", "test"),
        ("test_predictions.csv", ""),
        ("contest.csv", ""),
    ],
)
def test_names_of_splits(name: str, split: str) -> None:
    assert split_of_path(name) == split


@pytest.mark.parametrize(
    ("cell", "split"),
    [("TRAIN", "train"), ("dev set", "validation"), ("held-out", ""), ("holdout", "test"), ("training manual", "")],
)
def test_cells_that_name_splits(cell: str, split: str) -> None:
    assert split_of_cell(cell) == split


def test_there_are_splits_where_there_are_two_parts() -> None:
    assert has_splits(["train", "test"]) and has_splits(["train", "validation"]) and has_splits(["validation", "test"])
    assert not has_splits(["train"]) and not has_splits(["", "test"])
    assert split_of("Validation") == "validation" and split_of("") == ""


def rows_of(**sizes: int) -> list[dict[str, Any]]:
    """Rows with the text "<split> <number>"."""
    return [{SPLIT: name, "text": f"{name} {i}"} for name, size in sizes.items() for i in range(size)]


def cut(rows: list[dict[str, Any]], n_train: int | None, n_eval: int, seed: int = 0, splits: str = "official") -> Any:
    report = LoadReport("t", "s")
    source = Source("s", splits=splits)
    return official.cut(rows, n_train, n_eval, "rows", seed, report, source, same=lambda r: r["text"]), report


def test_official_splits_are_kept_and_drawn_by_seed() -> None:
    parts, report = cut(rows_of(train=50, validation=30, test=40), 20, 12)
    assert {name: len(part) for name, part in parts.items()} == {"train": 20, "validation": 10, "test": 12}
    assert all(row["text"].startswith(name) for name, part in parts.items() for row in part)
    assert all(SPLIT not in row for part in parts.values() for row in part)
    assert "official splits: train 50, validation 30, test 40" in report.notes
    again, _ = cut(rows_of(train=50, validation=30, test=40), 30, 12)
    assert again["test"] == parts["test"] and again["train"][:20] == parts["train"]
    other, _ = cut(rows_of(train=50, validation=30, test=40), 20, 12, seed=1)
    assert other["test"] != parts["test"]


def test_a_missing_split_is_cut_from_train_and_said() -> None:
    parts, report = cut(rows_of(train=60, test=20), None, 12)
    assert len(parts["validation"]) == 10 and len(parts["train"]) == 50
    texts = {name: {row["text"] for row in part} for name, part in parts.items()}
    assert not texts["train"] & texts["validation"]
    assert "no split validation" in " ".join(report.notes) and "cut from train" in " ".join(report.notes)


def test_without_a_train_split_the_validation_split_is_trained_on_and_the_test_split_never() -> None:
    parts, report = cut(rows_of(validation=60, test=20), None, 12)
    assert {name: len(part) for name, part in parts.items()} == {"train": 50, "validation": 10, "test": 12}
    assert all(row["text"].startswith("test") == (name == "test") for name, part in parts.items() for row in part)
    assert any("its validation split is trained on" in note for note in report.notes)


def test_copies_stay_together_where_a_split_is_cut_from_train() -> None:
    rows = [{SPLIT: "train", "text": str(i // 3)} for i in range(90)] + rows_of(test=20)
    for seed in range(5):
        parts, _ = cut([dict(row) for row in rows], None, 12, seed)
        shared = {row["text"] for row in parts["train"]} & {row["text"] for row in parts["validation"]}
        assert len(shared) == 0, "a group is in one split, even where it is cut short"


def test_copies_across_splits_are_counted_and_dropped_on_request() -> None:
    rows = rows_of(train=40, validation=20, test=20)
    rows += [{SPLIT: "train", "text": f"test {i}"} for i in range(5)]
    rows += [{SPLIT: "train", "text": "validation 3"}, {SPLIT: "validation", "text": "test 7"}]
    told = "5 of train are in test; 1 of train are in validation; 1 of validation are in test"
    kept, report = cut([dict(row) for row in rows], 46, 12)
    assert len(kept["train"]) == 46
    note = next(note for note in report.notes if note.startswith("copies"))
    assert all(part in note for part in told.split("; ")) and "official-distinct" in note
    distinct, report = cut([dict(row) for row in rows], None, 12, splits="official-distinct")
    assert sorted(r["text"] for r in distinct["train"]) == sorted(r["text"] for r in rows_of(train=40))
    assert report.duplicates_removed == 7


def test_a_train_split_that_had_to_give_says_so() -> None:
    with pytest.raises(DataError, match="there are 2 usable .* in split train.*; 10 of it were cut off"):
        cut(rows_of(train=12, test=40), 8, 20)


def test_too_few_rows_in_a_split_name_it_and_the_cure() -> None:
    with pytest.raises(DataError, match=r"15 usable rows in s in split test, but 16 are asked for.*Lower n_eval"):
        cut(rows_of(train=60, validation=20, test=15), 8, 16)
    with pytest.raises(DataError, match=r"split train, but 70 are asked for.*Lower n_train"):
        cut(rows_of(train=60, validation=20, test=15), 70, 15)


# ---------- through the local Hub
LOAD = """
from helpers import tasks
from helpers.sources.source import Source
splits = tasks.get({task!r}).load({n_train}, {n_eval}, Source({repo!r}, **{more!r}), seed={seed})
value = {{"report": str(splits.report),
          **{{name: [dict(row, image=None) for row in part.remove_columns(
              [c for c in part.column_names if c == "image"])] for name, part in splits.items()}}}}
"""


def load(client: Client, task: str, repo: str, n_train: int | None, n_eval: int, seed: int = 0, **more: str) -> Any:
    code = LOAD.format(task=task, repo=repo, n_train=n_train, n_eval=n_eval, seed=seed, more=more)
    answer = client.cell(code)
    assert answer.error is None, answer.error
    return answer.value


def test_snli_keeps_the_splits_of_the_hub(hub: LocalHub, client: Client) -> None:
    found = load(client, "snli", "stanfordnlp/snli", 100, 60)
    drawn = [row for triple in islice(snli_generator.triples(catalog.SEED), 900) for row in triple]
    own = {"test": drawn[:330], "validation": drawn[330:450], "train": drawn[450:]}
    for name, size in (("train", 100), ("validation", 20), ("test", 60)):
        allowed = {(row["premise"], row["hypothesis"]) for row in own[name]}
        assert len(found[name]) == size and {(r["premise"], r["hypothesis"]) for r in found[name]} <= allowed
    again = load(client, "snli", "stanfordnlp/snli", 100, 60, splits="random")
    mixed = {(r["premise"], r["hypothesis"]) for r in again["test"]}
    assert mixed - {(row["premise"], row["hypothesis"]) for row in own["test"]}


def test_project_e_takes_rows_at_equal_distances_and_drops_unlabelled_ones_after(hub: LocalHub, client: Client) -> None:
    found = load(client, "snli", "stanfordnlp/snli", 8, 8, protocol="published")
    drawn = [row for triple in islice(snli_generator.triples(catalog.SEED), 900) for row in triple]
    plain = [dict(row, label=-1 if i % 50 == 49 else row["label"]) for i, row in enumerate(drawn)]
    for name, rows, size in (
        ("test", plain[:330], 100),
        ("validation", plain[330:450], 100),
        ("train", plain[450:], 1000),
    ):
        expected = []
        for i in range(size):
            step = max(1, len(rows) // size)
            if i * step < len(rows) and rows[i * step]["label"] != -1:
                expected.append((rows[i * step]["premise"], rows[i * step]["hypothesis"]))
        assert [(r["premise"], r["hypothesis"]) for r in found[name]] == expected
    assert "protocol of Project E" in found["report"] and "published 1,000" in found["report"]


def with_three_summaries() -> Any:
    """DialogSum as published: each test dialogue three times, with another summary each."""
    repo = catalog.dialogsum()
    rows = list(csv.DictReader(io.StringIO(repo.files["test.csv"].data.decode())))
    tripled = [
        row | {"id": f"test_{i}_{k}", "summary": f"{row['summary']} ({k})"}
        for i, row in enumerate(rows)
        for k in (1, 2, 3)
    ]
    repo.put("test.csv", catalog.table(tripled))
    return repo, len(rows)


def test_project_d_has_three_references_for_each_test_dialogue(hub: LocalHub, client: Client) -> None:
    repo, count = with_three_summaries()
    hub.add(repo)
    found = load(client, "dialogsum", "knkarthick/dialogsum", 8, 8, protocol="published")
    assert len(found["test"]) == count and all(len(row["references"]) == 3 for row in found["test"])
    assert [row["references"][0] for row in found["test"]] == [row["summary"] for row in found["test"]]
    assert len(found["train"]) == 1100 and all(len(row["references"]) == 1 for row in found["train"])


def test_project_b_takes_explained_questions_only(hub: LocalHub, client: Client) -> None:
    from helpers.tasks.scienceqa.rows import PROTOCOL

    rows = [{"solution": s, "lecture": t} for s in ("", "so") for t in ("", "long")]
    assert PROTOCOL.choose("train", rows, [*range(4)]) == PROTOCOL.choose("validation", rows, [*range(4)]) == [2, 3]
    assert PROTOCOL.choose("test", rows, [*range(4)]) == [3]
    hub.add(catalog.get("derek-thomas/ScienceQA"))
    found = load(client, "scienceqa", "derek-thomas/ScienceQA", 8, 8, protocol="published")
    assert all(row["solution"] for name in ("train", "validation", "test") for row in found[name])
    assert all(row["lecture"] for row in found["test"]) and len(found["test"]) > 100


def test_without_official_splits_rows_are_cut_anew(hub: LocalHub, client: Client) -> None:
    hub.add(catalog.get("corbt/all-recipes"))  # train only
    found = load(client, "recipes", "corbt/all-recipes", 20, 12)
    assert len(found["test"]) == 12 and "official" not in found["report"]


# ---------- files
def pairs(count: int, first: int = 0) -> list[dict[str, Any]]:
    """NLI rows, all three labels equally often."""
    drawn = islice(snli_generator.triples(3), first, first + count)
    return [{key: row[key] for key in ("premise", "hypothesis", "label")} for triple in drawn for row in triple]


def write_folder(folder: Path) -> dict[str, list[dict[str, Any]]]:
    parts = {"train": pairs(30), "dev": pairs(10, 30), "test": pairs(12, 40)}
    folder.mkdir()
    for name, rows in parts.items():
        pd.DataFrame(rows).to_csv(folder / f"nli_{name}.csv", index=False)
    return parts


def saved_dict(folder: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {"train": pairs(30), "validation": pairs(10, 30), "test": pairs(12, 40)}
    DatasetDict({name: Dataset.from_list(rows) for name, rows in parts.items()}).save_to_disk(str(folder))


def one_table(folder: Path) -> None:
    parts = {"train": pairs(30), "val": pairs(10, 30), "test": pairs(12, 40)}
    rows = [row | {"partition": name} for name, part in parts.items() for row in part]
    folder.mkdir()
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_json(folder / "all.jsonl", orient="records", lines=True)


@pytest.mark.parametrize("write", [write_folder, saved_dict, one_table])
def test_a_users_own_test_set_is_not_trained_on(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "data")
    found = tasks.get("snli").load(60, 30, str(tmp_path / "data"))
    own = {"train": pairs(30), "validation": pairs(10, 30), "test": pairs(12, 40)}
    for name, part in found.items():
        allowed = {(row["premise"], row["hypothesis"]) for row in own[name]}
        assert {(row["premise"], row["hypothesis"]) for row in part} <= allowed, name
    assert "official splits: train 90, validation 30, test 36" in found.report.notes
    mixed = tasks.get("snli").load(60, 30, Source(str(tmp_path / "data"), splits="random"))
    assert not any("official" in note for note in mixed.report.notes)
    tested = {(row["premise"], row["hypothesis"]) for row in mixed["test"]}
    assert tested & {(row["premise"], row["hypothesis"]) for row in own["train"]}


def test_each_split_has_a_sample_of_its_own(tmp_path: Path) -> None:
    """A small test file beside a large training file is not thinned with it."""
    (tmp_path / "train.csv").write_text("text\n" + "".join(f"train {i}\n" for i in range(5000)))
    (tmp_path / "test.csv").write_text("text\n" + "".join(f"test {i}\n" for i in range(90)))
    raw = reader.read(str(tmp_path), 100, 0)
    assert raw.splits.count("test") == 90 and raw.splits.count("train") == 100
    assert all(row["text"].startswith(split) for row, split in zip(raw.rows, raw.splits, strict=True))


def test_rows_in_no_split_are_left_out_and_said(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    pd.DataFrame(pairs(5, 60)).to_csv(tmp_path / "data" / "more.csv", index=False)
    found = tasks.get("snli").load(60, 30, str(tmp_path / "data"))
    assert "15 rows stand in no split (more.csv): left out" in found.report.notes


def test_a_column_that_names_no_splits_is_not_used_and_said(tmp_path: Path) -> None:
    rows = [row | {"set": ("training manual", "test report", "mail")[i % 3]} for i, row in enumerate(pairs(20))]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    notes = tasks.get("snli").load(16, 8, str(tmp_path / "a.csv")).report.notes
    assert "column 'set' names no official splits (training manual, test report, mail): it is not used" in notes


def test_one_file_with_the_name_of_a_split_is_cut_anew(tmp_path: Path) -> None:
    pd.DataFrame(pairs(40)).to_csv(tmp_path / "train.csv", index=False)
    found = tasks.get("snli").load(60, 12, str(tmp_path / "train.csv"))
    assert len(found["test"]) == 12 and not any("official" in note for note in found.report.notes)


def test_folders_of_pictures_keep_their_splits(tmp_path: Path) -> None:
    from PIL import Image

    for split, count in (("train", 14), ("val", 6), ("test", 5)):
        for kind in ("boots", "sandals"):
            (tmp_path / split / kind).mkdir(parents=True)
            for i in range(count):
                colour = (i * 9, len(split) * 20, len(kind) * 20)
                Image.new("RGB", (8, 8), colour).save(tmp_path / split / kind / f"{i}.png")
    found = tasks.get("zappos").load(20, 9, str(tmp_path))
    for name, folder in (("train", "train"), ("validation", "val"), ("test", "test")):
        assert found[name]["id"] and all(key.startswith(f"{folder}/") for key in found[name]["id"])


@pytest.mark.parametrize("listed", [True, False], ids=["pid_splits.json", "split of a question"])
def test_the_original_release_keeps_its_splits(tmp_path: Path, listed: bool) -> None:
    parts = {"train": range(20), "val": range(20, 32), "test": range(32, 44)}
    problems = {
        str(i): {"question": f"Question {i}?", "choices": ["a", "b"], "answer": 1, "image": None}
        | ({} if listed else {"split": name})
        for name, numbers in parts.items()
        for i in numbers
    }
    (tmp_path / "problems.json").write_text(json.dumps(problems))
    if listed:
        lists = {name: [str(i) for i in numbers] for name, numbers in parts.items()} | {"minival": ["20"]}
        (tmp_path / "pid_splits.json").write_text(json.dumps(lists))
    splits = tasks.get("scienceqa").load(20, 12, str(tmp_path))
    found = {name: sorted(int(key) for key in part["id"]) for name, part in splits.items()}
    assert found["train"] == list(range(20)) and found["test"] == list(range(32, 44))
    assert set(found["validation"]) <= set(range(20, 32)) and len(found["validation"]) == 10


def test_project_c_trains_on_the_first_pictures_of_the_sorted_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers.tasks.zappos.task import PROTOCOL
    from tools.shoe_folder import write_folder

    folder = write_folder(tmp_path / "shoes", 60, seed=1)
    assert PROTOCOL.sizes == {"train": 1_000}
    monkeypatch.setitem(PROTOCOL.sizes, "train", 20)  # type: ignore[arg-type]
    found = tasks.get("zappos").load(8, 12, Source(str(folder), protocol="published"))
    first = {f"gen-1-{path.stem}" for path in sorted(folder.rglob("*.jpg"), key=str)[:20]}
    assert set(found["train"]["id"]) == first
    assert len(found["test"]) == 12 and not set(found["test"]["id"]) & first
    assert any("protocol of Project C" in note and "published 20" in note for note in found.report.notes)
