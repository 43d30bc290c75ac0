"""Which column is read where several fit, and prompts that hold their own answer."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.errors import DataError
from helpers.sources.local import RawRows
from helpers.tasks.columns import numbered, pick
from helpers.tasks.leaks import holds, refuse_leaks
from helpers.tasks.report import LoadReport

ALIASES = {"asked": ("question", "input", "text"), "said": ("output", "reply"), "id": ("index", "key")}


def picked(row: dict[str, Any], **more: Any) -> tuple[dict[str, Any], list[str]]:
    report = LoadReport("x", "x")
    raw = RawRows("x", [dict(row) for _ in range(5)], list(row), **more)
    return pick(raw, ALIASES, report, ("id",), prompt="asked", completion="said")[0], report.notes


def test_the_first_that_fits_is_read_and_the_others_are_named() -> None:
    row, notes = picked({"text": "a", "question": "b", "output": "c", "index": 1, "key": 2})
    assert (row["asked"], row["said"], row["id"]) == ("b", "c", 1)
    assert notes == ["column 'question' is read as asked; text would fit too (-p columns asked=text)"]
    assert picked({"asked": "a", "text": "b", "said": "c"}) == ({"asked": "a", "said": "c", "id": None}, [])
    row, notes = picked({"text": "a", "question": "b", "output": "c"}, chosen={"asked": "text"})
    assert row["asked"] == "a" and not notes


def test_a_column_with_the_answer_inside_is_passed_over() -> None:
    row, notes = picked({"question": "What? Yes,  it is.", "text": "What?", "output": "yes, it is."})
    assert row["asked"] == "What?" and notes == [
        "column 'question' holds the text of 'output': it is not read as asked"
    ]


def test_names_of_codes_are_used() -> None:
    row, notes = picked({"asked": 1, "said": -1}, names={"asked": ["no", "yes"], "said": ["a", "b"]})
    assert row["asked"] == "yes" and row["said"] is None
    assert "codes of asked have names in the source: 0 = no, 1 = yes" in notes


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([(2, "yes"), (0, "no"), ("2", "yes")], ["yes", "no", "yes"]),
        ([(2, "yes"), (2, "no")], [2, 2]),  # one code, two names: no names of codes
        ([("x", "yes"), ("y", "no")], ["x", "y"]),
        ([(0, "1"), (1, "0")], [0, 1]),
    ],
)
def test_a_column_beside_codes_names_them(cells: list[tuple[Any, str]], said: list[Any]) -> None:
    rows = [{"asked": "a", "said": code, "said_text": name} for code, name in cells]
    report = LoadReport("x", "x")
    found = pick(RawRows("x", rows, list(rows[0])), ALIASES, report, ("id",))
    assert [row["said"] for row in found] == said
    assert ("codes of said have names in the source: 0 = no, 1 = 1, 2 = yes" in report.notes) == ("yes" in said)


def test_words_that_fit_as_well_name_the_codes() -> None:
    rows = [{"said": code, "reply": name, "asked": "a"} for code, name in ((1, "yes"), (-1, "-"), (0, "no"))]
    found = pick(RawRows("x", rows, list(rows[0])), ALIASES, LoadReport("x", "x"), ("id",))
    assert [row["said"] for row in found] == ["yes", None, "no"]


def test_columns_in_numbers() -> None:
    assert numbered(["Option 2", "option1", "x", "option10"], "choice", "option") == ["option1", "Option 2", "option10"]
    assert numbered(["ending0", "ending1"], "ending") == ["ending0", "ending1"]
    assert numbered(["B", "A", "answer"], "option", "") == ["A", "B"]
    assert numbered(["option1", "optional"], "option") == numbered(["b", "c"], "") == []


def test_what_counts_as_holding_the_answer() -> None:
    assert holds("He said: It  is a very FINE day.", "it is a very fine day.")
    assert not holds("It is a fine day.", "A fine day.")  # too short to mean anything
    assert not holds("Christmas celebrations everywhere", "Christmas celebrations")
    assert holds("他说今天天气非常好我们一起去公园散步吧然后再回家吃饭", "今天天气非常好我们一起去公园散步吧然后再回家")


@pytest.mark.parametrize(("leaks", "refused"), [(0, False), (1, False), (2, True), (100, True)])
def test_more_than_one_in_a_hundred_is_refused(leaks: int, refused: bool) -> None:
    said = "this is the whole answer"
    pairs = [(f"{i} {said if i < leaks else 'nothing'}", said) for i in range(100)]
    report = LoadReport("x", "x")
    if refused:
        with pytest.raises(
            DataError, match=f"asked holds the whole text of said in {leaks} of 100 rows, such as 'this is"
        ):
            refuse_leaks(pairs, ("asked", "said"), "x.csv", report)
    else:
        refuse_leaks(pairs, ("asked", "said"), "x.csv", report)
        assert len(report.notes) == leaks
