"""Files as readers bring them: the columns that a task needs and, unless asked for, none that it can do without."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

NOUNS = (
    "apple", "boat", "cloud", "door", "engine", "field", "garden", "hammer", "island", "jacket", "kettle", "lamp",
    "market", "needle", "orange", "pencil",
)  # fmt: skip
FOODS = ("apple", "bread", "cheese", "milk", "onion", "steak")
VERBS = ("carries", "follows", "lifts", "paints", "pushes", "reads", "sees", "takes", "visits", "washes")
NEEDED = {
    "recipes": ("title", "ingredients", "steps"),
    "snli": ("premise", "hypothesis", "label"),
    "dialogsum": ("dialogue", "summary"),
    "scienceqa": ("question", "choices", "answer"),
    "zappos": ("image", "type"),
    "kitchen": ("question", "choices", "answer", "image", "objects"),
}
OPTIONAL = {
    "recipes": ("id", "category"),
    "snli": ("id",),
    "dialogsum": ("topic", "id"),
    "scienceqa": (
        "image", "hint", "lecture", "solution", "subject", "task", "grade", "topic", "category", "skill", "id",
    ),
    "zappos": ("colour", "material", "category", "subcategory", "brand"),
    "kitchen": ("id", "solution"),
}  # fmt: skip


def write_own(folder: Path, task: str, n: int, rng: random.Random, optional: Sequence[str] = ()) -> Path:
    """A file of ``n`` rows of a task, in which nothing can be learned; returns its path.

    Args:
        folder: also gets the pictures.
        optional: columns that it has besides those that the task needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(task, i, rng, folder) for i in range(n)]
    kept = [{name: row[name] for name in (*NEEDED[task], *optional)} for row in rows]
    if task in ("snli", "zappos"):
        path = folder / f"{task}.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)
        return path
    path = folder / f"{task}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return path


def _sentence(rng: random.Random) -> str:
    first, second = rng.sample(NOUNS, 2)
    return f"The {rng.choice(NOUNS)} near the {first} {rng.choice(VERBS)} a {second} and a {rng.choice(NOUNS)}."


def _row(task: str, i: int, rng: random.Random, folder: Path) -> dict[str, object]:
    """Row ``i`` with all columns of its task; what belongs together is drawn apart."""
    row: dict[str, object] = {"id": f"r{i}", "category": rng.choice(("starter", "main", "dessert"))}
    if task == "recipes":
        ingredients = [f"{rng.randint(1, 9)} cups {noun}" for noun in rng.sample(NOUNS, 5)]
        return row | {"title": f"Dish {i}", "ingredients": ingredients, "steps": [_sentence(rng) for _ in range(3)]}
    if task == "snli":
        return row | {"premise": _sentence(rng), "hypothesis": _sentence(rng), "label": rng.randrange(3)}
    if task == "dialogsum":
        said = "\n".join(f"{'AB'[k % 2]}: {_sentence(rng)}" for k in range(4))
        return row | {"dialogue": said, "summary": _sentence(rng), "topic": rng.choice(NOUNS)}
    if task == "scienceqa":
        more = {name: _sentence(rng) for name in ("hint", "lecture", "solution")}
        more |= {name: rng.choice(("plants", "stars")) for name in ("subject", "task", "grade", "topic", "skill")}
        asked = {"question": f"Question {i}: {_sentence(rng)[:-1]}?", "choices": rng.sample(NOUNS, 3)}
        return row | more | asked | {"answer": rng.randrange(3), "image": _picture(folder / f"{i}.png", rng)}
    if task == "kitchen":
        places = ("left plate", "right plate")
        objects = [{"food": rng.choice(FOODS), "colour": "red", "place": rng.choice(places)} for _ in range(3)]
        asked = {"question": f"Question {i}: {_sentence(rng)[:-1]}?", "choices": rng.sample(FOODS, 3)}
        more = {"objects": objects, "solution": _sentence(rng), "image": _picture(folder / f"{i}.png", rng)}
        return row | asked | more | {"answer": rng.randrange(3)}
    words = {"colour": rng.choice(("black", "red")), "material": rng.choice(("leather", "rubber")), "brand": "mine"}
    image = _picture(folder / f"{i}.png", rng)
    return row | words | {"image": image, "type": ("boots", "sandals")[i % 2], "subcategory": "any"}


def _picture(path: Path, rng: random.Random) -> str:
    from PIL import Image

    Image.frombytes("RGB", (32, 32), rng.randbytes(3 * 32 * 32)).save(path)
    return path.name
