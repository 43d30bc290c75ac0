"""Rows of JSON text, one object a line or all in one value; what the file holds decides, not its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from helpers.errors import shown
from helpers.sources.files import json_shapes
from helpers.sources.files.base import Bad, File, Row
from helpers.sources.files.encoding import Text, look, opened

CUT_OFF = "ends in the middle: incomplete download?"
BLANK = " \t\r\n"  # what JSON takes for blank; str.strip() takes more, such as U+0085 and U+2028
CHUNK = 1 << 16  # characters read at once

_decoder = json.JSONDecoder(parse_constant=lambda word: None if word == "NaN" else float(word))


def rows(file: File) -> Iterator[Row | Bad]:
    """Rows of a list (streamed), of lines (streamed), of objects one behind the other, or of one whole object.

    Raises:
        DataError: no JSON, cut off, or of a shape that is no table.
    """
    text = look(file)
    if text is None:
        return
    with opened(file, text) as stream:
        pieces = (piece.lstrip(BLANK) for piece in iter(lambda: stream.read(CHUNK), ""))
        head = next(filter(None, pieces), "")
    if not head:
        return
    if head.startswith("["):  # may be one long line, which is not to be read at once
        yield from _list(file, text)
        return
    with opened(file, text) as stream:
        line = next(line for line in stream if line.strip(BLANK))
        more = any(line.strip(BLANK) for line in stream)
    first = _value(line)
    if isinstance(first, dict) and (more or file.suffix != ".json"):
        # A lone object by its shape: {"data": [...]} in one line is a table whatever the file is called.
        table = None if more else json_shapes.table(file, first, alone=False)
        yield from _lines(file, text) if table is None else table
        return
    yield from _whole(file, text)


def _value(line: str) -> Any:
    """The value that a line holds; None where it holds none."""
    try:
        return _decoder.decode(line.strip(BLANK))
    except (ValueError, RecursionError):
        return None


def _lines(file: File, text: Text) -> Iterator[Row | Bad]:
    with opened(file, text) as stream:
        for number, line in enumerate(stream, 1):
            stripped = line.strip(BLANK)
            if not stripped:
                continue
            try:
                row = _decoder.decode(stripped)
            except (ValueError, RecursionError) as error:
                if not line.endswith(("\n", "\r")) and _cut_off(stripped, error):
                    raise file.error(
                        f"{CUT_OFF} Its last line, {number:,}, is not whole", "Download it again"
                    ) from None
                yield Bad(number, str(error))
                continue
            yield row if isinstance(row, dict) else Bad(number, f"not a JSON object but {shown(row, 60)}")


def _cut_off(text: str, error: Exception) -> bool:
    """Whether JSON is wrong because its end is missing."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(text.rstrip(BLANK)) or error.msg.startswith("Unterminated string")


def _whole(file: File, text: Text) -> Iterator[Row | Bad]:
    """A file that holds one value, or objects of several lines one behind the other."""
    with opened(file, text) as stream:
        content = stream.read().strip(BLANK)
    try:
        whole, end = _decoder.raw_decode(content)
    except (ValueError, RecursionError) as error:
        if file.suffix in (".jsonl", ".ndjson"):
            yield from _lines(file, text)
            return
        if _cut_off(content, error):
            raise file.error(f"is not valid JSON: it {CUT_OFF} ({error})", "Download it again") from error
        raise file.error(f"is not valid JSON: {error}", "Repair it, or save it again") from error
    if end == len(content):
        yield from json_shapes.table(file, whole) or ()
        return
    file.notes.append(f"{file.name} holds one JSON value behind the other, each read as a row")
    number, position = 0, 0
    while position < len(content):
        try:
            row, position = _decoder.raw_decode(content, position)
        except (ValueError, RecursionError) as error:
            cut = f": it {CUT_OFF}" if _cut_off(content, error) else ""
            raise file.error(
                f"is not valid JSON after row {number:,}{cut} ({error})", "Repair or download it"
            ) from error
        number += 1
        yield row if isinstance(row, dict) else Bad(number, f"not a JSON object but {shown(row, 60)}")
        while position < len(content) and content[position] in BLANK + ",":
            position += 1


def _list(file: File, text: Text) -> Iterator[Row | Bad]:
    """Objects of a JSON list, one at a time: the file may be larger than memory."""
    with opened(file, text) as stream:
        number = 0
        for number, row in enumerate(_items(file, stream), 1):
            if isinstance(row, list) and number == 1:
                what = f"holds rows that are lists, without names of columns: {shown(row, 100)}"
                raise file.error(what, 'Save it with names: df.to_json(path, orient="records")')
            yield row if isinstance(row, dict) else Bad(number, f"not a JSON object but {shown(row, 60)}")


def _items(file: File, stream: TextIO) -> Iterator[Any]:
    buffer = ""
    while not buffer:
        buffer = stream.read(CHUNK).lstrip(BLANK)
    position, number, ended = 1, 0, False
    while True:
        while position < len(buffer) and buffer[position] in BLANK + ",":
            position += 1
        if buffer[position : position + 1] == "]":
            rest = buffer[position + 1 :].strip(BLANK) or stream.read(CHUNK).strip(BLANK)
            if rest:
                what = f"holds more behind its list of {number:,} rows: {shown(rest[:80])}"
                raise file.error(what, "Give one list, or one object a line")
            return
        try:
            item, end = _decoder.raw_decode(buffer, position)
            if end == len(buffer) and not ended:  # a number or word may go on
                raise ValueError("more to come")
        except (ValueError, RecursionError) as error:
            more = stream.read(max(CHUNK, len(buffer) - position))
            ended = not more
            if ended and isinstance(error, ValueError) and str(error) == "more to come":
                continue
            if ended:
                cut = f": it {CUT_OFF}" if _cut_off(buffer, error) else ""
                what = f"is not valid JSON after row {number:,}{cut} ({error})"
                raise file.error(what, "Download or save it again") from error
            buffer, position = buffer[position:] + more, 0
            continue
        number += 1
        position = end
        yield item
