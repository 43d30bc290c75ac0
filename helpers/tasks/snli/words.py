"""The small world of the caption pairs: words, what is a kind of what, and what excludes what."""

from __future__ import annotations

import tomllib
from pathlib import Path

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
LABELS = ("entailment", "neutral", "contradiction")

_WORLD = tomllib.loads(Path(__file__).with_name("world.toml").read_text(encoding="utf-8"))
_KINDS: dict[str, list[str]] = _WORLD["kinds"]
PARENT = {word: wider for wider, words in _KINDS.items() for word in words}
PLURAL = {word: f"{word}s" for word in ("girl", "boy", "adult", "dog", "cat", "horse", "bird", "animal")}
PLURAL |= {"child": "children", "woman": "women", "man": "men", "person": "people"}
SUBJECTS = {"person": _KINDS["child"] + _KINDS["adult"] + _KINDS["person"], "animal": _KINDS["animal"]}
ACTIVITIES: dict[str, list[str]] = _WORLD["activities"]
COMPATIBLE = {frozenset(pair) for pair in _WORLD["compatible"]}
PLACES = (*_KINDS["outdoors"], *_KINDS["indoors"], "outdoors", "indoors")
COMPANY = ("with a dog", "with a cat", "with an animal", "with a friend", "alone")
COLOURS = ("red", "blue", "green", "yellow", "black", "white")
GARMENTS = ("shirt", "hat", "coat", "scarf")
COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
FACETS = ("activity", "place", "clothes", "company")


def ancestors(word: str) -> list[str]:
    """The word and everything wider, narrow to wide."""
    chain = [word]
    while chain[-1] in PARENT:
        chain.append(PARENT[chain[-1]])
    return chain


def relation(facet: str, given: str, asked: str) -> int:
    """What ``given`` (in the premise, "" for unmentioned) says about ``asked``: a label."""
    if not given:
        return NEUTRAL
    if asked in ancestors(given):
        return ENTAILMENT
    if given in ancestors(asked):
        return NEUTRAL
    if facet == "activity":
        tops = frozenset((ancestors(given)[-1], ancestors(asked)[-1]))
        same = len(tops) == 1 and given.startswith(("eating", "reading"))
        return NEUTRAL if same or tops in COMPATIBLE else CONTRADICTION
    if facet == "clothes":
        return CONTRADICTION if given.split()[-1] == asked.split()[-1] and " " in given else NEUTRAL
    if facet == "company":
        return CONTRADICTION if "alone" in (given, asked) else NEUTRAL
    return CONTRADICTION
