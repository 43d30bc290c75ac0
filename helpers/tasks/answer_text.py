"""What ``answers`` does to texts before it compares them: cleaning, spellings from exact to folded, sentences, JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from helpers.tasks.answer_patterns import KEYS, UNITS

_PUNCTUATION = " \t\r\n.,:;!?。．，、：；！？"
_QUOTES = "\"'`“”‘’«»„‹›「」『』"
_MARKS = _PUNCTUATION + _QUOTES + "*_()[]{}（）【】<>#~|"
_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufe0e\ufe0f]")
_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_THINKING = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^<>|]*\|>|</?s>|<(?:eos|bos|pad|end_of_turn|start_of_turn)>")
# A model that does not stop goes on with a next question of its own.
_NEXT_TURN = re.compile(
    r"</s>|<eos>|<end_of_turn>|<\|(?:im_end|endoftext|end|eot_id|eom_id)\|>|\[INST\]"
    r"|\n\s*(?:#+\s*)?(?:Question|Instruction|Human|User|Q)\s*\d*\s*:"
)
_TEX = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\d?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_DOLLARS = re.compile(r"\$\$?([^$\n]+?)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_ABBREVIATION = re.compile(
    r"(?:^|[^\w])(?:mr|mrs|ms|dr|st|prof|rev|gen|col|sgt|jr|sr|vs|no|mt|ft|fig|e\.g|i\.e|[a-z])\.$", re.IGNORECASE
)
_END = re.compile(r"[.!?][\"'”’)*\]]*(?=\s+[\"'“‘(*\[]*[A-Z0-9])|[。！？]")


_UNIT = re.compile(rf"(\d)\s?({'|'.join(UNITS)})(?![\w²³^/])")
_FIRST_KEY = re.compile(
    rf"\{{\s*[\"']?(?:{'|'.join(KEYS).replace('_', '[_ ]')})[\"']?\s*[:=]\s*"
    r"(?:\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'|(-?\d+))\s*[,}\n]",
    re.IGNORECASE,
)
_HTML = re.compile(r"</?(?:b|i|u|em|strong|code|span|p)>", re.IGNORECASE)
UNQUOTED = 4  # a place among the spellings


def clean(text: str) -> str:
    """What was said after thinking, without control marks. "" where the thinking never ends."""
    text = _UNSEEN.sub("", text)
    if thoughts := list(_THOUGHT.finditer(text)):
        text = text[thoughts[-1].end() :]
    elif (begun := _THINKING.search(text)) and not text[: begun.start()].strip():
        return ""
    if (turn := _NEXT_TURN.search(text)) and fold(_SPECIAL.sub(" ", text[: turn.start()])):
        text = text[: turn.start()]
    return _SPECIAL.sub(" ", text).strip()


def without_tex(text: str) -> str:
    r"""``\text{B}`` as "B", ``$B$`` as "B", ``\frac{1}{2}`` as "1/2"."""
    text = _HTML.sub("", text)
    if "\\" not in text and "$" not in text:
        return text
    for _ in range(3):
        text = _FRACTION.sub(r"\1/\2", _TEX.sub(r"\1", text))
    return _DOLLARS.sub(lambda m: next(group for group in m.groups() if group is not None), text)


def boxed(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of each ``\boxed{...}``, also of one that never closes."""
    found = []
    for start in (m.end() for m in re.finditer(r"\\f?boxed\s*\{", text)):
        depth, end = 1, start
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append((start, end, text[start : end - 1 if not depth else end]))
    return found


def fold(text: str) -> str:
    """Case-folded, single spaces, no outer punctuation, quotes, emoji or marks of emphasis."""
    return _trimmed(" ".join(unicodedata.normalize("NFKC", text).casefold().replace("−", "-").split()))


def bare(folded: str) -> str:
    """Without a leading article: "the salt" is "salt"."""
    return re.sub(r"^(?:the|an?)\s+(?=\S)", "", folded)


