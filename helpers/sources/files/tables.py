"""Rows of a table of text: CSV, TSV and their like, with whatever separator and quotation marks it has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from helpers.errors import shown
from helpers.sources.files.base import Bad, File, Row
from helpers.sources.files.dialect import SEPARATORS, TOLERATED, USUAL, Reading, decide, records
from helpers.sources.files.encoding import Text, look, opened

LOOKED_AT = 1000  # rows that are compared with the header
HINT = re.compile(r'"?sep=(.)"?\s*')  # a first line for Excel
FIELDS = "fields"  # in the reason of a line that has more or fewer than the first
UNNAMED = re.compile(r"|Unnamed: \d+")  # as pandas names a column without a name


def rows(file: File) -> Iterator[Row | Bad]:
    """Rows with the header's names; cells stay text as written. Notes what was guessed.

    Raises:
        DataError: no text; a quotation mark that swallows lines; no header, or one with a name twice.
    """
    text = look(file)
    if text is None:
        return
    with opened(file, text) as stream:
        first_line = next(stream, "")
    if first_line.startswith(('{"', "[{")):
        raise file.error("holds JSON, not a table", "Name it .jsonl, or .json")
    hint = HINT.fullmatch(first_line)
    skip = 1 if hint else 0
    reading = decide(file, text, skip, hint[1] if hint else "")
    _refuse_swallowing(file, reading)
    _note(file, reading, bool(hint))
    names, kept = _names(file, reading)
    found = _cells(file, text, reading, skip, kept)
    first = list(islice(found, LOOKED_AT))
    _refuse_other_widths(file, names, first)
    _refuse_data_as_header(file, names, [cells for cells in first if isinstance(cells, list)])
    repeated = 0
    for cells in chain(first, found):
        if isinstance(cells, Bad):
            yield cells
        elif cells == names and len(names) > 1:
            repeated += 1
        else:
            yield dict(zip(names, cells, strict=True))
    if repeated:
        file.notes.append(f"{file.name} repeats its header in {repeated:,} lines, which are left out")


def _cells(file: File, text: Text, reading: Reading, skip: int, kept: Sequence[int]) -> Iterator[list[str] | Bad]:
    """Cells of the columns ``kept``, record by record, without the header."""
    width = len(reading.names)
    every, odd = list(kept) == list(range(width)), 0
    if reading.longer and not reading.wrong:
        odd, every = 1, False
    shift = 1 if odd and reading.empty_last < reading.total else 0  # a number in front, else nothing behind
    nameless = [i for i in range(1, width) if i not in kept]
    with opened(file, text) as stream:
        for _ in range(skip):
            next(stream)
        found = records(stream, text, reading.dialect, skip)
        next(found)
        for record in found:
            cells = record.cells
            if record.why:
                yield Bad(record.line, record.why)
            elif len(cells) < width and not record.lines[-1].endswith(("\n", "\r")):
                what = f"ends in the middle: incomplete download? Its last line, {record.line:,}, has {len(cells)} of "
                raise file.error(f"{what}{width} fields", "Download it again, or delete that line")
            elif len(cells) != width + odd:
                more = f"more than {width} {FIELDS} (one that holds a separator has to be in quotation marks)"
                yield Bad(record.line, f"fewer than {width} {FIELDS}" if len(cells) < width else more)
            elif every:
                yield cells
            else:
                if filled := next((i for i in nameless if cells[i + shift].strip()), None):
                    what = (
                        f"has no name for column {filled + 1}, which holds {shown(cells[filled + shift], 60)} in line "
                    )
                    raise file.error(f"{what}{record.line:,}", "Name it in the first line")
                yield [cells[i + shift] for i in kept]


def _names(file: File, reading: Reading) -> tuple[list[str], list[int]]:
    """Names of the columns that are read, and their places; a column of row numbers without a name is not."""
    names = [name.strip() for name in reading.names]
    kept = [i for i, name in enumerate(names) if not UNNAMED.fullmatch(name)]
    if not kept:
        raise file.error("has no names in its first line", "Name the columns in the first line")
    used = [names[i] for i in kept]
    if twice := [name for name, count in Counter(used).items() if count > 1]:
        raise file.error(f"has the column {twice[0]!r} twice", "Rename one of them")
    return used, kept


def _refuse_swallowing(file: File, reading: Reading) -> None:
    if reading.open_line:
        what = f"cannot be read: the quotation mark that opens a field in line {reading.open_line:,} "
        what += f"makes one cell of it and the {reading.swallowed:,} lines below"
        if not reading.swallowed:
            what = (
                f"cannot be read: the quotation mark that opens a field in line {reading.open_line:,} is never closed"
            )
        cure = "Delete it, or put the field in quotation marks and write those inside it twice"
        if not reading.swallowed:
            cure = f"Download the file again if it ends there. {cure}"
        raise file.error(what, f'{cure}, as in "He said ""no"""')


def _note(file: File, reading: Reading, hinted: bool) -> None:
    """What was found out about the file and could be otherwise."""
    separator, quoting = reading.dialect
    word = SEPARATORS.get(separator, repr(separator))
    if len(reading.names) > 1 and separator != USUAL.get(file.suffix) and not hinted:
        file.notes.append(f"{file.name}: fields are separated by {word}")
    if quoting == "plain" and reading.quotes:
        file.notes.append(f"{file.name}: no field is quoted, so quotation marks are part of the text")
    if quoting == "escaped":
        file.notes.append(f'{file.name}: quotation marks inside fields are written \\"')
    if quoting == "spaced":
        file.notes.append(f"{file.name}: blanks behind separators are left out")
    if reading.longer and not reading.wrong:
        extra = "an empty field at its end" if reading.empty_last == reading.total else "its number in front"
        file.notes.append(f"{file.name}: each line has {extra}, which is left out")


def _refuse_other_widths(file: File, names: list[str], first: Sequence[list[str] | Bad]) -> None:
    """DataError where every line has more fields than the first, which has one: a title above the names."""
    bad = [item for item in first if isinstance(item, Bad) and FIELDS in item.why]
    if len(bad) == len(first) > 1 == len(names):
        what = f"has one field in its first line ({shown(', '.join(names), 80)}), and more in every line below"
        cure = "Names of columns come first: delete a title or a comment above them"
        raise file.error(what, f"{cure}, and put fields that hold a separator in quotation marks")


def _refuse_data_as_header(file: File, names: list[str], rows: list[list[str]]) -> None:
    """DataError where the first line is a row like the others: its cells occur again, or are sentences or numbers."""
    again = [sum(row[i] == name for row in rows) for i, name in enumerate(names)]
    repeats = sum(row == names for row in rows)
    often = any(count - repeats >= max(3, TOLERATED * len(rows)) for count in again)
    sentences = [name for name in names if name.endswith((".", "!")) and len(name.split()) > 2]
    numbers = all(re.fullmatch(r"-?\d+\.\d+", name) for name in names)
    if often or sentences or numbers:
        row = shown(names, 160)
        what = f"has no names in its first line, which looks like a row of data: {row}"
        raise file.error(what, f"Put a line with the names of the {len(names)} columns on top")
