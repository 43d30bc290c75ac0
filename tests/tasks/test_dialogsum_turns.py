"""Dialogues and summaries in the shapes that sources have: one line a turn, never Python's spelling of a list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import tasks
from helpers.errors import DataError
from helpers.tasks.dialogsum.turns import dialogue_text, summaries

TASK = tasks.get("dialogsum")
TURNS = [("Ana", "Hi Ben, it's me."), ("Ben", 'Hi "Ana".'), ("Ana", "See you, bye.")]
LINES = [f"{who}: {said}" for who, said in TURNS]
WANTED = "\n".join(LINES)
SHAPES: dict[str, Any] = {
    "text": WANTED,
    "texts": LINES,
    "speaker, text": [{"speaker": who, "text": said} for who, said in TURNS],
    "role, content": [{"role": who, "content": said} for who, said in TURNS],
    "parts of content": [{"role": who, "content": [{"type": "text", "text": said}]} for who, said in TURNS],
    "from, value": [{"from": who, "value": said} for who, said in TURNS],
    "name, utterance": [{"name": who, "utterance": said, "turn": i} for i, (who, said) in enumerate(TURNS)],
    "one name a turn": [{who: said} for who, said in TURNS],
    "pairs": [list(turn) for turn in TURNS],
    "two lists": {"speaker": [who for who, _ in TURNS], "utterance": [said for _, said in TURNS]},
    "nested": {"id": "x", "turns": [{"speaker": who, "text": said} for who, said in TURNS]},
    "by number": {"1": LINES[0], "2": LINES[1], "3": LINES[2]},
    "one text": [WANTED],
    "said twice": [{"speaker": who, "text": f"{who}: {said}"} for who, said in TURNS],
    "JSON": json.dumps(LINES),
    "Python": str(LINES),
    "Python objects": str([{"speaker": who, "text": said} for who, said in TURNS]),
    "numpy": str(np.array(LINES)),
    "R": "c(" + ", ".join(json.dumps(line) for line in LINES) + ")",
    "written out": WANTED.replace("\n", "\\r\\n"),
    "written out, short": WANTED.replace("\n", "\\n"),
    "tags": WANTED.replace("\n", "<br />"),
    "Windows": WANTED.replace("\n", "\r\n"),
    "author": [{"author": {"id": "7", "name": who}, "content": said} for who, said in TURNS],
    "HTML": "".join(f"<p><b>{who}</b>: {said.replace(chr(34), '&quot;')}</p>" for who, said in TURNS),
    "entities": WANTED.replace("'", "&#39;").replace('"', "&quot;"),
    "bars": " | ".join(LINES),
    "slashes": " // ".join(LINES),
    "tabs": "\t".join(LINES),
    "one line": " ".join(LINES),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_gives_the_same_lines(shape: str) -> None:
    assert dialogue_text(SHAPES[shape])[0] == WANTED


@pytest.mark.parametrize("said", ["Ana: Salt | pepper. OK?", "Note: we met. Then: a walk.", "a | b", "Ana: 2 &lt 3"])
def test_one_line_stays_where_nothing_says_who_speaks(said: str) -> None:
    assert dialogue_text(said) == (said, "")


def test_speakers_in_a_column_of_their_own() -> None:
    who, said = zip(*TURNS, strict=True)
    assert dialogue_text(list(said), list(who))[0] == WANTED
    assert dialogue_text(str(list(said)), str(list(who)))[0] == WANTED
    assert dialogue_text(["Hi.", "Bye."], [0, 1])[0] == "Speaker 0: Hi.\nSpeaker 1: Bye."
    with pytest.raises(DataError, match="2 speakers, but 3 turns"):
        dialogue_text(list(said), ["Ana", "Ben"])


@pytest.mark.parametrize("cell", [{"words": [1, 2]}, [{"a": "x", "b": "y"}], [["Ana", "Hi", "3"]], [[["Ana"]]], [3]])
def test_an_unknown_shape_is_shown(cell: Any) -> None:
    with pytest.raises(DataError, match="cell of column dialogue is .* of unknown shape: "):
        dialogue_text(cell)


@pytest.mark.parametrize(
    "said", ["[laughs] Ana: Hi [waves]", "#Person1#: C:\\new\\names", "Ana: (smiles) {hi}", "[no]"]
)
def test_text_that_looks_like_a_list_stays(said: str) -> None:
    assert dialogue_text(said) == (said, "")


def test_summaries_in_lists() -> None:
    assert summaries(["<p>Ana &amp; Ben</p>"]) == ["Ana & Ben"]
    assert summaries([["One."]]) == summaries(["['One.']"]) == summaries(["One."]) == ["One."]
    assert summaries([["One.", "Two."]]) == summaries(["One.", None, "Two.", "One."]) == ["One.", "Two."]
    with pytest.raises(DataError, match="column summary is an object"):
        summaries([{"en": "One."}])


def rows(n: int = 60) -> list[dict[str, Any]]:
    return [
        {"turns": [f"Ana: What of number {i}?", f"Ben: The {i * 7}th is far away."], "said": f"They speak of {i}."}
        for i in range(n)
    ]


def load(path: Path, made: list[dict[str, Any]]) -> Any:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return TASK.load(8, 8, str(path))


def test_several_summaries_are_kept_and_noted(tmp_path: Path) -> None:
    from helpers.sources import reader
    from helpers.tasks.dialogsum.task import _usable
    from helpers.tasks.report import LoadReport

    made = [
        {"dialogue": r["turns"], "summary1": r["said"], "summary2": f"Ana asks about {i}.", "topic1": "numbers"}
        for i, r in enumerate(rows())
    ]
    splits = load(tmp_path / "d.jsonl", made)
    assert all(row["summary"].startswith("They speak") and row["topic"] == "numbers" for row in splits["test"])
    assert any("60 dialogues have several summaries" in note for note in splits.report.notes)
    assert any("lists of texts in 60 rows" in note for note in splits.report.notes)
    report = LoadReport("dialogsum", "x")
    read = _usable(reader.read(str(tmp_path / "d.jsonl"), 100, 0), report)
    assert read[3]["references"] == ["They speak of 3.", "Ana asks about 3."]


def test_a_row_for_each_turn_is_refused(tmp_path: Path) -> None:
    made = [{"speaker": "Ana", "utterance": f"Hello {i}", "dialogue": f"Hello {i}", "summary": "x"} for i in range(40)]
    with pytest.raises(DataError, match="one speaker and one turn a row, in 40 of 40"):
        load(tmp_path / "d.jsonl", made)


def alpaca(n: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "instruction": "Summarise.", "input": "\n".join(r["turns"]), "output": f"{r['said']} Ben knows it well.",
            "text": f"### Instruction: Sum.\n### Input: {r['turns']}\n### Response: {r['said']} Ben knows it well.",
        }
        for r in rows(n)
    ]  # fmt: skip


def test_a_column_that_holds_the_answer_is_no_input(tmp_path: Path) -> None:
    splits = load(tmp_path / "a.jsonl", alpaca())
    assert not any(row["summary"] in row["dialogue"] for part in splits.values() for row in part)
    assert any("column 'text' holds the text of 'output'" in note for note in splits.report.notes)
    # No other column is left: the rows are refused.
    leaky = [{"text": row["text"], "output": row["output"]} for row in alpaca()]
    with pytest.raises(DataError, match="holds the whole text of summary in 60 of 60 rows.*-p columns dialogue="):
        load(tmp_path / "b.jsonl", leaky)
    # The words may stand in the instruction, the input being empty.
    alone = [{**row, "instruction": row["input"], "input": ""} for row in alpaca()]
    splits = load(tmp_path / "c.jsonl", alone)
    assert all(row["dialogue"].startswith("Ana: What") for row in splits["train"])
    assert any("the instruction, where there is no input in 60 rows" in note for note in splits.report.notes)
