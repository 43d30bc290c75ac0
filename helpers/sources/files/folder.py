"""What a folder holds: its files of data, in order, without those that only describe or repeat them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from helpers.errors import listed
from helpers.sources.files.columnar import SAVED
from helpers.sources.files.kinds import ARCHIVES, OTHERS, PACKED, READERS, SUFFIXES

# Files about the data, by their names without endings: of datasets, of repositories, of tokenizers and models.
ABOUT = re.compile(
    r"readme.*|licen[cs]e.*|notice|copying|changelog|changes|citation.*|contributing|authors|requirements.*|"
    r"manifest|package(-lock)?|dataset_infos?|dataset_dict|state|croissant|.*schema|.*_?config|config.*|"
    r"(tokenizer|special_tokens|generation|preprocessor).*|info|version|checksums?|sha256sums?|md5sums?"
)
# Where the same rows stand in several formats, the one that says most about its cells is read.
BEST = (".parquet", ".arrow", ".feather", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab", ".txt")


def contents(root: Path, notes: list[str]) -> list[Path]:
    """Files of data below ``root`` in the order of their names, and folders that ``save_to_disk`` wrote.

    Notes which files were left out although their kind is read.
    """
    if (root / "layer1.json").is_file():  # Recipe1M+: the other layers hold pictures, not recipes
        return [root / "layer1.json"]
    main = root / "refs" / "main"
    if (root / "snapshots").is_dir() and main.is_file():  # as the Hub's client keeps a repository
        root = root / "snapshots" / main.read_text(encoding="utf-8").strip()
    files = [path for path in _walk(root) if path.is_dir() or _is_data(path)]
    if any(path.suffix.lower() != ".txt" for path in files):
        texts = [path for path in files if path.suffix.lower() == ".txt" and not path.is_dir()]
        files = [path for path in files if path not in set(texts)]
        if texts:
            notes.append(f"not read, as other files hold the data: {listed([_name(path, root) for path in texts], 6)}")
    return _without_repeats(files, root, notes)


def others(root: Path) -> list[Path]:
    """Files of kinds that hold rows and are not read, for the error where there are no others."""
    return [path for path in _walk(root) if path.suffix.lower() in OTHERS and not ABOUT.fullmatch(path.stem.lower())]


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return all((folder / name).is_file() for name in SAVED) and any(folder.glob("*.arrow"))


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder; hidden ones are left out, and what lies in a saved data set counts as one."""
    if is_saved(root):
        yield root
        return
    for folder, inner, names in os.walk(root):
        here = Path(folder)
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX", "__pycache__")))
        for name in [name for name in inner if is_saved(here / name)]:
            inner.remove(name)
            yield here / name
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def _is_data(path: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES:
        return False
    stem, kind = inner_name(path)
    if kind not in (*READERS, *ARCHIVES):
        return False
    if kind in (".json", ".txt") and (ABOUT.fullmatch(stem.lower()) or stem.lower() == "metadata"):
        return False  # metadata.csv and metadata.jsonl hold the rows of a folder of pictures
    return not (kind == ".arrow" and stem.startswith(("cache-", "tmp")))  # what datasets' map keeps


def inner_name(path: Path) -> tuple[str, str]:
    """(stem, kind) of what a file holds: ``("train", ".csv")`` for train.csv and train.csv.gz."""
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.stem, inner.suffix.lower()


def _without_repeats(files: list[Path], root: Path, notes: list[str]) -> list[Path]:
    """One file of each name: train.jsonl and train.txt beside it are the same rows in two formats."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in files:
        groups[path.parent, path.name if path.is_dir() else inner_name(path)[0]].append(path)
    dropped: set[Path] = set()
    for group in groups.values():
        if len(group) > 1:
            ranked = sorted(group, key=lambda path: BEST.index(kind) if (kind := inner_name(path)[1]) in BEST else 99)
            dropped |= set(ranked[1:])
            left = listed([_name(path, root) for path in ranked[1:]], 6)
            notes.append(f"read {_name(ranked[0], root)} and not {left}, which has the same name")
    return [path for path in files if path not in dropped]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
