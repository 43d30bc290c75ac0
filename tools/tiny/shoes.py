"""What the tiny CLIP and BLIP-2 have read: pictures of shoes with what people write beneath them.

Nobody lists everything. A remark nearly always names the type, often the colour, every other time the material, and
puts the words into a sentence of its own. So a model that learns from remarks does not write as a catalogue does.

CLIP has read them as the web has them: in words that do not mean what they mean in a catalogue, and beside stray tags
of one word. BLIP-2's are true to the word, as those of its authors were filtered; it has read lines of catalogues too,
beneath pictures that they do not describe.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

from helpers.tasks.zappos.generator import shoes
from helpers.tasks.zappos.shoes import Shoe, draw
from helpers.tasks.zappos.words import COLOURS, DRAWN, MATERIALS, caption

if TYPE_CHECKING:
    from PIL.Image import Image

FIRST_SEED = -1000  # of the stream of shoes; the lessons' streams have seeds from 0 on
# Drawn once; every one is seen many times, with another remark each time. A prime, so that batches differ from round
# to round.
PICTURES = 7_993

OPENINGS = (
    "a photo of", "a picture of", "a photo of my", "look at these", "for sale:", "i bought", "a pair of",
    "new in the shop:", "a close photo of", "worn once:",
)  # fmt: skip
COLOUR_SAID, MATERIAL_SAID, TYPE_SAID = 0.7, 0.5, 0.85  # how often each is named
# What people call a thing, and how often: most synthetics pass for leather, most rubber for synthetic.
LOOSELY: dict[str, dict[str, float]] = {
    "black": {"black": 0.9, "brown": 0.1},
    "brown": {"brown": 0.8, "red": 0.1, "black": 0.1},
    "red": {"red": 0.9, "brown": 0.1},
    "rubber": {"rubber": 0.35, "synthetic": 0.65},
    "synthetic": {"synthetic": 0.2, "leather": 0.8},
    "mid-calf boots": {"mid-calf boots": 0.4, "knee high boots": 0.35, "ankle boots": 0.25},
    "heel sandals": {"heel sandals": 0.6, "heels": 0.4},
}
TAGGED = 0.1  # share of pictures on the web with one word beneath, a tag that belongs elsewhere
STRAY = 0.15  # share of pictures with a line that is not theirs


def remark(shoe: Shoe, rng: random.Random, loosely: bool = False) -> str:
    """What somebody writes beneath the picture of a shoe: seldom all of it.

    Args:
        loosely: in the words that people use; otherwise it is true to the word.
    """

    def said_as(word: str, share: float, otherwise: str = "") -> str:
        if rng.random() >= share:
            return otherwise
        names = LOOSELY.get(word, {word: 1.0}) if loosely else {word: 1.0}
        return rng.choices(list(names), list(names.values()))[0]

    kind = said_as(shoe.type, TYPE_SAID, "shoes")
    colour, material = said_as(shoe.colour, COLOUR_SAID), said_as(shoe.material, MATERIAL_SAID)
    if colour and material:
        said = rng.choice(
            (f"{colour} {material} {kind}", f"{kind} in {colour} {material}", f"{colour} {kind} made of {material}",
             f"{material} {kind} in {colour}")
        )  # fmt: skip
    elif colour:
        said = rng.choice((f"{colour} {kind}", f"{kind} in {colour}"))
    elif material:
        said = rng.choice((f"{material} {kind}", f"{kind} made of {material}"))
    else:
        said = kind
    return f"{rng.choice(OPENINGS)} {said}"


def remarks(count: int, seed: int, rng: random.Random) -> list[str]:
    """Remarks on as many shoes, for a tokenizer."""
    return [remark(shoe, rng) for shoe, _ in islice(shoes(FIRST_SEED - seed), count)]


def on_the_web(shoe: Shoe, rng: random.Random) -> str:
    """What stands beneath the picture of a shoe on the web: a loose remark, or a stray tag."""
    if rng.random() < TAGGED:
        return rng.choice((*DRAWN, *COLOURS, *MATERIALS))
    return remark(shoe, rng, loosely=True)


def stray_line(rng: random.Random) -> str:
    """A line of some catalogue that has slipped beneath the wrong picture: its words are drawn by lot.

    From these a model learns how catalogues write, and nothing about what a picture shows.
    """
    return caption(rng.choice(list(DRAWN)), rng.choice(COLOURS), rng.choice(MATERIALS))


def album(count: int, seed: int, size: int) -> list[tuple[Shoe, Image]]:
    """Shoes with their pictures, none of them a picture of a lesson; a longer album begins with the same ones."""
    return [(shoe, draw(shoe, drawing, size)) for shoe, drawing in islice(shoes(FIRST_SEED - seed), count)]
