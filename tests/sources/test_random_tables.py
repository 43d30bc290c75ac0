"""Random tables, written by pandas in every way that is read: they come back equal, or are refused."""

from __future__ import annotations

import bz2
import gzip
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from helpers.errors import DataError
from helpers.sources.local import RawRows, read_local

# The same tables in every run; a longer search is max_examples=2000, derandomize=False.
quick = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = [*"abcde ,;\t|\"'\\\n\r", "é", "\u2028", "\x85", "\x0b", "\x1c", "😀", "None", "NA", "007", "\r\n", "“", '""']
COLUMNS = ["first", "second", "third", "fourth"]
cells = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join)
plain = st.text("abcde '\"é", min_size=1, max_size=12).map(lambda text: f"x{text}x")


def frames(cell: st.SearchStrategy[str], least: int = 1) -> st.SearchStrategy[pd.DataFrame]:
    def made(width: int) -> st.SearchStrategy[pd.DataFrame]:
        rows = st.lists(st.lists(cell, min_size=width, max_size=width), min_size=least, max_size=25)
        return rows.map(lambda given: pd.DataFrame(given, columns=COLUMNS[:width]))

    return st.integers(2, 4).flatmap(made)


def attempt(frame: pd.DataFrame, path: Path) -> RawRows | None:
    """What is read, which has to equal the frame; None where the file is refused."""
    note(repr(path.read_bytes()[:2000]))
    try:
        raw = read_local(path, 10**6, 0)
    except DataError as error:
        note(str(error))
        assert path.name.split(".")[0] in str(error)
        return None
    if not raw.unreadable:
        got = [{name: row[name] for name in frame.columns} for row in raw.rows]
        assert got == frame.to_dict("records"), raw.notes
    return raw


@quick
@given(
    frames(cells), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from([".csv", ".tsv", ".txt"]), st.integers(0, 2),
    st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans(),
)  # fmt: skip
def test_quoted_tables(
    frame: pd.DataFrame, sep: str, suffix: str, quoting: Any, end: Any, encoding: str, index: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"table{suffix}")
        frame.to_csv(path, sep=sep, quoting=quoting, lineterminator=end, encoding=encoding, index=index)
        raw = attempt(frame, path)
        assert raw is not None or (quoting == 0), "where all text is quoted, nothing is uncertain"
        if raw is not None and len(frame) < 100:
            assert raw.unreadable == 0


@quick
@given(frames(cells), st.sampled_from([",", "\t"]))
def test_marks_behind_a_backslash(frame: pd.DataFrame, sep: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        frame = frame.map(lambda text: text.replace("\\", "/"))
        frame.to_csv(path, sep=sep, quoting=1, doublequote=False, escapechar="\\", index=False)
        attempt(frame, path)


@quick
@given(frames(plain, 2), st.sampled_from(["\t", ",", ";", "|"]), st.data())
def test_tables_that_are_not_quoted(frame: pd.DataFrame, sep: str, data: st.DataObject) -> None:
    # One mark a row: two around a cell would make it a quoted one.
    strays = data.draw(st.lists(st.integers(0, len(frame) - 1), max_size=3, unique=True))
    for row in strays:
        column = data.draw(st.integers(0, frame.shape[1] - 1))
        text = frame.iat[row, column]
        frame.iat[row, column] = f'"{text}' if data.draw(st.booleans()) else f'{text}"'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.tsv" if sep == "\t" else "table.csv")
        lines = [list(frame.columns), *frame.to_numpy().tolist()]
        path.write_text("".join(sep.join(line) + "\n" for line in lines), encoding="utf-8")
        raw = attempt(frame, path)
        assert raw is not None or sep != "\t", "tabs do not need quotation marks"


@quick
@given(frames(cells, 2), st.sampled_from(["records", "columns", "index", "split", "table", "lines"]), st.booleans(),
       st.sampled_from(["", ".gz", ".bz2"]))  # fmt: skip
def test_json(frame: pd.DataFrame, orient: Any, ascii_only: bool, packed: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.json")
        options: dict[str, Any] = {"orient": "records", "lines": True} if orient == "lines" else {"orient": orient}
        frame.to_json(path, force_ascii=ascii_only, **options)
        if packed:
            inner, path = path, path.with_name(f"table.json{packed}")
            path.write_bytes({".gz": gzip, ".bz2": bz2}[packed].compress(inner.read_bytes()))  # type: ignore[attr-defined]
        assert attempt(frame, path) is not None


@settings(quick, max_examples=20)
@given(frames(cells))
def test_parquet_and_arrow(frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        frame.to_parquet(Path(folder, "table.parquet"))
        frame.to_feather(Path(folder, "table.feather"))
        for path in Path(folder).iterdir():
            assert attempt(frame, path) is not None