@lru_cache(maxsize=4096)  # options are compared with many pieces of one answer
def spellings(text: str, option: bool = False) -> list[str]:
    """The text from as it stands to folded most; two texts are compared at the same place of their lists.

    At place ``UNQUOTED`` an option keeps quotes of its own: an answer may be quoted, or name an option with quotes.
    """
    spaced = " ".join(text.split())
    ended = spaced.strip(_PUNCTUATION)
    starred = re.sub(r"\*+", "*", ended)
    unquoted = starred.strip(_PUNCTUATION + _QUOTES)
    unmarked = _trimmed(unquoted)
    plain = without_tex(unicodedata.normalize("NFKC", spaced))
    folded = fold(plain)
    as_named = starred if option else unquoted
    least = re.sub(r"(?<=[^\W\d_])[-‐](?=[^\W\d_])", " ", _UNIT.sub(lambda m: f"{m[1]} {UNITS[m[2]]}", bare(folded)))
    return [text.strip(), spaced, ended, starred, as_named, unmarked, _trimmed(plain), folded, bare(folded), least]


def _trimmed(text: str) -> str:
    text = text.strip(_MARKS)
    while text and unicodedata.category(text[0]) in ("So", "Sk", "Mn"):  # emoji
        text = text[1:].strip(_MARKS)
    while text and unicodedata.category(text[-1]) in ("So", "Sk") and text[-1] != "°":
        text = text[:-1].strip(_MARKS)
    return text


def head(option: str) -> str:
    """What an option is called, where it goes on to explain itself: "straw man: a misrepresentation" is "straw man"."""
    found = re.match(r"(.{2,60}?)(?:\s*[:;(]\s*|\s[-–—]\s)\S", option, re.DOTALL)
    return found[1].strip() if found and re.search(r"[^\W\d_]{2}", found[1]) else ""


def first_sentence(text: str) -> str:
    """Up to the end of the line or of the sentence; "Mr. Carter" and "3.5" end none."""
    line = text.strip().split("\n", 1)[0]
    for end in _END.finditer(line):
        if not _ABBREVIATION.search(line[: end.start() + 1]) or line[end.start()] != ".":
            return line[: end.end()]
    return line


def json_answers(text: str) -> Iterator[Any]:
    """Each answer in JSON anywhere in ``text``, whole or broken."""
    at, found = 0, False
    while start := re.compile(r"[{\[\"]").search(text, at):
        at = start.start() + 1
        if start.start() and start[0] == '"':
            continue  # quotes inside a sentence are not JSON
        try:
            value, length = json.JSONDecoder().raw_decode(text[start.start() :])
        except (ValueError, RecursionError):
            if not found and (first := _FIRST_KEY.match(text, start.start())):  # broken further on
                yield next(group for group in first.groups() if group is not None)
                return
            continue
        if isinstance(value, dict):
            if (answer := by_key(value)) is not None:
                yield answer
                at, found = start.start() + length, True
        elif isinstance(value, (str, list)) and not start.start() and _plain(value) and not text[length:].strip():
            yield value
            return
    if found or "{" not in text:
        return
    for key in KEYS:
        spelt = key.replace("_", "[_ ]")
        broken = re.search(rf"[\"'{{,\s]{spelt}[\"']?\s*[:=]\s*(\"[^\"\n]*|'[^'\n]*|[^,}}\n]*)", text, re.IGNORECASE)
        if broken and fold(broken[1]):
            yield broken[1].strip(" \"'")
            return


def by_key(value: dict[str, Any]) -> Any:
    """The value of the first key that stands for an answer, whatever its case and spelling."""
    folded = {re.sub(r"[\s-]+", "_", str(k).strip().lower()): v for k, v in value.items()}
    return next((folded[key] for key in KEYS if folded.get(key) is not None), None)


def only_text(value: dict[str, Any]) -> Any:
    """The text of an object that holds one beside other things: ``{"text": "salt", "time": ...}``."""
    return next((value[key] for key in ("text", "value", "content", "name") if isinstance(value.get(key), str)), None)


def _plain(value: Any) -> bool:
    return isinstance(value, str) or all(isinstance(item, (str, int)) for item in value)
