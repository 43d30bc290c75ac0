"""The small world of the caption pairs: words, what is a kind of what, and what excludes what."""

from __future__ import annotations

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
LABELS = ("entailment", "neutral", "contradiction")

OUTDOORS = ("in the park", "on the beach", "in the garden", "in the street", "in the forest")
INDOORS = ("in the kitchen", "in the bedroom", "in the office", "in the museum")
PARENT = {
    **dict.fromkeys(("girl", "boy"), "child"),
    **dict.fromkeys(("woman", "man"), "adult"),
    **dict.fromkeys(("child", "adult"), "person"),
    **dict.fromkeys(("dog", "cat", "horse", "bird"), "animal"),
    **dict.fromkeys(("playing tennis", "playing football", "playing basketball"), "playing a sport"),
    **dict.fromkeys(("reading a book", "reading a newspaper"), "reading"),
    **dict.fromkeys(("eating an apple", "eating a sandwich"), "eating"),
    **dict.fromkeys(("riding a bike", "riding a scooter"), "riding"),
    **dict.fromkeys(OUTDOORS, "outdoors"),
    **dict.fromkeys(INDOORS, "indoors"),
    **dict.fromkeys(("with a dog", "with a cat"), "with an animal"),
}  # fmt: skip
PLURAL = {
    "child": "children", "woman": "women", "man": "men", "person": "people",
    **{word: word + "s" for word in ("girl", "boy", "adult", "dog", "cat", "horse", "bird", "animal")},
}  # fmt: skip
SUBJECTS = {
    "person": ("girl", "boy", "woman", "man", "child", "adult"),
    "animal": ("dog", "cat", "horse", "bird"),
}
ACTIVITIES = {
    "person": (
        "playing tennis", "playing football", "playing basketball", "playing a sport", "reading a book",
        "reading a newspaper", "reading", "eating an apple", "eating a sandwich", "eating", "riding a bike",
        "riding a scooter", "riding", "sleeping", "dancing", "cooking", "singing", "sitting",
    ),
    "animal": ("running", "sleeping", "eating", "sitting", "jumping"),
}  # fmt: skip
# Activities that one can do at the same time: mention of one leaves the other open.
COMPATIBLE = {
    frozenset(pair)
    for pair in (
        ("reading", "eating"), ("reading", "sitting"), ("eating", "sitting"), ("singing", "dancing"),
        ("singing", "cooking"), ("singing", "sitting"), ("singing", "riding"), ("eating", "cooking"),
        ("riding", "sitting"), ("running", "jumping"), ("sleeping", "sitting"),
    )
}  # fmt: skip
PLACES = (*OUTDOORS, *INDOORS, "outdoors", "indoors")
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
