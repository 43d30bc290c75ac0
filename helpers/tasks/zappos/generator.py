"""Generated shoes in the columns of the task: every type, colour and material, and every combination, take turns.

Whatever part of the stream is cut out, no word in it is much more frequent than another of its slot.
"""

from __future__ import annotations

import csv
import io
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from helpers.errors import DataError
from helpers.tasks.base import Row
from helpers.tasks.zappos.shoes import SIZE, Shoe, draw
from helpers.tasks.zappos.words import COLOURS, DRAWN, MATERIALS, SLOTS

COMBINATIONS = tuple(itertools.product(DRAWN, COLOURS, MATERIALS))
QUALITY = 92  # of the JPEG files: textures stay sharp, a picture takes about 6 kB
LABELS = "labels.csv"  # beside written pictures: where each lies and what it shows


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
            for word, among in zip(words, (DRAWN, COLOURS, MATERIALS), strict=True):
                seen[word] += len(among)
            yield Shoe(*words), rng.randrange(2**31)


def rows(seed: int, size: int = SIZE) -> Iterator[Row]:
    """The shoes as rows, drawn one by one, without end."""
    return (row(shoe, drawing, f"gen-{seed}-{i}", size) for i, (shoe, drawing) in enumerate(shoes(seed)))


def row(shoe: Shoe, drawing: int, key: str, size: int = SIZE) -> Row:
    """A shoe in the columns of the task; its picture is JPEG bytes, as in UT-Zappos50K."""
    return {
        "id": key,
        "image": {"bytes": encoded(shoe, drawing, size), "path": None},
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


def write_folder(folder: str | Path, n: int, seed: int = 0, size: int = SIZE) -> Path:
    """Write ``n`` shoes as ``<category>/<subcategory>/generated/<number>.jpg`` and ``labels.csv`` with the truth.

    One picture is in memory at a time. The folder is a source for the task.

    Raises:
        DataError: the folder has a ``labels.csv`` already.
    """
    root = Path(folder).expanduser()
    if (root / LABELS).exists():
        raise DataError(f"{root} has a {LABELS} already", "Give an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    with (root / LABELS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "category", "subcategory", *SLOTS])
        for i, (shoe, drawing) in enumerate(itertools.islice(shoes(seed), n)):
            place = Path(shoe.category, shoe.subcategory, "generated", f"{i}.jpg")
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_bytes(encoded(shoe, drawing, size))
            words = (getattr(shoe, name) for name in SLOTS)
            table.writerow([f"gen-{seed}-{i}", place.as_posix(), shoe.category, shoe.subcategory, *words])
    return root
