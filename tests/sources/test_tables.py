"""Tables of text: separators, quotation marks, ends of lines, headers; read rightly or refused with the line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from helpers.errors import DataError
from helpers.sources.local import RawRows, read_local

PAIRS = [(f"A cat waits in yard {n}.", f"Yard {n} is empty.", ("yes", "no", "maybe")[n % 3]) for n in range(120)]
HEAD = ("premise", "hypothesis", "label")


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(separator: str = ",", end: str = "\n", rows: list[tuple[str, ...]] | None = None) -> str:
    return "".join(separator.join(row) + end for row in [HEAD, *(PAIRS if rows is None else rows)])


def cells(raw: RawRows) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in raw.rows]


def refused(path: Path, pattern: str) -> str:
    with pytest.raises(DataError, match=pattern) as caught:
        read_local(path, 10**6, 0)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    return str(caught.value)


def stray(separator: str, *numbers: int, at_end: int = -1) -> str:
    """A table without quoting in which the premises of some rows begin with a quotation mark, and one ends so."""
    rows = [
        (('"' if n in numbers else "") + a, b, c + ('"' if n == at_end else "")) for n, (a, b, c) in enumerate(PAIRS)
    ]
    return table(separator, rows=rows)


@pytest.mark.parametrize("numbers", [(100,), (30, 60), (30, 60, 90), (0,), (119,)])
def test_tsv_without_quoting_keeps_its_quotation_marks(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    raw = read_local(put(tmp_path / "t.tsv", stray("\t", *numbers)), 10**6, 0)
    assert raw.read == 120 and raw.unreadable == 0
    assert [n for n, row in enumerate(raw.rows) if row["premise"][0] == '"'] == list(numbers)
    assert raw.notes == ["t.tsv: no field is quoted, so quotation marks are part of the text"]


@pytest.mark.parametrize("separator", [",", ";", "|"])
@pytest.mark.parametrize(("numbers", "at_end", "line"), [((100,), -1, 102), ((30, 60), -1, 32), ((30,), 60, 32)])
def test_a_quotation_mark_that_swallows_lines_is_named(
    tmp_path: Path, separator: str, numbers: tuple[int, ...], at_end: int, line: int
) -> None:
    refused(put(tmp_path / "t.csv", stray(separator, *numbers, at_end=at_end)), rf"opens a field in line {line} ")


def test_the_line_is_named_behind_cells_of_several_lines(tmp_path: Path) -> None:
    text = 'a,b\n"one\ntwo",x\n"three\nfour","y, z"\nfive,"six\n' + "seven,eight\n" * 20
    refused(put(tmp_path / "t.csv", text), "in line 6 makes one cell of it and the 20 lines below")
    refused(put(tmp_path / "u.csv", 'a,b\nx,y\nx,"y\n'), "in line 3 is never closed")


@pytest.mark.parametrize("apart", [1, 2, 5])
def test_a_pair_of_marks_is_found_beside_proper_cells_of_several_lines(tmp_path: Path, apart: int) -> None:
    rows = [('"one,\ntwo"', b, c) if n % 9 == 4 else (a, b, c) for n, (a, b, c) in enumerate(PAIRS)]
    assert read_local(put(tmp_path / "t.csv", table(rows=rows)), 10**6, 0).read == 120
    rows[60] = ('"' + rows[60][0], *rows[60][1:])
    rows[60 + apart] = (rows[60 + apart][0] + '"', *rows[60 + apart][1:])
    refused(put(tmp_path / "u.csv", table(rows=rows)), "opens a field in line 69 makes one cell")
    rows[60 + apart] = (*PAIRS[0][:2], PAIRS[0][2] + '"')
    refused(put(tmp_path / "v.csv", table(rows=rows)), "opens a field in line 69 makes one cell")


def test_a_table_that_is_cut_off(tmp_path: Path) -> None:
    refused(put(tmp_path / "t.csv", table()[:-20]), "ends in the middle: incomplete download.*line, 121, has 2 of 3")
    refused(
        put(tmp_path / "u.csv", table(rows=[(f'"{a}, b"', b, c) for a, b, c in PAIRS])[:-40]), "in line 121 is never"
    )
    refused(put(tmp_path / "j.csv", '{"a": 1}\n' * 9), "holds JSON, not a table")


def test_quoted_fields(tmp_path: Path) -> None:
    rows = [(f'He said "{n}", loud', "two\nlines, or\nmore", f"{n:03}") for n in range(40)]
    frame = pd.DataFrame(rows, columns=HEAD)
    for separator, name in ((",", "t.csv"), ("\t", "t.tsv"), (";", "t.csv")):
        for quoting in (0, 1, 2):
            frame.to_csv(tmp_path / name, sep=separator, index=False, quoting=quoting)
            assert cells(read_local(tmp_path / name, 10**6, 0)) == rows
    frame.to_csv(tmp_path / "r.tsv", sep="\t", index=False, lineterminator="\r\n")  # as csv.writer, with \n inside
    assert cells(read_local(tmp_path / "r.tsv", 10**6, 0)) == rows
    frame.to_csv(tmp_path / "e.csv", index=False, doublequote=False, escapechar="\\")
    raw = read_local(tmp_path / "e.csv", 10**6, 0)
    assert cells(raw) == rows and raw.notes == ['e.csv: quotation marks inside fields are written \\"']


def test_consistently_quoted_tsv_loses_its_marks_and_a_quotation_does_not(tmp_path: Path) -> None:
    all_quoted = table("\t", rows=[(f'"{a}"', f'"{b}"', c) for a, b, c in PAIRS])
    assert cells(read_local(put(tmp_path / "a.tsv", all_quoted), 10**6, 0)) == PAIRS
    some = table("\t", rows=[('"Go away."', b, c) if n == 7 else (a, b, c) for n, (a, b, c) in enumerate(PAIRS)])
    assert read_local(put(tmp_path / "b.tsv", some), 10**6, 0).rows[7]["premise"] == '"Go away."'
    doubled = table(
        "\t", rows=[('"He said ""no""."', b, c) if n == 7 else (a, b, c) for n, (a, b, c) in enumerate(PAIRS)]
    )
    assert read_local(put(tmp_path / "c.tsv", doubled), 10**6, 0).rows[7]["premise"] == 'He said "no".'


def test_tabs_and_marks_behind_backslashes_under_a_quoted_header(tmp_path: Path) -> None:
    raw = read_local(put(tmp_path / "a.tsv", '"a"\t"b"\n"x"\t"\\""\n"y"\t"say \\"z\\""\n'), 9, 0)
    assert raw.rows == [{"a": "x", "b": '"'}, {"a": "y", "b": 'say "z"'}]
    raw = read_local(put(tmp_path / "b.tsv", 'a\tb\n"x"\t"\\""\n'), 9, 0)  # no quoted header: as it stands
    assert raw.rows == [{"a": '"x"', "b": '"\\""'}]


def test_marks_in_the_middle_of_a_field_are_text(tmp_path: Path) -> None:
    text = 'size,what\n5" wide,a 6" pipe\n"7"" long, or so",plain\n'
    raw = read_local(put(tmp_path / "t.csv", text), 10**6, 0)
    assert cells(raw) == [('5" wide', 'a 6" pipe'), ('7" long, or so', "plain")]


def test_text_behind_a_closing_mark_is_counted(tmp_path: Path) -> None:
    rows = [('"a, b"', b, c) for _, b, c in PAIRS] + [('"Go" he said, loud', "x", "y")]
    raw = read_local(put(tmp_path / "t.csv", table(rows=rows)), 10**6, 0)
    assert (raw.read, raw.unreadable) == (121, 1)
    assert raw.notes == ["t.csv: 1 of 121 rows left out, the first at line 122: text behind a closing quotation mark"]


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_in_csv_are_found_and_noted(tmp_path: Path, separator: str, word: str) -> None:
    rows = [(a + " Cats, dogs, hens", b, c) for a, b, c in PAIRS]
    raw = read_local(put(tmp_path / "t.csv", table(separator, rows=rows)), 10**6, 0)
    assert cells(raw) == rows and raw.notes == [f"t.csv: fields are separated by {word}"]


def test_separator_of_the_first_line_and_blanks_behind_separators(tmp_path: Path) -> None:
    assert cells(read_local(put(tmp_path / "t.csv", "sep=;\n" + table(";")), 10**6, 0)) == PAIRS
    raw = read_local(put(tmp_path / "u.csv", 'a, b\n"x, y", "z, w"\n'), 10**6, 0)
    assert raw.rows == [{"a": "x, y", "b": "z, w"}] and "blanks behind separators" in raw.notes[0]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_ends_of_lines_and_marks_of_encoding(tmp_path: Path, end: str, encoding: str) -> None:
    rows = [(a + "\u2028é\x85", b, c) for a, b, c in PAIRS]
    text = table(end=end, rows=rows) + end + end
    assert cells(read_local(put(tmp_path / "t.csv", text, encoding), 10**6, 0)) == rows


def test_cells_stay_as_written(tmp_path: Path) -> None:
    text = "a,b\n007,NA\nNone,null\n# no comment,1e5\n ,nan\n"
    found = cells(read_local(put(tmp_path / "t.csv", text), 10**6, 0))
    assert found == [("007", "NA"), ("None", "null"), ("# no comment", "1e5"), (" ", "nan")]


def test_western_text_is_read_and_noted_and_the_rest_refused(tmp_path: Path) -> None:
    rows = [(f"La crème brûlée numéro {n} est prête.", "Où est le garçon ?", "x") for n in range(30)]
    raw = read_local(put(tmp_path / "t.csv", table(rows=rows), "cp1252"), 10**6, 0)
    assert cells(raw) == rows and "t.csv is not UTF-8: read as cp1252, as in 'crème'" in raw.notes[0]
    refused(
        put(tmp_path / "one.csv", "a,b\ncrème,b\n", "latin-1"), r"not UTF-8 text \(line 2\), and its encoding is not"
    )
    mixed = table(rows=rows).encode() + "Bénin,a,b\n".encode("latin-1")
    (tmp_path / "mixed.csv").write_bytes(mixed)
    refused(tmp_path / "mixed.csv", "is UTF-8, but damaged in line 32")
    refused(put(tmp_path / "nul.csv", "a,b\nx,y\nx,\0\n"), "zero byte in line 3")
    refused(put(tmp_path / "u16.csv", table(), "utf-16-le"), "UTF-16 without a mark")
    (tmp_path / "cut.csv").write_bytes("a,b\nx,é".encode()[:-1])
    refused(tmp_path / "cut.csv", "ends in the middle of a character: incomplete download")


def test_headers(tmp_path: Path) -> None:
    rows = "".join(f"{n},A cat {n},c\n" for n in range(5))
    assert read_local(put(tmp_path / "i.csv", ",text,b\n" + rows), 9, 0).columns == ["text", "b"]
    assert read_local(put(tmp_path / "u.csv", "Unnamed: 0,text,b\n" + rows), 9, 0).columns == ["text", "b"]
    assert read_local(put(tmp_path / "e.csv", "a,b,,\nx,y,,\n"), 9, 0).rows == [{"a": "x", "b": "y"}]
    refused(put(tmp_path / "n.csv", "a,b,\nx,y,\nx,y,z\n"), "no name for column 3, which holds 'z' in line 3")
    refused(put(tmp_path / "d.csv", "a,b,a\nx,y,z\n"), "has the column 'a' twice")
    refused(
        put(tmp_path / "h.csv", table().split("\n", 1)[1]), r"no names in its first line.*'A cat waits in yard 0\.'"
    )
    refused(put(tmp_path / "l.csv", "".join(f"{a[:-1]},{c}\n" for a, _, c in PAIRS)), "no names in its first line")
    again = read_local(put(tmp_path / "r.csv", table() + table()), 10**6, 0)
    assert cells(again) == PAIRS * 2 and "repeats its header in 1 lines" in again.notes[0]


def test_one_field_too_many_in_every_line(tmp_path: Path) -> None:
    raw = read_local(put(tmp_path / "t.csv", "a,b\n1,2,\n3,4,\n"), 9, 0)
    assert cells(raw) == [("1", "2"), ("3", "4")] and "an empty field at its end" in raw.notes[0]
    raw = read_local(put(tmp_path / "r.csv", '"a","b"\n"1","x","y"\n"2","z","w"\n'), 9, 0)  # R's write.table
    assert cells(raw) == [("x", "y"), ("z", "w")] and "its number in front" in raw.notes[0]
    refused(put(tmp_path / "m.csv", "a,b\n1,2,3\n4,5,6\n"), "2 unreadable of 2 rows, the first at line 2: more than 2")


def test_one_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", 'b, "c"', "d\ne", "f"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert [row["text"] for row in read_local(tmp_path / "t.csv", 9, 0).rows] == list(frame["text"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!DOCTYPE html>\n<html><body>a,b</body></html>\n", r"is a page \(HTML\), not the data"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n", "is a Git LFS pointer, not the data"),
        ("PK\x03\x04 xl/workbook.xml", "is an Excel workbook"),
        ("PAR1abc", "is a parquet file"),
    ],
)
def test_what_only_calls_itself_a_table(tmp_path: Path, text: str, said: str) -> None:
    refused(put(tmp_path / "t.csv", text), said)
    if not text.startswith("PAR1"):
        refused(put(tmp_path / "t.parquet", text), said)
    refused(put(tmp_path / "t.jsonl", text), said)


@pytest.mark.parametrize("title", ["# exported by the lab", "Pairs of sentences"])
def test_a_title_above_the_names_is_said(tmp_path: Path, title: str) -> None:
    said = refused(
        put(tmp_path / "a.csv", f"{title}\n{table()}"), "has one field in its first line .*more in every line"
    )
    assert title in said and "delete a title or a comment" in said
