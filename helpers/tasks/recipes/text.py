"""Recipe text: wiki leftovers, the name of an ingredient without its amount, the kind of course."""

from __future__ import annotations

import html
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_LISTS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
_COURSE_OF = {word: course for course, words in _LISTS.pop("courses").items() for word in words.split()}
WORDS = {name: frozenset(words.split()) for name, words in _LISTS.items()}

_REFERENCE = re.compile(r"<ref[^>]*/>|<ref[^>]*>.*?</ref>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{1,80}>")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_TABLE = re.compile(r"^\s*(\{\||\|\}|\|-|!|\|)")
_FILE = re.compile(r"\[\[(?:File|Image):[^\[\]]*\]\]", re.IGNORECASE)
_LINK = re.compile(r"\[\[(?:[^|\[\]]*\|)?([^|\[\]]*)\]\]")
_WEB = re.compile(r"\[https?://\S+\s*([^\[\]]*)\]")
_THUMB = re.compile(r"^(?:thumb|right|left|frame|\d+px)\|(?:[^|.]*\|)*|^thumb(?=[A-Z])")


def clean_wiki(text: str) -> str:
    """One line of plain text: no tags, references, templates, links, bullets, entities."""
    text = html.unescape(_REFERENCE.sub("", text))
    text = _FILE.sub("", _TEMPLATE.sub("", _REFERENCE.sub("", text)))
    text = re.sub(r"\{\{.*$", "", _WEB.sub(r"\1", text), flags=re.DOTALL)
    text = _TAG.sub("", _LINK.sub(r"\1", text)).replace("'''", "").replace("''", "")
    if _TABLE.match(text):
        return ""
    text = _THUMB.sub("", text.strip())
    text = re.sub(r"(?<=\s)#(?=\w)", "", re.sub(r"^[#*:;]+\s*", "", text))
    return " ".join(text.split())


def wiki_lines(text: str) -> list[str]:
    """The list items inside one item: "Thicken: #* with flour #* or starch" holds three."""
    return [line for line in map(clean_wiki, re.split(r"\n|(?:^|(?<=\s))[#*]{1,3}(?=[*\s])", text)) if line]


_NUMBER = re.compile(r"^[\d.,/⁄½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚×x%°~+\-–—]+(?:[a-z]{1,3}\.?)?$")
_IES = {"chilies": "chili", "chillies": "chili", "cookies": "cookie", "brownies": "brownie", "veggies": "veggie"}


def singular(word: str) -> str:
    """A rough singular: potatoes → potato, berries → berry, leaves → leaf, cups → cup; molasses stays."""
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or word in ("molasses", "oats", "brussels", "series"):
        return word
    if word in _IES:
        return _IES[word]
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("leaves", "loaves", "halves", "calves")):
        return word[:-3] + "f"
    if word.endswith(("oes", "ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") else word


@lru_cache(maxsize=100_000)
def ingredient_name(line: str) -> str:
    """The bare name: ``"2 cups (240 g) finely chopped red onions, peeled"`` → ``"red onion"``.

    Lower case, no amounts, units, notes or preparation, first of several alternatives ("butter or oil" →
    "butter"). Empty when nothing is left. Rules, not a parser: rare forms come out odd but equal for all.
    """
    text = unicodedata.normalize("NFKC", html.unescape(line)).lower().replace("’", "'").replace("⁄", "/")
    text = re.sub(r"\([^()]*\)?|\[[^\[\]]*\]?", " ", text)
    text = re.sub(r"\bhalf (?:and|&) half\b", "half-and-half", text)
    text = re.sub(r"(\d)([a-z])", r"\1 \2", re.sub(r"[*#\"“”®™]", " ", text))
    parts = re.split(r"[,;:]|\s[-–—]\s|\s+for\s+|\s+to\s+taste|\s+as\s+needed", text)
    return next(filter(None, map(_bare, parts)), "")


_BREAK = re.compile(
    r"\s+(?:or|and|and/or|plus|such as|like|with|without|w/|in|from|cut|at|on|into|to|if|per|as|but|not)\s+"
)


def _bare(part: str) -> str:
    """The name in one comma-free piece: that of its first alternative that has one ("1 or 2 onions")."""
    pair = re.match(r"^(?:.*\s)?([a-z]+) or [a-z]+ (oil|stock|broth|vinegar|flour|sugar|milk|wine|cheese)\b", part)
    if pair and pair[1] not in WORDS["filler"] | WORDS["stand_alone"]:
        part = f"{pair[1]} {pair[2]}"  # "vegetable or peanut oil" is vegetable oil, not a vegetable
    return next(filter(None, map(_stripped, _BREAK.split(part))), "")


def _stripped(part: str) -> str:
    words = [word.strip(".'!?&~") for word in part.split()]
    words = [word for word in words if word and not _NUMBER.match(word) and word not in WORDS["number_words"]]
    while words and (singular(words[0]) in WORDS["units"] or words[0] in WORDS["filler"] or _adverb(words)):
        if words[0] == "ground" and len(words) > 1 and singular(words[1]) in WORDS["ground"]:
            break
        if words in (["clove"], ["cloves"]):  # alone it is the spice
            break
        words = words[1:]
    words = [word for word in words if word not in WORDS["afterwards"] or len(words) == 1]
    if not words:
        return ""
    words[-1] = singular(words[-1])
    return " ".join(words).strip(" -–—/.")


def _adverb(words: list[str]) -> bool:
    """Whether how it is prepared comes first ("finely chopped"); a lone "jelly" is a thing."""
    return len(words) > 1 and (words[0].endswith("ly") or "ly-" in words[0])


def name_words(name: str) -> frozenset[str]:
    """Content words of a name or title in singular, for comparing names."""
    return frozenset(singular(w) for w in re.findall(r"[^\W\d_]+", name.lower()) if len(w) > 2)


def guess_course(title: str, category: str = "", ingredients: Iterable[str] = ()) -> str:
    """Kind of course, as in ``words.toml``, or "vegetable".

    From the category if it names one, else from the title's last telling word ("tomato soup" is a soup, "chicken
    salad" a salad), else from meat, fish, sugar or flour inside.
    """
    for text in (category, re.sub(r"\(.*?\)", " ", title), title):
        found = [_COURSE_OF[w] for w in map(singular, re.findall(r"[a-z]+", text.lower())) if w in _COURSE_OF]
        if found:
            return found[-1]
    words = {word for line in ingredients for word in name_words(ingredient_name(line))}
    for course in ("fish", "meat"):
        if any(_COURSE_OF.get(word) == course for word in words):
            return course
    if "sugar" in words and words & {"flour", "egg", "milk", "butter", "cream"}:
        return "sweet"
    return "bread" if "flour" in words else "vegetable"
