"""Lists and objects in cells: real ones, and the spellings in text of JSON, Python, numpy, R and Postgres."""

from __future__ import annotations

import ast
import csv
import html
import io
import json
import re
import tokenize
from collections.abc import Mapping
from typing import Any

from helpers.errors import DataError, shown
from helpers.tasks.reading import text

_R_VECTOR = re.compile(r"^(?:c|list)\((.*)\)$", re.DOTALL)
_R_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|(\bNA\b)|(-?[\d.]+)', re.DOTALL)
_ARRAY = re.compile(r"\barray\((\[.*?\])(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
_POSTGRES = re.compile(r'^\{(?!\s*["\']?[^"\',{}]*["\']?\s*:)[^{}]*\}$', re.DOTALL)
_HTML = re.compile(
    r"</?(?:li|ul|ol|br|p|div|span|b|i|u|em|strong|h[1-6]|a|td|tr|table|tbody|font)\b[^<>]*>", re.IGNORECASE
)
_HTML_BREAK = re.compile(r"<(?:/?(?:li|ul|ol|p|div|h[1-6]|tr|table)\b[^<>]*|br\s*/?)>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-f]+|[a-z][a-z0-9]+);", re.IGNORECASE)
_WORDS = {"null": "None", "nan": "None", "NA": "None", "NaN": "None", "true": "True", "false": "False"}
_ENDS = (tokenize.STRING, tokenize.NUMBER, tokenize.NAME)


def opened(value: Any) -> Any:
    """A cell's list or mapping, also where text spells one; anything else as it is.

    Arrays become lists. Text that only looks like a list ("[laughs] Hi") stays text.
    """
    if hasattr(value, "tolist"):  # numpy, pyarrow scalars aside
        value = value.tolist()
    if isinstance(value, tuple | set):
        value = list(value)
    if not isinstance(value, str):
        return value
    written = value.strip()
    if written in ("character(0)", "list()", "c()"):
        return []
    if vector := _R_VECTOR.match(written):
        return _r_items(vector[1], value)
    framed = len(written) > 1 and written[0] + written[-1] in ("[]", "{}", '""', "()")
    if not framed and not written.startswith("array("):
        return value
    spaced = re.search(r"['\"]\s+['\"]", written)  # as numpy prints; Python would join these texts
    for read in (json.loads, *(() if spaced else (ast.literal_eval,)), _printed):
        try:
            found = read(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError):
            continue
        if isinstance(found, str):  # spelt twice: "\"[...]\""
            inner = opened(found) if read is json.loads and found.strip()[:1] in ("[", "{") else value
            return value if isinstance(inner, str) else inner
        if isinstance(found, list | tuple | dict):
            return list(found) if isinstance(found, tuple) else found
    if _POSTGRES.match(written):
        return next(csv.reader([written[1:-1]], escapechar="\\", skipinitialspace=True), [])
    return value


def plain_text(written: str) -> str:
    """Text without HTML's tags and entities; what its blocks separate stands on lines of its own."""
    if "<" in written:
        written = _HTML.sub("", _HTML_BREAK.sub("\n", written))
    return _ENTITY.sub(lambda sign: html.unescape(sign[0]), written)


def _r_items(inside: str, value: str) -> Any:
    """Items of an R vector; NA is None, so that parallel vectors stay parallel."""
    if re.sub(r"[\s,]", "", _R_ITEM.sub("", inside)):
        return value  # something else stands between the items
    items = _R_ITEM.finditer(inside)
    return [None if m[2] else m[3] or m[1].replace('\\"', '"').replace("\\n", "\n") for m in items]


def _printed(written: str) -> Any:
    """A list as Python or numpy print it, with ``nan``, ``array(…)``, and without commas."""
    pieces, before = [], None
    for token in tokenize.generate_tokens(io.StringIO(_ARRAY.sub(r"\1", written).replace("\n", " ")).readline):
        if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER):
            continue
        if token.string == "...":
            raise ValueError("numpy left items out")
        ended = before is not None and (before.type in _ENDS or before.string in ("]", "}", ")"))
        if ended and (token.type in _ENDS or token.string in ("[", "{", "(")):
            pieces.append(",")
        pieces.append(_WORDS.get(token.string, token.string) if token.type == tokenize.NAME else token.string)
        before = token
    return ast.literal_eval(" ".join(pieces))


def one_text(value: Any, column: str) -> str:
    """A cell that has to be one text, with single spaces; "" for none.

    Raises:
        DataError: it is a list or an object, or text that spells one.
    """
    said = " ".join(text(value, column).split())
    if said[:2] in ("['", '["', "{'", '{"') and not isinstance(opened(said), str):
        text(opened(said), column)  # raises
    return said


def unknown_shape(value: Any, column: str, known: str) -> DataError:
    """The refusal of a cell whose shape is not known.

    Args:
        known: the shapes that are, for the cure.
    """
    kind = "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    return DataError(f"a cell of column {column} is {kind} of unknown shape: {shown(value)}", f"Known are {known}")


def number_text(value: Any) -> str:
    """An amount as text: 2.0 is "2", None is ""."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else text(value)
