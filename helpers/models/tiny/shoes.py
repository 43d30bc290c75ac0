"""What the tiny CLIP and BLIP-2 have read: pictures of shoes with what people write beneath them.

Nobody lists everything. A remark nearly always names the type, often the colour, now and then the material, and puts
the words into a sentence of its own. So a model that learns from remarks knows colours better than materials, has
never read a bare word, and does not write as a catalogue does. (BLIP-2 has read catalogues too, beneath pictures that
they do not describe.)
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

from helpers.tasks.zappos_generator import shoes
from helpers.tasks.zappos_shoes import Shoe, draw
from helpers.tasks.zappos_words import COLOURS, DRAWN, MATERIALS, caption

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
STRAY = 0.15  # share of pictures with a line that is not theirs


def remark(shoe: Shoe, rng: random.Random) -> str:
    """What somebody writes beneath the picture of a shoe: true, and seldom all of it."""
    kind = shoe.type if rng.random() < TYPE_SAID else "shoes"
    colour = shoe.colour if rng.random() < COLOUR_SAID else ""
    material = shoe.material if rng.random() < MATERIAL_SAID else ""
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


def stray_line(rng: random.Random) -> str:
    """A line of some catalogue that has slipped beneath the wrong picture: its words are drawn by lot.

    From these a model learns how catalogues write, and nothing about what a picture shows.
    """
    return caption(rng.choice(list(DRAWN)), rng.choice(COLOURS), rng.choice(MATERIALS))


def album(count: int, seed: int, size: int) -> list[tuple[Shoe, Image]]:
    """Shoes with their pictures, none of them a picture of a lesson; a longer album begins with the same ones."""
    return [(shoe, draw(shoe, drawing, size)) for shoe, drawing in islice(shoes(FIRST_SEED - seed), count)]
