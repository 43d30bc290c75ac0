"""How a table of text is written: its separator and its quotation marks, judged by all of its lines.

A quotation mark in front of a sentence looks like the start of a quoted field, and ``csv`` then returns everything up
to the next one, or the rest of the file, as one cell. So each way of reading is tried on the whole file, and one that
makes cells of whole lines is not taken.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from helpers.sources.files.base import File
from helpers.sources.files.encoding import Text, opened

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
# Lone surrogates stand for what csv would take for its own: they occur in no decoded text.
RETURN, QUOTE, BACKSLASH = "\udc0d", "\udc22", "\udc5c"
BACK = {ord(RETURN): "\r", ord(QUOTE): '"', ord(BACKSLASH): "\\"}
TOLERATED = 0.01  # share of lines that may be unreadable
FEW = 12  # most different cells of a column of labels, each of them that often on average


class Dialect(NamedTuple):
    r"""``quoting``: "plain" (no field is quoted), "quoted", "escaped" (``\"`` inside quoted fields), "spaced" (blanks
    after a separator)."""

    separator: str
    quoting: str


class Record(NamedTuple):
    """Cells of one record, or why there are none; its lines in the file, of which the first has number ``line``."""

    line: int
    cells: list[str]
    why: str
    lines: list[str]


@dataclass
class Reading:
    """What becomes of a file when it is read in one dialect."""

    dialect: Dialect
    names: list[str] = field(default_factory=list)
    total: int = 0
    wrong: int = 0
    first_wrong: int = 0  # line
    open_line: int = 0  # where the quotation mark stands that swallows lines, and how many of them
    swallowed: int = 0
    quotes: bool = False
    escapes: bool = False  # a backslash before a quotation mark; a doubled quotation mark inside a field
    twice: bool = False
    longer: int = 0  # records with one field more than names; with an empty last field; with their number in front
    empty_last: int = 0
    numbered: int = 0
    bare: int = 0  # fields with a quotation mark that are not quoted; quoted ones that need it, by doubled marks
    doubled: int = 0
    quoted: Counter[int] = field(default_factory=Counter)  # column → quoted fields

    @property
    def clean(self) -> bool:
        return not self.open_line and not self.wrong

    @property
    def share(self) -> float:
        """Of lines that cannot be read; 1 where they are swallowed."""
        return 1.0 if self.open_line else self.wrong / max(1, self.total)

    @property
    def consistent(self) -> bool:
        """Each column is quoted in all rows or in none, as by a program that quotes all text."""
        return bool(self.quoted) and set(self.quoted.values()) == {self.total}


def records(lines: Iterable[str], text: Text, dialect: Dialect, skip: int = 0) -> Iterator[Record]:
    """Records of a table in order, blank lines left out."""
    separator, quoting = dialect
    if quoting == "plain":
        for number, line in enumerate(lines, skip + 1):
            row = line.removesuffix(text.newline)
            row = row.removesuffix("\r") if text.both else row
            if row.strip(" "):
                yield Record(number, row.split(separator), "", [line])
        return
    csv.field_size_limit(2**31 - 1)
    taken: list[str] = []
    changed = False
    inner = re.compile(r"\r(?!\n|\Z)" if text.both else r"\r(?!\Z)" if text.newline == "\r" else r"\r")

    def feed() -> Iterator[str]:
        nonlocal changed
        for line in lines:
            taken.append(line)
            if "\r" in line and not (text.both and line.find("\r") == len(line) - 2):
                line, changed = inner.sub(RETURN, line), True
            if quoting == "escaped" and "\\" in line:
                line, changed = line.replace("\\\\", BACKSLASH).replace('\\"', QUOTE), True
            yield line

    reader = csv.reader(feed(), delimiter=separator, strict=True, skipinitialspace=quoting == "spaced")
    number, special = skip + 1, re.compile("[\udc0d\udc22\udc5c]")
    while True:
        why, cells = "", []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = "a quotation mark that is never closed" if "end of data" in str(error) else ""
            why = why or "text behind a closing quotation mark"
        if len(cells) > 1 or (cells and cells[0].strip()) or why:
            if changed:
                cells = [cell.translate(BACK) if special.search(cell) else cell for cell in cells]
            yield Record(number, cells, why, taken)
        number += len(taken)
        taken, changed = [], False


def judge(file: File, text: Text, dialect: Dialect, skip: int = 0) -> Reading:
    """Read the whole file in one dialect; ends early where a quotation mark swallows lines."""
    reading = Reading(dialect)
    separator, plain = dialect.separator, dialect.quoting == "plain"
    long: list[tuple[int, list[str]]] = []  # records of several lines, each of which could be a row
    words: dict[int, set[str]] = {}  # the words of columns that have only a few
    spread, width, proper = 0, 0, False
    inside = re.compile(rf'[^\\\n{re.escape(separator)}]""')
    with opened(file, text) as stream:
        for _ in range(skip):
            next(stream)
        for line, cells, why, lines in records(stream, text, dialect, skip):
            several = len(lines) > 1
            marked = several or '"' in lines[0]
            reading.quotes |= marked
            if why and (several or "never" in why):
                reading.open_line = line + _opening(lines, separator)
                reading.swallowed = line + len(lines) - 1 - reading.open_line
                return reading
            if not reading.names:
                reading.names = cells or [why]
                width = len(cells)
                words = {column: set() for column in range(width)}
                continue
            if marked and plain and separator != "\t":
                return reading  # this way of reading is for tables with tabs, or without any quotation mark
            reading.total += 1
            if len(cells) != width:
                if several and len(cells) < width:
                    reading.open_line, reading.swallowed = line + _opening(lines, separator), len(lines) - 1
                    return reading
                _count_wrong(reading, line, cells)
            elif not several:
                for column in list(words):
                    words[column].add(cells[column])
                    if len(words[column]) > FEW:
                        del words[column]
            if not marked or plain or why:
                continue
            whole = "".join(lines)
            reading.escapes = reading.escapes or '\\"' in whole
            reading.twice = reading.twice or ('""' in whole and inside.search(whole) is not None)
            if several:
                spread += 1
                if width > 1 and all(one.count(separator) + 1 == width for one in lines):
                    long.append((line, lines))
            else:
                proper = proper or '""' in whole or whole.count(separator) >= width
            if separator == "\t":
                _weigh(reading, whole.rstrip("\r\n"))
    known = {column: few for column, few in words.items() if few and FEW * len(few) <= reading.total}
    for line, lines in long:
        sure = len(lines) >= (8 if width < 3 else 4) or (len(long) == spread and not proper)
        if sure or _rows_of_words(lines, separator, known):
            reading.open_line, reading.swallowed = line, len(lines) - 1
            break
    if reading.longer and reading.longer == reading.wrong == reading.total in (reading.empty_last, reading.numbered):
        reading.wrong = 0
    return reading


def _rows_of_words(lines: list[str], separator: str, known: dict[int, set[str]]) -> bool:
    """Whether each line has, where a column has only a few words, one of these: so it is a row."""
    rows = [[cell.strip('"\r\n') for cell in line.split(separator)] for line in lines]
    return any(all(row[column] in few for row in rows) for column, few in known.items())


def _count_wrong(reading: Reading, line: int, cells: list[str]) -> None:
    """Count a record with another number of fields than the header."""
    reading.wrong += 1
    reading.first_wrong = reading.first_wrong or line
    if len(cells) == len(reading.names) + 1:
        reading.longer += 1
        reading.empty_last += not cells[-1].strip()
        reading.numbered += cells[0].strip() in (str(reading.total), str(reading.total - 1))


def _weigh(reading: Reading, text: str) -> None:
    """Count the fields of a record that are quoted, and those that hold a quotation mark without being so."""
    field_ = r'(?:\A|(?<=\t))(?:"([^"]*(?:""[^"]*)*)"(?=\t|\Z)|([^\t]*))'
    for column, match in enumerate(re.finditer(field_, text)):
        if match[1] is not None:
            reading.quoted[column] += 1
            reading.doubled += '""' in match[1] or "\t" in match[1] or "\n" in match[1]
        else:
            reading.bare += '"' in match[2]


def _opening(lines: list[str], separator: str) -> int:
    """In which of a record's lines its last quoted field opens, from 0."""
    text, at, position = "".join(lines), 0, 0
    sep = re.escape(separator)
    pattern = re.compile(rf'"[^"]*(?:""[^"]*)*"?|[^{sep}]*')
    while position <= len(text):
        match = pattern.match(text, position)
        end = match.end() if match else position
        if position < len(text) and text[position] == '"':
            at = position
            if text[end : end + 1] not in (separator, "\n", "\r", ""):
                break
        position = end + 1
    return text.count("\n", 0, at) or text.count("\r", 0, at)


