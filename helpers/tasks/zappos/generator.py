"""Generated shoes in the columns of the task: every type, colour and material, and every combination, take turns.

Whatever part of the stream is cut out, no word in it is much more frequent than another of its slot.
"""

from __future__ import annotations

import io
import itertools
import random
from collections import Counter
from collections.abc import Iterator

from helpers.tasks.base import Row
from helpers.tasks.zappos.shoes import SIZE, Shoe, draw
from helpers.tasks.zappos.words import WORDS

COMBINATIONS = tuple(itertools.product(*WORDS.values()))
QUALITY = 92  # of the JPEG files: textures stay sharp, a picture takes about 6 kB


def shoes(seed: int) -> Iterator[tuple[Shoe, int]]:
    """Shoes without end, each with the seed of its drawing; all combinations come once before one comes again."""
    rng = random.Random(f"zappos-{seed}")
    seen: Counter[str] = Counter()
    while True:
        left = list(COMBINATIONS)
        rng.shuffle(left)
        while left:
            # What has been seen least comes next, a colour's share weighing as much as a type's.
            words = min(left, key=lambda w: seen[w[0]] + seen[w[1]] + seen[w[2]])
            left.remove(words)
            for word, among in zip(words, WORDS.values(), strict=True):
                seen[word] += len(among)
            yield Shoe(*words), rng.randrange(2**31)


def rows(seed: int) -> Iterator[Row]:
    """The shoes as rows, drawn one by one, without end."""
    return (row(shoe, drawing, f"gen-{seed}-{i}") for i, (shoe, drawing) in enumerate(shoes(seed)))


def row(shoe: Shoe, drawing: int, key: str) -> Row:
    """A shoe in the columns of the task; its picture is JPEG bytes, as in UT-Zappos50K."""
    return {
        "id": key,
        "image": {"bytes": encoded(shoe, drawing), "path": None},
        "category": shoe.category,
        "subcategory": shoe.subcategory,
        "brand": "",
        "colour": shoe.colour,
        "material": shoe.material,
        "type": shoe.type,
        "materials": shoe.material.capitalize(),
    }


def encoded(shoe: Shoe, drawing: int, size: int = SIZE) -> bytes:
    """The drawing as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    draw(shoe, drawing, size).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
