"""Small folders of shoes, as the tests of the task zappos read them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from helpers import tasks
from helpers.tasks.zappos import task as zappos
from helpers.tasks.zappos.words import COLOURS, MATERIALS

TASK = tasks.get("zappos")
assert isinstance(TASK, zappos.ZapposTask)
META = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle"
KINDS = [("Shoes", "Oxfords"), ("Boots", "Knee High"), ("Sandals", "Flat"), ("Slippers", "Boot")]


def picture(number: int) -> bytes:
    """A small picture that says its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (number % 256, number // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def load(source: Path | str, n_train: int | None = 8, n_eval: int = 10, seed: int = 0) -> Any:
    return TASK.load(n_train=n_train, n_eval=n_eval, source=str(source), seed=seed)


def everything(splits: Any) -> Iterator[dict[str, Any]]:
    return (row for part in splits.values() for row in part)


def release(root: Path, n: int = 60, meta: bool = True) -> list[str]:
    """A folder as UT-Zappos50K is unpacked; returns the lines of its metadata."""
    lines = []
    for i in range(n):
        category, sub = KINDS[i % 4]
        path = root / "ut-zap50k-images" / category / sub / f"Brand {i % 3}" / f"{100000 + i}.{i + 7}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
        material = ("Leather", "Suede;Leather", "Canvas", "Leather;Canvas", "", "Rubber", "Nylon", "Faux Leather")[
            i % 8
        ]
        lines.append(f"{100000 + i}-{i + 7},{category},{sub},,,,Men,{material},")
    if meta:
        data = root / "ut-zap50k-data"
        data.mkdir()
        (data / "meta-data.csv").write_text("\n".join([META, *lines]))
        (data / "meta-data-bin.csv").write_text("CID,Category.Shoes\n100000-7,1\n")
    return lines


def labelled(root: Path, n: int = 40) -> Path:
    """A table beside pictures in a folder of their own."""
    (root / "pics").mkdir(parents=True)
    lines = ["file_name,Label,Color,Material,brand"]
    for i in range(n):
        (root / "pics" / f"{i}.png").write_bytes(picture(i))
        lines.append(
            f"pics/{i}.png,{('Oxfords', 'Ankle_Boots')[i % 2]},{COLOURS[i % 4].upper()},{MATERIALS[i % 3]},b{i}"
        )
    (root / "shoes.csv").write_text("\n".join(lines))
    return root / "shoes.csv"