def decide(file: File, text: Text, skip: int, separator: str = "") -> Reading:
    """The way of reading that fits all lines, or the one with the fewest unreadable ones.

    Args:
        skip: lines before the header. separator: given by the file itself, "" to find it.
    """
    with opened(file, text) as stream:
        head = next((line for number, line in enumerate(stream) if number >= skip and line.strip()), "")
    usual = USUAL.get(file.suffix, "\t" if "\t" in head else ",")
    possible = [mark for mark in (usual, *SEPARATORS) if mark in head] or [usual]
    readings = [_quoting(file, text, mark, skip) for mark in dict.fromkeys([separator] if separator else possible)]
    best = min(readings, key=lambda reading: (reading.share, reading.dialect.separator != usual, -len(reading.names)))
    if len(best.names) == 1 and len(readings) > 1:  # one column fits always
        return min(readings, key=lambda reading: (len(reading.names) == 1, reading.share))
    return best


def _quoting(file: File, text: Text, separator: str, skip: int) -> Reading:
    """Whether fields are quoted. Tables with tabs often are not, as those of NLI; other separators need it."""
    plain = judge(file, text, Dialect(separator, "plain"), skip)
    if not plain.quotes:
        return plain
    quoted = judge(file, text, Dialect(separator, "quoted"), skip)
    if separator == "\t" and plain.clean:
        sure = quoted.clean and not quoted.bare and (quoted.doubled or quoted.consistent)
        if not sure and all(re.fullmatch('".*"', name) for name in plain.names):  # a quoted header over \\"
            escaped = judge(file, text, Dialect(separator, "escaped"), skip)
            return escaped if escaped.clean and escaped.escapes else plain
        return quoted if sure else plain
    if quoted.clean and (quoted.twice or not quoted.escapes):
        return quoted
    escaped = judge(file, text, Dialect(separator, "escaped"), skip)
    others = [escaped, quoted if quoted.clean else judge(file, text, Dialect(separator, "spaced"), skip)]
    if found := next((reading for reading in others if reading.clean), None):
        return found
    if separator == "\t" and plain.share <= TOLERATED:
        return plain
    return min((quoted, *others), key=lambda reading: reading.share)
