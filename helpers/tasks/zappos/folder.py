"""Shoes in folders and tables → rows that name their picture; pictures are opened one by one, when they are needed.

Read are the folder of UT-Zappos50K (``<category>/<subcategory>/<brand>/<CID>.jpg`` and ``meta-data.csv``), a mirror of
it on Kaggle, a table with a column of pictures, and a folder in which each kind of shoe has a folder of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers.errors import DataError
from helpers.sources import kaggle, reader
from helpers.sources.files.kinds import READERS
from helpers.sources.local import RawRows, read_local
from helpers.sources.source import Source
from helpers.sources.splits import SPLIT, has_splits, split_of
from helpers.tasks.base import LoadReport, Row
from helpers.tasks.reading import text, with_ids
from helpers.tasks.zappos.rows import from_table, make_row
from helpers.tasks.zappos.words import CATEGORIES, folded, material_of, type_of

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
METADATA = "meta-data.csv"  # of UT-Zappos50K; its CID "100627-72" is the file 100627.72.jpg
META_ALIASES = {"cid": ("id",), "material": ("materials",), "category": ()}
LICENCE = "UT-Zappos50K: for research, see its page (Yu and Grauman, 2014)"


def find(source: str, limit: int, seed: int, report: LoadReport, built_in: Sequence[str] = ()) -> list[Row]:
    """Rows of the task with ``image`` = ``{"bytes", "path"}``, not yet opened; fills the report.

    Args:
        limit: most rows of a file or Hub data set that brings its pictures along, which take memory. Rows that only
            name their picture are all returned.

    Raises:
        DataError: nothing there, no pictures, no labels, a column missing, or words that fit no attribute.
    """
    if kaggle.is_source(source):
        located = kaggle.locate(source)
        rows = find(Source.of(source).at(str(located.path)), limit, seed, report, built_in)
        report.notes.append(located.note)
        return rows
    path = Path(source).expanduser().absolute()  # rows name files, wherever they are read later
    if path.is_dir():
        return _folder(path, Source.of(source), report)
    if reader.kind_of(source) == "local" and path.suffix.lower() not in (".parquet", ""):
        limit = 10**9
    return from_table(reader.read(source, limit, seed, built_in), [path.parent], report)


def _folder(root: Path, source: Source, report: LoadReport) -> list[Row]:
    """A table in the folder says most, UT-Zappos50K's own tree comes next, names of folders last."""
    files = [path for path in _walk(root) if path.suffix.lower() in READERS.keys() - {".json", ".txt"}]
    tables = [path for path in files if not path.name.startswith("meta-data")]
    top = [path for path in tables if len(path.parts) == min(len(p.parts) for p in tables)]
    splits = {split_of(path.stem): path for path in top}
    if len(splits) == len(top) > 1 and "" not in splits and has_splits(splits):
        raw = RawRows(str(root))
        for split, path in splits.items():
            raw.add(reader.read(source.at(str(path)), 10**9, 0), split)
        if source.splits == "random":
            raw.splits = []
        return from_table(raw, [top[0].parent, root], report)
    if len(top) > 1:
        raise DataError(
            f"{root} has several tables: {', '.join(str(path.relative_to(root)) for path in top[:5])}",
            "Name the one to read as the source",
        )
    if top:
        return from_table(reader.read(source.at(str(top[0])), 10**9, 0), [top[0].parent, root], report)
    official = source.splits != "random"
    trees = _trees(root)
    parts = {split_of(tree.name): tree for tree in trees}
    if trees and not (len(parts) == len(trees) and has_splits(parts)):
        return _tree(root, trees, report)
    return _labelled(root, official, report)


def _walk(root: Path) -> Iterator[Path]:
    """All files below, in the order of their names; hidden ones are left out."""
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX")))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _pictures(root: Path) -> list[Path]:
    return [path for path in _walk(root) if path.suffix.lower() in PICTURES]


def _is_category(path: Path) -> bool:
    return path.name.title() in CATEGORIES and path.is_dir()


def _published(folders: Sequence[Path]) -> bool:
    """Whether these are the categories, and not kinds of shoes of which one is called "boots"."""
    kinds = [folder for folder in folders if _is_category(folder)]
    return bool(kinds) and (len(kinds) == len(folders) or any(c.is_dir() for kind in kinds for c in kind.iterdir()))


