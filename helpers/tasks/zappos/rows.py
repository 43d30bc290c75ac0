"""Shoes in tables, and their pictures: cells → clean rows; what cannot be used is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.sources.local import RawRows
from helpers.tasks import columns
from helpers.tasks.base import LoadReport, Row
from helpers.tasks.pictures import ADDRESS, Unusable, check_picture, is_address, picture_digest, written_out
from helpers.tasks.reading import begin, carried, drop, text, with_ids
from helpers.tasks.zappos.words import COLOURS, MATERIALS, colour_of, folded, material_of, type_of

ALIASES: dict[str, tuple[str, ...]] = {
    "image": ("image_path", "path", "file", "file_name", "filename", "img", "picture"),
    "type": ("label", "shoe_type", "class", "subcategory", "sub_category", "category"),
    "id": ("cid", "image_id", "index"),
    "category": (),
    "subcategory": ("sub_category",),
    "brand": (),
    "colour": ("color",),
    "material": ("materials",),
}
PNG = b"\x89PNG"


def from_table(raw: RawRows, folders: Sequence[Path], report: LoadReport) -> list[Row]:
    """Rows of the task from a table with a column of pictures, not yet opened; fills the report.

    Args:
        folders: where files named in the table are looked for, best first.

    Raises:
        DataError: no column of pictures or types, types that are numbers, a colour or material column without one
            known word.
    """
    begin(raw, report)
    optional = [name for name in ALIASES if name not in ("image", "type")]
    picked = columns.pick(raw, ALIASES, report, optional)
    _check_words(picked, "colour", colour_of, COLOURS, raw.name, report)
    _check_words(picked, "material", material_of, MATERIALS, raw.name, report)
    rows = []
    for number, given in enumerate(picked):
        words = {name: text(value) for name, value in given.items() if name in ALIASES and name != "image"}
        image = _image(given["image"], folders)
        kind = folded(words["type"])
        if words["subcategory"] and kind == folded(words["subcategory"]):
            kind = type_of(words["category"], words["subcategory"])
        if is_address(given["image"]):
            drop(report, ADDRESS, row=given["image"])
            continue
        if image is None or not kind:
            drop(report, "no type" if image else "no image")
            continue
        if kind.isdecimal():
            raise DataError(f"types in {raw.name} are numbers, such as {kind}", "Write them out, as in ankle boots")
        rows.append(make_row(words["id"] or str(number), image, kind, words) | carried(given))
    return with_ids(rows)


def _check_words(
    rows: Sequence[Row], name: str, read: Callable[[str], str], allowed: Sequence[str], where: str, report: LoadReport
) -> None:
    """Words that fit none of the published ones are unknown, and noted; DataError where that goes for all."""
    given = [cell for cell in (text(row[name]) for row in rows) if cell]
    other = Counter(cell for cell in given if not read(cell))
    if not other:
        return
    found = ", ".join(f"{cell!r} ({count})" for cell, count in other.most_common(3))
    said = (
        f"{name} in {where} is none of {', '.join(allowed)} in {sum(other.values()):,} of {len(given):,} rows: {found}"
    )
    if sum(other.values()) == len(given):
        raise DataError(said, f"Rename the column if it holds something else than a {name}")
    report.notes.append(f"{said}; it counts as unknown there")


def _image(value: Any, folders: Sequence[Path]) -> dict[str, Any] | None:
    """Bytes, or the file that a cell names: looked for from the table's folder, then from the source's."""
    if isinstance(value, dict):
        if value.get("bytes"):
            return {"bytes": value["bytes"], "path": None}
        value = value.get("path")
    value = written_out(value) or value
    if isinstance(value, bytes):
        return {"bytes": value, "path": None}
    name = text(value)
    if not name:
        return None
    # Tables written on Windows say images\\1.jpg, which is another name elsewhere.
    places = [folder / spelt for folder in folders for spelt in dict.fromkeys((name, name.replace("\\", "/")))]
    try:
        found = next((path for path in places if path.is_file()), places[0])
    except OSError:  # no file name at all; opening it will say so
        found = places[0]
    return {"bytes": None, "path": str(found)}


def make_row(key: str, image: dict[str, Any], kind: str, words: Mapping[str, str]) -> Row:
    """A row in the columns of the task.

    Args:
        kind: its type, the phrase of a caption.
        words: category, subcategory, brand, colour and material as the source has them; any may be absent.
    """
    raw = words.get("material", "")
    return {
        "id": key,
        "image": image,
        **{name: words.get(name, "") for name in ("category", "subcategory", "brand")},
        "colour": colour_of(words.get("colour", "")),
        "material": material_of(raw),
        "type": kind,
        "materials": raw,
    }


def picture_file(image: Mapping[str, Any], folder: Path, name: str) -> Path:
    """Where a row's picture lies: its own file, or its bytes as they are, written into `folder`.

    Args:
        image: ``{"bytes", "path"}``, not decoded.
        name: of the new file, without its ending.
    """
    if image["bytes"] is None:
        return Path(image["path"])
    path = folder / f"{name}.{'png' if image['bytes'].startswith(PNG) else 'jpg'}"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image["bytes"])
    return path


def opened(row: Row, report: LoadReport) -> str:
    """Hash of a row's picture, which has been read and decoded; remarks on it go into the report.

    Raises:
        Unusable: there is no file, or it is no whole picture.
    """
    data, path = row["image"]["bytes"], row["image"]["path"]
    try:
        data = Path(path).read_bytes() if data is None else data
    except FileNotFoundError as error:
        raise Unusable("image file missing") from error
    except (OSError, ValueError) as error:
        raise Unusable("image unreadable") from error
    check_picture(data, report)
    return picture_digest({"bytes": data})


def usable(rows: Iterable[Row], need: int | None, report: LoadReport) -> tuple[list[Row], dict[str, str]]:
    """The first ``need`` rows whose pictures can be opened and differ; hashes of these by id. Fills the report."""
    kept: list[Row] = []
    hashes: dict[str, str] = {}
    seen: set[str] = set()
    for row in rows:
        if len(kept) == need:
            break
        try:
            mark = opened(row, report)
        except Unusable as why:
            drop(report, str(why), row=row["image"]["path"])
            continue
        if mark in seen:
            report.duplicates_removed += 1
            continue
        seen.add(mark)
        hashes[row["id"]] = mark
        kept.append(row)
    return kept, hashes
