"""Words of shoes: attributes, types, the published caption and how it is read back, materials as shops name them.

The attribute words and the caption are those of the published project; categories and subcategories are those of
UT-Zappos50K (Yu and Grauman, 2014, "Fine-grained visual comparisons with local learning").
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from helpers.errors import DataError
from helpers.hints import nearest_and_all

COLOURS = ("black", "white", "brown", "red")
MATERIALS = ("leather", "fabric", "rubber", "synthetic")
CATEGORIES = ("Shoes", "Boots", "Sandals", "Slippers")
SLOTS = ("type", "colour", "material")
UNSPECIFIED = "an unspecified"  # what the published captions say where CLIP found no word
START = "A photo of"

# Type → category and subcategory, of the ten that are drawn.
DRAWN: dict[str, tuple[str, str]] = {
    "sneakers": ("Shoes", "Sneakers and Athletic Shoes"),
    "oxfords": ("Shoes", "Oxfords"),
    "heels": ("Shoes", "Heels"),
    "ankle boots": ("Boots", "Ankle"),
    "mid-calf boots": ("Boots", "Mid-Calf"),
    "knee high boots": ("Boots", "Knee High"),
    "flat sandals": ("Sandals", "Flat"),
    "heel sandals": ("Sandals", "Heel"),
    "slipper flats": ("Slippers", "Slipper Flats"),
    "boot slippers": ("Slippers", "Boot"),
}
WORDS = {"type": tuple(DRAWN), "colour": COLOURS, "material": MATERIALS}
_SHORT = {"sneakers and athletic shoes": "sneakers", "clogs and mules": "clogs"}


def folded(text: str) -> str:
    """Lower case, one space between words, ``_`` and ``.`` as spaces."""
    return " ".join(re.sub(r"[_.]", " ", text).lower().split())


def type_of(category: str, subcategory: str) -> str:
    """The phrase of a caption: "Boots", "Knee High" → "knee high boots"; "Shoes", "Oxfords" → "oxfords".

    A subcategory that does not say what it is a kind of gets its category's name; without one, the category alone.
    """
    kind, sub = folded(category), folded(subcategory)
    if not sub:
        return kind
    sub = _SHORT.get(sub, sub)
    named = kind == "shoes" or not kind or kind in sub or kind.removesuffix("s") in sub
    return sub if named else f"{sub} {kind}"


@cache
def _published_words() -> dict[str, str]:
    """What shops call a material → the published word."""
    listed = tomllib.loads(Path(__file__).with_name("materials.toml").read_text(encoding="utf-8"))
    return {name: word for word, names in listed.items() for name in names}


def material_of(listed: str) -> str:
    """One of ``MATERIALS`` for a list such as "Leather;Suede"; "" where there is none or the parts disagree."""
    parts = [folded(part.replace("-", " ")) for part in re.split(r"[;,/|]", listed) if part.strip()]
    words = {_published_words().get(part, "") for part in parts}
    return words.pop() if len(words) == 1 else ""


def colour_of(name: str) -> str:
    """One of ``COLOURS``, "" for any other colour and for several."""
    word = folded(name)
    return word if word in COLOURS else ""


def check_attribute(name: str, word: str) -> None:
    """DataError unless ``word`` is one that the slot ``name`` knows; of types these are those that are drawn."""
    if word not in WORDS[name]:
        raise DataError(f"unknown {name} {word!r}", nearest_and_all(str(word), WORDS[name], name))


def caption(type: str, colour: str, material: str) -> str:
    """The published sentence; an empty word reads "an unspecified".

    Raises:
        DataError: a colour or material that is neither empty nor one of the published words.
    """
    for name, word in (("colour", colour), ("material", material)):
        if word:
            check_attribute(name, word)
    said = (type or UNSPECIFIED, colour or UNSPECIFIED, material or UNSPECIFIED)
    return "{} {} with {} color and {} material".format(START, *said)


def read_caption(text: str | None) -> dict[str, str | None]:
    """The words in the three slots of a caption, None for a slot that is absent or unspecified.

    Case, spacing, the final stop, "colour" for "color", a missing beginning and text after the caption do not
    matter. A slot may hold any words: what they are worth, the score says.
    """
    said = " ".join((text or "").lower().split())
    start = START.lower()
    said = re.sub(rf"^.*?\b{start}\b(\s+{start}\b)*", "", said) if start in said else said
    found: dict[str, str | None] = {
        "type": _slot(re.split(r"\bwith\b|\band [\w' -]*?material\b|[.,;:!?]", said, maxsplit=1)[0]),
        "colour": None,
        "material": None,
    }
    for name, noun in (("colour", "colou?r"), ("material", "materials?")):
        hit = re.search(rf"\b(?:with|and)\s+((?:(?!\b(?:with|and)\b)[^.;:!?])*?)\s*\b{noun}\b", said)
        found[name] = _slot(hit.group(1)) if hit else None
    return found


def _slot(words: str) -> str | None:
    plain = re.sub(r"^(an?|the)\s+", "", words.strip(" .,;:!?\"'")).strip()
    return None if not plain or plain.startswith("unspecified") else plain


def slots_of(reference: str | Mapping[str, str]) -> dict[str, str | None]:
    """The slots of a caption, or of a row that has them as columns; None where there is no truth."""
    if isinstance(reference, str):
        return read_caption(reference)
    return {name: reference[name] or None for name in SLOTS}