def _trees(root: Path) -> list[Path]:
    """Folders, at most two levels down, that hold folders named as the categories."""
    if _is_category(root):
        return [root.parent]
    level = [root]
    for _ in range(3):
        inner = [sorted(child for child in folder.iterdir() if child.is_dir()) for folder in level]
        found = [folder for folder, children in zip(level, inner, strict=True) if _published(children)]
        if found:
            return found
        level = [child for children in inner for child in children]
    return []


def _tree(root: Path, trees: Sequence[Path], report: LoadReport) -> list[Row]:
    base = trees[0]
    if len(trees) > 1:
        report.notes.append(f"read {base.name}; left out {', '.join(path.name for path in trees[1:])}, which repeat it")
    files = _pictures(root if _is_category(root) else base)
    rows = []
    for path in files:
        category, *inner = path.relative_to(base).parts[:-1] or [""]
        if category.title() not in CATEGORIES:
            continue
        subcategory, *brand = inner or [""]
        words = {"category": category.title(), "subcategory": subcategory, "brand": "/".join(brand)}
        rows.append(
            make_row(_cid(path.stem), {"bytes": None, "path": str(path)}, type_of(category, subcategory), words)
        )
    _some(rows, root, "<category>/<subcategory>/<brand>/")
    if len(rows) < len(files):
        report.dropped["outside the categories"] = len(files) - len(rows)
    report.licence = LICENCE
    report.rows_read = len(files) + _add_materials(rows, _metadata(root, base), report)
    return with_ids(rows)


def _cid(stem: str) -> str:
    return stem.replace(".", "-")


def _metadata(root: Path, base: Path) -> Path | None:
    """Below the source, beside the categories, or in the second folder of the release."""
    beside = [base / METADATA, base.parent / METADATA, base.parent / "ut-zap50k-data" / METADATA]
    below = (path for path in _walk(root) if path.name == METADATA)
    return next((path for path in (*below, *beside) if path.is_file()), None)


def _add_materials(rows: list[Row], table: Path | None, report: LoadReport) -> int:
    """Fill in materials by CID; returns how many rows of the table have no picture, which are counted as dropped."""
    if table is None:
        report.notes.append(f"no {METADATA} found: materials are unknown")
        return 0
    raw = read_local(table, 10**9, 0)
    listed = {}
    for given in reader.pick_columns(raw, META_ALIASES, optional=("category",)):
        listed[_cid(text(given["cid"]))] = (text(given["material"]), text(given["category"]))
    categories = {row["category"] for row in rows}
    for row in rows:
        row["materials"] = listed.get(row["id"], ("", ""))[0]
        row["material"] = material_of(row["materials"])
    known = {row["id"] for row in rows}
    unlisted = len(known - set(listed))
    if unlisted == len(known):
        raise DataError(
            f"{table} has no row for any of the {len(rows):,} pictures", "Its CID 100627-72 is 100627.72.jpg"
        )
    if unlisted:
        report.notes.append(f"{unlisted:,} pictures are not in {METADATA}: their materials are unknown")
    missing = sum(cid not in known and (not kind or kind in categories) for cid, (_, kind) in listed.items())
    if missing:
        report.dropped["image file missing"] = missing
    return missing


def _labelled(root: Path, official: bool, report: LoadReport) -> list[Row]:
    """A folder for each type; above them there may be one for each split."""
    files = _pictures(root)
    _some(files, root, "<kind of shoe>/")
    rows = [
        make_row(path.relative_to(root).as_posix(), {"bytes": None, "path": str(path)}, folded(path.parent.name), {})
        for path in files
        if path.parent != root
    ]
    named = {row["id"]: split_of(row["id"].split("/")[0]) for row in rows if row["id"].count("/") > 1}
    if official and has_splits(named.values()):
        rows = [row | {SPLIT: named[row["id"]]} for row in rows if named.get(row["id"])]
    if len({row["type"] for row in rows}) < 2:
        where = "one folder" if rows else "the folder itself"
        raise DataError(
            f"the {len(files):,} pictures in {root} have no labels: all lie in {where}, with no table beside them",
            "Sort them into folders named after kinds of shoes, or add a CSV with columns image and type",
        )
    if len(rows) < len(files):
        report.dropped["no type"] = len(files) - len(rows)
    report.rows_read = len(files)
    return rows


def _some(found: Sequence[object], root: Path, where: str) -> None:
    if not found:
        raise DataError(f"{root} has no pictures ({', '.join(PICTURES)})", f"Put them into {where}")
