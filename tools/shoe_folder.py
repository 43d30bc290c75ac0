"""Pictures of generated shoes as files, for tests and benchmarks that read a folder."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

from helpers.tasks.zappos.generator import encoded, shoes
from helpers.tasks.zappos.shoes import SIZE
from helpers.tasks.zappos.words import SLOTS

LABELS = "labels.csv"  # beside the pictures: where each lies and what it shows


def write_folder(folder: str | Path, n: int, seed: int = 0, size: int = SIZE) -> Path:
    """Write ``n`` shoes as ``<category>/<subcategory>/generated/<number>.jpg`` and ``labels.csv`` with the truth.

    One picture is in memory at a time. The folder is a source for the task.
    """
    root = Path(folder)
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
