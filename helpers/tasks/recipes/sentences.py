"""Steps in running text → one step a sentence, in any script; abbreviations, numbers and decimals do not end one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

_LISTS = tomllib.loads(Path(__file__).with_name("abbreviations.toml").read_text(encoding="utf-8"))
NEVER, BEFORE_NUMBER, MEASURES, TIMES, CONTINUES = (
    frozenset(_LISTS[name].split()) for name in ("never", "before_number", "measures", "times", "continues")
)
_LEAST_WIDTH = 40  # shorter lines are lines of their own
_CLOSING = "\"'”’»›)\\]」』）"
# A full stop, or its like in scripts that put no space after it; "minutes.Add" lost its space on the way.
_END = re.compile(
    rf"(?:[.!?…؟۔]+(?:[{_CLOSING}]|\s»)*(?=\s|$)|[。！？｡।॥։።။]+[{_CLOSING}]*(?=\s|\S)|(?<=[^\W\d_]{{3}})\.(?=[^\W\d_a-z][^\W\d_A-Z]))"
)
_STEP = r"(?:step|schritt|étape|etape|paso|passo|passaggio|stap|steg|krok|шаг|步骤|手順|ステップ)"
_INLINE = re.compile(
    rf"(?:(?<=\s)|^)(?:{_STEP}\s*(\d{{1,2}})\s*[:.)\-–—]?|\(?(\d{{1,2}})[.)])\s+|（(\d{{1,2}})）\s*", re.IGNORECASE
)


def split_steps(text: str) -> list[str]:
    """One line of steps: by their numbers where it counts them ("1. Heat. 2. Bake."), else by sentences."""
    marks, want = [], 1
    for mark in _INLINE.finditer(text):
        before = text[: mark.start()].rstrip()
        sure = mark[1] or mark[3] or ")" in mark[0] or text[mark.end() :][:1].isupper()
        fits = int(mark[1] or mark[2] or mark[3]) == want and (not before or sure or before[-1] in ".!?:;,)…。")
        if fits and (want > 1 or not before):
            marks.append(mark)
            want += 1
    if len(marks) > 1:
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        return [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
    return sentences(text)


def unwrapped(lines: Sequence[str], begins: Callable[[str], bool]) -> list[str] | None:
    """Lines that were broken at a width put together again, one for each paragraph; None where none was.

    A line that is as full as the width allows, and is followed by a small letter before its sentence ends, was
    broken. In a text with such lines only a blank line, a line with room left or one that ``begins`` ends a paragraph.
    Where paragraphs have bullets or numbers, what is indented or begins small belongs to the one before.

    Args:
        begins: whether a line begins a paragraph by itself, with a bullet or a number.
    """
    width = max((len(line.rstrip()) for line in lines), default=0)
    first = next((line.strip() for line in lines if line.strip()), "")
    counted = bool(first) and begins(first)
    if not counted and (width < _LEAST_WIDTH or first[:1].islower()):  # text that begins small shows no break
        return None
    paragraphs: list[str] = []
    broken, before = False, ""
    for line in lines:
        words = line.split()
        if not words:
            before = ""
            continue
        ended = before.rstrip().endswith((*".!?:;…。！？", *_CLOSING.replace("\\", "")))
        small, own = words[0][0].islower(), begins(line.strip())
        full = width >= _LEAST_WIDTH and len(before.rstrip()) + 1 + len(words[0]) > width
        inside = counted and (small or line[0] in " \t") and not words[-1].endswith(":")
        if before and not own and (full or inside):
            paragraphs[-1] += " " + " ".join(words)
            broken = broken or inside or (small and not ended)
        elif small and before and not own and not ended:
            return None  # small letters begin lines that nothing forced to break
        else:
            paragraphs.append(" ".join(words))
        before = line
    return paragraphs if broken else None


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its full stop.

    In text that begins sentences with capitals a small letter goes on with the sentence; in text without them it
    begins one.
    """
    ends = [match.end() for match in _END.finditer(text)]
    starts = [text[end:].lstrip(" \t\r\n\"'“„«»‘(")[:1] for end in ends]
    small = sum(letter.islower() for letter in starts) * 2 > sum(bool(letter) for letter in starts)
    parts, begin = [], 0
    for end, letter in zip(ends, starts, strict=True):
        if (letter.islower() and not small) or not _is_end(text, end, letter, small):
            continue
        parts.append(text[begin:end].strip())
        begin = end
    return [part for part in (*parts, text[begin:].strip()) if part]


def _is_end(text: str, end: int, following: str, small: bool) -> bool:
    """Whether the full stop before ``end`` ends a sentence, by the word before it and the one after."""
    before, after = text[:end].rstrip(), text[end:].split(maxsplit=1)
    if not before.endswith("."):
        return True
    words = before[:-1].split()
    word = words[-1].lower().lstrip("(\"'“„«") if words else ""
    ahead = words[-2].lower() if len(words) > 1 else ""
    next_word = after[0].lower().strip(".,;:") if after else ""
    if not word or not next_word:
        return True
    if word.isdecimal():  # "1." in front of a step; "to 180." at its end
        return bool(ahead) and not (len(word) <= 2 and before[: -len(word) - 1].rstrip()[-1:] in ".!?")
    if re.fullmatch(r"(?:[a-zäöü]\.)+[a-zäöü]", word) or word in NEVER:  # e.g. z.B. approx.
        return False
    if word in BEFORE_NUMBER:
        return not next_word[0].isdigit()
    if word in ("deg", "°"):
        return next_word not in ("f", "c", "fahrenheit", "celsius") and following.isupper()
    counted = bool(re.search(r"\d$|[½¼¾⅓⅔⅛]$|°$|deg\.?$|^(?:an?|one|two|few|half)$", ahead))
    if len(word) == 1 and word.isalpha():
        if word in "fc" and re.search(r"\d{3}°?$|°$|deg\.?$", ahead):  # 350 F.
            return next_word not in CONTINUES
        if word in "fc" or not re.fullmatch(r"(?:\w\.)", ahead):
            return not counted and following.isupper() and words[-1].isupper()
        return False  # z. B.
    glued = re.fullmatch(r"[\d.,/½¼¾⅓⅔⅛]+([^\W\d_]+)", word)
    counted, word = (True, glued[1]) if glued else (counted, word)
    if counted and word in TIMES:
        return next_word not in CONTINUES
    if word in MEASURES and (counted or word not in ("in", "can", "cans")):
        return not small and following.isupper() and next_word not in CONTINUES
    return True
