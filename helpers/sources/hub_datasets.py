"""Which files of a Hub data set hold a split, and those files, fetched and checked.

``datasets`` decides which: it is shown a folder of empty files with the names that the repository has, and its card.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import DataError
from helpers.sources import hub

KINDS = ("parquet", "csv", "json")  # files of rows, which can be read one by one
CARD = "README.md"
LARGE = 500_000_000  # bytes of a split in several parts, above which only some of them are fetched


@dataclass(frozen=True)
class SplitFiles:
    """Where a split is read from: the arguments of ``load_dataset``.

    ``local``: from checked files; otherwise it is streamed from the Hub.
    """

    options: dict[str, Any]
    licence: str
    note: str
    local: bool

    def open(self) -> Any:
        """An ``IterableDataset``."""
        from datasets import load_dataset

        return load_dataset(**self.options, streaming=True)


def splits(repo: str) -> list[str]:
    """Names of the splits of a data set on the Hub.

    Raises:
        DataError: refused, or no data set.
        Unreachable: the Hub cannot be asked, and no copy is here.
    """
    try:
        found = hub.listing(repo, "dataset", fail=DataError)
    except hub.Unreachable as why:
        found = hub.remembered(repo, "dataset", why)
    return list(_resolve(repo, [file.name for file in found.files])[2])


def split_files(repo: str, split: str, limit: int, seed: int) -> SplitFiles:
    """Find the files of a split and fetch them.

    Args:
        limit: rows wanted; of a large split only as many parts are fetched, in an order drawn with ``seed``, as hold
            twice as many.

    Raises:
        DataError: refused, incomplete, damaged, no such split.
        Unreachable: the Hub cannot be asked, and no complete copy is here.
    """
    import pyarrow.parquet as parquet

    try:
        found = hub.listing(repo, "dataset", fail=DataError)
    except hub.Unreachable as why:
        found = hub.remembered(repo, "dataset", why)
    names = [file.name for file in found.files]
    kind, options, parts = _resolve(repo, names)
    if split not in parts:
        what = f"cannot read split {split!r} of {repo}: there is none"
        raise DataError(what, f"Its splits are {', '.join(sorted(parts)) or 'none'}")
    files = parts[split]
    if kind not in KINDS:
        note = f"streamed from the Hub, as its files are no tables: not compared with checksums (split {split})"
        return SplitFiles({"path": repo, "split": split}, found.licence, note, local=False)
    total = sum(file.size or 0 for file in found.files if file.name in set(files))
    some = kind == "parquet" and total > LARGE and len(files) > 1
    if some:
        random.Random(seed).shuffle(files)
    paths: list[str] = []
    rows = 0
    for batch in [[name] for name in files] if some else [files]:
        fetched = hub.fetch(repo, lambda _, batch=batch: batch, "dataset", fail=DataError)  # type: ignore[misc]
        paths += [str(fetched.folder / name) for name in batch]
        rows += parquet.read_metadata(paths[-1]).num_rows if some else 0
        if some and rows >= 2 * limit:
            break
    note = f"{len(paths)} of {len(files)} files of split {split}, compared with the Hub's checksums"
    if not found.fresh:
        note += f" earlier: the copy on this machine (commit {found.commit[:8]}), the Hub not reached"
    options |= {"path": kind, "data_files": {split: paths}, "split": split}
    return SplitFiles(options, found.licence, note, local=True)


def _resolve(repo: str, names: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, list[str]]]:
    """(kind of reader, its options, names of each split's files), as ``datasets`` sees the repository."""
    from datasets import load_dataset_builder

    with tempfile.TemporaryDirectory(prefix="peft-lab-") as scratch:
        root = Path(scratch).resolve()
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        if CARD in names:
            card = hub.fetch(repo, lambda _: [CARD], "dataset", fail=DataError)
            (root / CARD).write_bytes((card.folder / CARD).read_bytes())
        try:
            builder = load_dataset_builder(str(root), cache_dir=str(root / ".cache"))
            parts = {str(key): list(map(str, value)) for key, value in (builder.config.data_files or {}).items()}
        except Exception as error:  # its own errors for a layout it cannot read, and those of its parsers
            line = (str(error).strip().splitlines() or [""])[0][:200]
            raise DataError(f"{repo} on the Hub cannot be read as a data set: {line}") from error
        kind = type(builder).__module__.rsplit(".", 1)[-1]
        files = {
            split: [Path(path).resolve().relative_to(root).as_posix() for path in paths]
            for split, paths in parts.items()
        }
    # What the repository's card sets, besides where the files are.
    usual, own = type(builder.config)(), {"name", "version", "data_dir", "data_files", "description"}
    given = {row.name: getattr(builder.config, row.name) for row in dataclasses.fields(usual) if row.name not in own}
    options = {name: value for name, value in given.items() if value != getattr(usual, name)}
    if builder.info.features is not None:
        options["features"] = builder.info.features
    return kind, options, files
