"""Dialogues and their summaries: what is generated follows, what is read is checked, nothing leaks."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.dialogsum import generator
from helpers.tasks.eda.shortcuts import shortcut
from tools.tiny.sentences import spoken_lines

TASK = tasks.get("dialogsum")


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def made_up(n: int) -> list[dict[str, object]]:
    return [
        {"id": row["id"], "dialogue": row["dialogue"], "summary": row["summary"], "topic": row["topic"]}
        for row in islice(generator.dialogues(5), n)
    ]


def test_every_detail_of_a_summary_is_said_in_its_dialogue() -> None:
    frame = set(re.findall(r"\w+", " ".join(" ".join([s["want"][1]] + [s[ending][2] for ending in generator.ENDINGS])
                                            for s in generator.SCENES).lower()))  # fmt: skip
    for row in islice(generator.dialogues(0), 600):
        said = set(re.findall(r"\w+", row["dialogue"].lower()))
        details = set(re.findall(r"\w+", row["summary"].lower())) - frame - {"person1", "person2", "s"}
        assert details <= said, (details - said, row)
        turns = row["dialogue"].split("\n")
        assert [t.partition(":")[0] for t in turns] == ["#Person1#", "#Person2#"] * (len(turns) // 2) + [
            "#Person1#"
        ] * (len(turns) % 2)


def test_the_ending_decides_the_summary() -> None:
    rows = list(islice(generator.dialogues(1), 900))
    assert min(Counter(row["ending"] for row in rows).values()) > 200
    refused = [row for row in rows if row["ending"] == "refused"]
    assert all(re.search(r" but | and nobody ", row["summary"]) for row in refused)
    lines = Counter((row["topic"], row["ending"]) for row in rows)
    assert len(lines) == 3 * len(generator.SCENES)


def test_splits_are_disjoint_repeatable_and_do_not_move_with_n_train() -> None:
    small, large = (TASK.load(n_train=n, n_eval=60, seed=3) for n in (40, 200))
    assert list(small["test"]["id"]) == list(large["test"]["id"])
    texts = [set(part["dialogue"]) for part in large.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 200 + 60 + 20
    summaries = [set(part["summary"]) for part in large.values()]
    assert not set.intersection(*summaries)
    assert TASK.load(n_train=40, n_eval=60, seed=3).report.fingerprint == small.report.fingerprint
    assert TASK.load(n_train=40, n_eval=60, seed=4).report.fingerprint != small.report.fingerprint


def test_topic_questions_are_balanced_and_cannot_be_answered_blind() -> None:
    splits = TASK.load(n_train=400, n_eval=200)
    quiz = {name: TASK.examples(rows, "topic") for name, rows in splits.items()}
    for example in quiz["test"]:
        assert example["options"][example["answer"]] == example["completion"]
        assert len(set(example["options"])) == 4
    positions = Counter(quiz["test"]["answer"])
    assert max(positions.values()) - min(positions.values()) <= 1
    blind = shortcut(quiz["train"], quiz["test"], None, 0)
    assert blind.n == 200 and blind.accuracy < 0.34  # three standard errors above chance


def test_local_files_are_read_counted_and_cleaned_of_copies(tmp_path: Path) -> None:
    rows = made_up(60)
    rows += [
        dict(rows[0]),
        {"id": "x", "dialogue": "", "summary": "a"},
        {"id": "y", "dialogue": "a: b", "summary": None},
    ]
    near = str(rows[1]["dialogue"]) + " Bye, and have a good day."
    rows.append({"id": "n", "dialogue": near, "summary": "something"})
    splits = TASK.load(n_train=20, n_eval=12, source=write(tmp_path / "d.jsonl", rows))
    assert splits.report.dropped == {"no dialogue": 1, "no summary": 1}
    assert (splits.report.duplicates_removed, splits.report.rows_read) == (1, 64)
    assert splits.report.near_duplicates_removed >= 1
    everything = [row["dialogue"] for part in splits.values() for row in part]
    assert sum(text in (near, rows[1]["dialogue"]) for text in everything) <= 1
    csv = tmp_path / "d.csv"
    csv.write_text(
        "dialog,highlights\n" + "".join(f'"#Person1#: hello {i}\n#Person2#: bye {i}","x {i}"\n' for i in range(60))
    )
    plain = TASK.load(n_train=20, n_eval=12, source=str(csv))
    assert plain["test"][0]["dialogue"].count("\n") == 1 and plain["test"][0]["topic"] == ""
    with pytest.raises(DataError, match="none of the 12 dialogues can be asked about in form 'topic'"):
        TASK.examples(plain["test"], "topic")


def test_errors_name_the_column_and_the_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'summary'.*found: dialogue, sumary; nearest is 'sumary'"):
        TASK.load(n_train=8, n_eval=8, source=write(tmp_path / "a.jsonl", [{"dialogue": "a: b", "sumary": "c"}]))
    with pytest.raises(DataError, match="usable dialogues"):
        TASK.load(n_train=5000, n_eval=8, source=write(tmp_path / "b.jsonl", made_up(50)))


def test_generic_text_holds_no_summary() -> None:
    lines = spoken_lines(300)
    assert len(lines) == 300
    # One turn each: a summary speaks of "#Person1#" without a colon.
    assert all(re.fullmatch(r"#Person[12]#: [^#\n]+", line) for line in lines)
