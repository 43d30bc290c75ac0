"""What bytes a text file has: how its characters are written, how its lines end, and whether it is text at all."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TextIO

from helpers.errors import DataError, shown
from helpers.sources.files.base import File

CHUNK = 1 << 20  # bytes read at once
SAMPLE = 100_000  # bytes from which an encoding is guessed
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
DOWNLOAD = "Download the file itself"
# How a file begins that is no text, whatever its name says.
NO_TEXT = (
    (rb"version https://git-lfs", "is a Git LFS pointer, not the data", "Fetch the data: git lfs pull"),
    (rb"\s*(<!doctype html|<html|<head|<\?xml[^>]*>\s*<!doctype html)", "is a page (HTML), not the data", DOWNLOAD),
    (rb"\s*<\?xml", "is XML, not a table", "Save it as CSV, JSON lines or parquet"),
    (rb"PK\x03\x04.{0,200}(\[Content_Types\]|xl/|_rels/)", "is an Excel workbook", "Save it as CSV (UTF-8)"),
    (rb"PK\x03\x04", "is a zip archive", "Name it .zip"),
    (rb"\x1f\x8b", "is packed by gzip", "Name it .gz, behind the type of what is inside (.csv.gz)"),
    (rb"BZh\d", "is packed by bzip2", "Name it .bz2, behind the type of what is inside (.csv.bz2)"),
    (rb"\xfd7zXZ", "is packed by xz", "Name it .xz, behind the type of what is inside (.csv.xz)"),
    (rb"PAR1", "is a parquet file", "Name it .parquet"),
    (rb"ARROW1", "is an Arrow file", "Name it .arrow"),
    (rb"\x80[\x02-\x05](\x95|c|\}|\])", "is a pickle", "Save it as parquet: opening a pickle may run any program"),
    (rb"\xd0\xcf\x11\xe0", "is an old Excel workbook", "Save it as CSV (UTF-8)"),
)  # fmt: skip


class Text(NamedTuple):
    r"""How to open a text file: ``newline`` is ``"\n"``, or ``"\r"`` where lines end so.

    ``both``: lines end with ``\r\n``; otherwise a ``\r`` before the end of a line belongs to its text.
    """

    encoding: str
    newline: str
    both: bool


def look(file: File) -> Text | None:
    """Read a file through once and say how its text is written; None for an empty one. Notes a guessed encoding.

    Raises:
        DataError: it is no text, or the encoding cannot be told.
    """
    newline, decoder, encoding, lines, tail, pairs = "", None, "utf-8", 0, b"", 0
    with file.path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            if decoder is None:
                refuse_other_kinds(file, chunk)
                encoding = next((name for mark, name in MARKS if chunk.startswith(mark)), "utf-8")
                decoder = codecs.getincrementaldecoder(encoding)()
            if b"\0" in chunk and encoding.startswith("utf-8"):
                raise _with_nul(file, chunk, lines)
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return _guessed(file, lines + chunk[: max(0, error.start - len(tail))].count(b"\n") + 1)
            newline = newline or _newline(text)
            lines += chunk.count(b"\n")
            pairs += text.count("\r\n")
            tail = decoder.getstate()[0]
        if decoder is None:
            return None
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            what = "ends in the middle of a character: incomplete download?"
            raise file.error(what, "Download it again") from None
    both = newline == "\r\n" or 2 * pairs >= lines
    return Text(encoding, newline[-1:] or "\n", both)


@contextmanager
def opened(file: File, text: Text) -> Iterator[TextIO]:
    """The file as a stream whose lines end at ``text.newline`` only: U+2028 and U+0085 are characters of a text."""
    with file.path.open(encoding=text.encoding, newline=text.newline) as stream:
        yield stream


def refuse_other_kinds(file: File, head: bytes) -> None:
    """DataError where the first bytes are those of a page, a pointer, an archive or a binary table."""
    for begin, what, cure in NO_TEXT:
        if re.match(begin, head[:4096], re.IGNORECASE | re.DOTALL):
            raise file.error(what, cure)


def _newline(text: str) -> str:
    r"""The end of the first line, which is ``\r`` only on its own; "" where there is none yet."""
    found = re.search(r"\r\n|\n|\r(?!\Z)", text)
    return found[0] if found else ""


def _with_nul(file: File, chunk: bytes, lines: int) -> DataError:
    if chunk.count(b"\0") > len(chunk) // 4:
        return file.error("is UTF-16 without a mark, or no text: every second byte is zero", "Save it as UTF-8")
    line = lines + chunk[: chunk.index(b"\0")].count(b"\n") + 1
    return file.error(f"has a zero byte in line {line:,}: damaged, or no text", "Repair that line, or save it as UTF-8")


def _guessed(file: File, line: int) -> Text:
    """The encoding of a file that is not UTF-8, noted with an example; DataError where several would do."""
    from charset_normalizer import from_bytes

    sample, newline, both = _sample(file)
    valid = len(re.findall(r"[^\x00-\x7f�]", sample.decode("utf-8", "replace")))
    if valid > sample.decode("utf-8", "replace").count("�"):
        raise file.error(f"is UTF-8, but damaged in line {line:,}", "Repair that line, or save the file again as UTF-8")
    found = list(from_bytes(sample, cp_exclusion=["utf_16", "utf_16_be", "utf_16_le", "utf_32"]))
    best = found[0] if found else None
    western = {"cp1252", "latin_1"}
    name = ""
    if best is not None and best.coherence > 0.1 and best.chaos <= 0.15:
        near = [
            match for match in found if match.chaos <= best.chaos + 0.02 and match.coherence >= best.coherence - 0.1
        ]
        if any(western & {match.encoding, *match.could_be_from_charset} for match in near):
            name = "" if _inside_words(sample) else "cp1252"
        elif len(near) == 1:
            name = best.encoding
    try:
        text = sample.decode(name) if name else ""
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise file.error(f"is not UTF-8 text (line {line:,}), and its encoding is not certain", "Save it as UTF-8")
    word = re.search(r"\w*[^\W\x00-\x7f]\w*", text) or re.search(r"\S*[^\x00-\x7f]\S*", text)
    example = f", as in {shown(word[0], 40)}" if word else ""
    file.notes.append(f"{file.name} is not UTF-8: read as {name}{example}; save it as UTF-8 if that is wrong")
    return Text(name, newline, both)


def _sample(file: File) -> tuple[bytes, str, bool]:
    """Lines that are not ASCII, at most ``SAMPLE`` bytes of them, and how lines end."""
    kept, size, newline, both = [], 0, "\r", False
    with file.path.open("rb") as stream:
        for line in stream:
            newline = "\n" if line.endswith(b"\n") else newline
            both |= line.endswith(b"\r\n")
            if not line.isascii():
                kept.append(line[:SAMPLE])
                size += len(kept[-1])
            if size >= SAMPLE:
                break
    return b"".join(kept)[:SAMPLE], newline, both


def _inside_words(sample: bytes) -> bool:
    """Whether most high bytes are marks of cp1252 between two letters: so they are letters of another encoding."""
    marks = re.findall(rb"(?<=[a-z])[\x80-\x89\x8b\x8d\x8f-\x91\x93-\x99\x9b\x9d](?=[a-z])", sample)
    return 2 * len(marks) > len(re.findall(rb"[\x80-\xff]", sample))
