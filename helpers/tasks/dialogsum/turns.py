"""Dialogues as sources write them → one line a turn, "Ana: Hi Ben"; summaries → all that there are.

Turns may be text with line breaks (also written out as ``\\n``, or HTML), lists of texts, of objects with speaker
and text, of pairs, two lists side by side, or an object around one of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from helpers.errors import DataError, shown
from helpers.tasks.cells import opened, plain_text, unknown_shape
from helpers.tasks.reading import text

# Names of the parts of a turn, best first, without case, _ and -.
SPEAKERS = (
    "speaker",
    "role",
    "from",
    "name",
    "user",
    "author",
    "sender",
    "participant",
    "speakername",
    "speakerid",
    "id",
)
TEXTS = ("text", "content", "value", "utterance", "message", "sentence", "utt", "turn", "line", "body", "speech")
AROUND = (
    "turns", "dialogue", "dialog", "messages", "utterances", "conversation", "conversations", "lines", "log", "content",
)  # fmt: skip
KNOWN = (
    "text with a line a turn, lists of texts, lists of objects such as {speaker, text}, {role, content} or "
    "{from, value}, lists of [speaker, text], and two lists, speakers and texts"
)
_WRITTEN_BREAK = re.compile(r"(?:\\r)?\\n|\\r(?=\w+:)")
_MARKS = re.compile(r"\s*(?:__eou__|<eou>|\[SEP\]|</s>)\s*", re.IGNORECASE)
_NAME = r"#?[^\W\d_][\w'.-]{0,20}#?(?: [^\W\d_a-z][\w'.-]{0,20}| \d{1,2})?"
_SPEAKER = re.compile(rf"\s*{_NAME}\s?:\s")
_BETWEEN = re.compile(rf"\s*(?:\|+|//|\t)\s*(?={_NAME}\s?:\s)")
_RUN_ON = re.compile(rf"(?<=[.!?…)\"'”])\s+(?=({_NAME})\s?:\s)")
_PATH = re.compile(r"\b[A-Za-z]:\\")


def dialogue_text(value: Any, speakers: Any = None, column: str = "dialogue") -> tuple[str, str]:
    """A cell as lines of turns, and the shape it had ("" for plain text).

    Args:
        speakers: who says each turn, where that stands in a column of its own.

    Raises:
        DataError: the shape is not known; shows the cell.
    """
    found = opened(value)
    who = opened(speakers)
    if isinstance(who, list) and isinstance(found, list):
        return _side_by_side(who, found, column), "two lists, speakers and texts"
    if isinstance(found, Mapping | list):
        lines, shape = _turns(found, column)
        return "\n".join(lines), shape
    said = text(found, column)
    broken = said
    shape = ""
    if "\n" not in said and not _PATH.search(said):
        broken = _WRITTEN_BREAK.sub("\n", said)
        shape = "text with \\n written out" if broken != said else ""
    plain = plain_text(broken)
    shape = shape or ("HTML" if plain != broken else "")
    broken = _MARKS.sub("\n", plain)
    if "\n" not in broken.strip():
        broken, joined = _apart(broken)
        shape = shape or joined
    return "\n".join(line for part in broken.splitlines() if (line := " ".join(part.split()))), shape


def _apart(said: str) -> tuple[str, str]:
    """One line in which several speak, a line a turn, and how it was split; others as they are."""
    if not (first := _SPEAKER.match(said)):
        return said, ""
    if _BETWEEN.search(said):
        return _BETWEEN.sub("\n", said), "text of one line, split at |, // or tabs before names"
    # A name that comes again after a sentence is a speaker; "Note:" that comes once may be anything.
    name = first[0].strip().rstrip(" :")
    if name in (mark[1] for mark in _RUN_ON.finditer(said)):
        return _RUN_ON.sub("\n", said), "text of one line, split before the names of speakers"
    return said, ""


def _turns(found: Any, column: str) -> tuple[list[str], str]:
    if isinstance(found, Mapping):
        return _object(found, column)
    if len(found) == 1 and isinstance(found[0], str) and "\n" in found[0]:
        return dialogue_text(found[0], column=column)[0].splitlines(), "a list of one text"
    shapes: dict[str, None] = {}
    lines = []
    for turn in found:
        line, shape = _turn(turn, column)
        shapes[shape] = None
        if line:
            lines.append(line)
    return lines, f"lists of {' and '.join(shapes) or 'nothing'}"


def _object(found: Mapping[str, Any], column: str) -> tuple[list[str], str]:
    """Turns inside an object: speakers and texts as lists, a list of turns, or turns by number."""
    plain = {_plain(key): value for key, value in found.items()}
    texts = next((plain[name] for name in _many(TEXTS) if isinstance(plain.get(name), list)), None)
    who = next((plain[name] for name in _many(SPEAKERS) if isinstance(plain.get(name), list)), None)
    if texts is not None and who is not None:
        return _side_by_side(who, texts, column).splitlines(), "two lists, speakers and texts"
    for name in (*AROUND, *_many(TEXTS)):
        if isinstance(plain.get(name), list | Mapping):
            lines, shape = _turns(plain[name], column)
            return lines, f"{shape} in an object"
    if found and all(re.fullmatch(r"(?:turn|t)?\d+", key) for key in plain):
        order = sorted(found, key=lambda key: int(re.sub(r"\D", "", str(key))))
        return _turns([found[key] for key in order], column)
    raise unknown_shape(found, column, KNOWN)


def _turn(turn: Any, column: str) -> tuple[str, str]:
    """One turn as a line, and its shape; "" for a turn without text."""
    turn = turn.tolist() if hasattr(turn, "tolist") else turn
    if isinstance(turn, str):
        return " ".join(turn.split()), "texts"
    if isinstance(turn, list | tuple) and len(turn) == 2 and all(isinstance(part, str | int) for part in turn):
        return _line(turn[0], turn[1]), "pairs"
    if isinstance(turn, Mapping):
        plain = {_plain(key): (key, value) for key, value in turn.items()}
        said = next((plain[name] for name in TEXTS if name in plain and name not in ("turn", "line")
                     or name in plain and isinstance(plain[name][1], str)), None)  # fmt: skip
        who = next((plain[name] for name in SPEAKERS if name in plain), ("", None))
        if said is not None:
            keys = ", ".join(filter(None, (who[0], said[0])))
            return _line(_who(who[1], turn, column), _content(said[1], turn, column)), f"objects with {keys}"
        if len(turn) == 1 and isinstance(next(iter(turn.values())), str):  # {"Ana": "Hi Ben"}
            return _line(*next(iter(turn.items()))), "objects {speaker: text}"
    raise unknown_shape(turn, column, KNOWN)


def _who(value: Any, turn: Any, column: str) -> Any:
    """Who says a turn; exports of chats write {"name": …, "id": …}."""
    if isinstance(value, Mapping):
        names = [value[key] for key in ("name", "display_name", "username", "nickname") if value.get(key)]
        if not names:
            raise unknown_shape(turn, column, KNOWN)
        return names[0]
    return value


def _content(value: Any, turn: Any, column: str) -> str:
    """The words of a turn; chat models write [{"type": "text", "text": …}]."""
    if isinstance(value, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value
    ):
        return " ".join(part["text"] for part in value)
    if isinstance(value, list | Mapping):
        raise unknown_shape(turn, column, KNOWN)
    return text(value, column)


def _line(who: Any, said: Any) -> str:
    speaker, words = " ".join(text(who).split()).rstrip(":"), " ".join(text(said).split())
    if speaker.isdecimal():
        speaker = f"Speaker {speaker}"
    return words if not speaker or not words or words.startswith(f"{speaker}:") else f"{speaker}: {words}"


def _side_by_side(who: Sequence[Any], texts: Sequence[Any], column: str) -> str:
    if len(who) != len(texts):
        what = f"a row has {len(who)} speakers, but {len(texts)} turns in column {column}: {shown(list(texts))}"
        raise DataError(what, "Give one speaker a turn")
    return "\n".join(line for pair in zip(who, texts, strict=True) if (line := _line(*pair)))


def _plain(key: Any) -> str:
    return re.sub(r"[\s_\-]", "", str(key).lower())


def _many(names: Sequence[str]) -> tuple[str, ...]:
    """Each name, and its plural."""
    return tuple(form for name in names for form in (f"{name}s", name))


def summaries(values: Sequence[Any], column: str = "summary") -> list[str]:
    """The summaries in the cells of one row, each once, in order; [] where there is none.

    A cell holds one text, or a list of texts.

    Raises:
        DataError: it holds something else; shows the cell.
    """
    found: dict[str, None] = {}
    for value in values:
        inside = opened(value)
        if isinstance(inside, Mapping):
            raise unknown_shape(inside, column, "a text, or a list of texts")
        for part in inside if isinstance(inside, list) else [inside]:
            if said := " ".join(plain_text(text(part, column)).split()):
                found[said] = None
    return list(found)
