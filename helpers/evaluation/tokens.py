"""Into what a text is cut before words are counted: by the script of the references, the same for a whole set.

rouge-score's own tokens are runs of a-z and 0-9, so that a Russian text has none and "größe" is "gr" and "e". They
stay for English, where results are compared with published ones; other languages get words of any letters, or
single characters where a script has no spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

# Thai, Lao, Tibetan, Burmese, Khmer; kana; Chinese characters.
_NO_SPACES = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_NO_SPACES += "\U00020000-\U0003ffff"
_KANA = re.compile("[\u3040-\u30ff]")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_COMMON = "the and with that this from are you it until then into which they"
_ENGLISH = frozenset(_COMMON.split())
ENGLISH_SHARE = 0.04  # of the words; English has about 0.12, languages that use some of these words below 0.02
CUT_SHARE = 0.25  # of the words; English texts with foreign names have less
NO_SPACES_SHARE = 0.25  # of the letters


@dataclass(frozen=True)
class Tokens:
    """How the texts of one set are cut.

    Attributes:
        kind: "a-z", "words" or "characters".
        bleu: sacrebleu's tokenizer.
        note: what is not the usual way, "" for nothing.
    """

    kind: str
    bleu: str = "13a"
    note: str = ""

    def tokenize(self, text: str) -> list[str]:
        """Lower-case tokens of letters and digits, as ROUGE counts them; rouge-score calls this."""
        return _patterns()[self.kind, False].findall(unicodedata.normalize("NFC", text).lower())

    def with_marks(self, text: str) -> list[str]:
        """Words and punctuation marks, as METEOR compares them."""
        return _patterns()[self.kind, True].findall(text)


def choose(references: Iterable[str]) -> Tokens:
    """The tokens for scoring against these references."""
    texts = list(references)
    everything = "\n".join(texts)
    letters = sum(map(str.isalpha, everything))
    if len(re.findall(f"[{_NO_SPACES}]", everything)) >= NO_SPACES_SHARE * max(letters, 1):
        chinese = _CHINESE.search(everything) and not _KANA.search(everything)
        return Tokens("characters", "zh" if chinese else "char", "characters, since the script has no spaces")
    words = re.findall(r"[^\W\d_]+", everything.lower())
    foreign = sum(not word.isascii() for word in words)
    if foreign and sum(word in _ENGLISH for word in words) < ENGLISH_SHARE * len(words):
        return Tokens("words", note="Unicode words")
    without = sum(any(map(str.isalpha, text)) and not re.search("[a-z0-9]", text.lower()) for text in texts)
    note = f"words of a-z and 0-9, of which {without} of {len(texts)} references have none" if without else ""
    return Tokens("a-z", note=note)


def cut_words(tokens: Tokens, predictions: Iterable[str]) -> str:
    """A note where tokens of a-z take many words of the answers apart ("größe" becomes "gr" and "e"); "" else."""
    words = [word for text in predictions for word in re.findall(r"[^\W\d_]+", text)] if tokens.kind == "a-z" else []
    cut = sum(not word.isascii() for word in words)
    if cut <= CUT_SHARE * len(words):
        return ""
    return f"words of a-z and 0-9, which take {cut:,} of {len(words):,} words of the answers apart"


@lru_cache(maxsize=1)
def _patterns() -> dict[tuple[str, bool], re.Pattern[str]]:
    """(kind, with punctuation marks?) → pattern. Combining signs belong to their letter, as in Hindi and Thai."""
    signs = "".join(
        re.escape(chr(c)) for c in range(0x300, 0xFE30) if unicodedata.category(chr(c)) in ("Mn", "Mc")
    )  # fmt: skip
    letters = rf"(?:[^\W_]|[{signs}])"
    single = rf"[{_NO_SPACES}][{signs}]*|(?:(?![{_NO_SPACES}])[^\W_])+"
    marks = rf"|[^\w\s{signs}]+"
    return {
        ("a-z", False): re.compile(r"[a-z0-9]+"),
        ("a-z", True): re.compile(r"\w+|[^\w\s]+"),
        ("words", False): re.compile(rf"{letters}+"),
        ("words", True): re.compile(rf"(?:\w|[{signs}])+{marks}"),
        ("characters", False): re.compile(single),
        ("characters", True): re.compile(single + marks),
    }
