"""Where rows come from: a local file or folder, a data set on the Hugging Face Hub or on Kaggle.

``read`` finds out which is meant; ``pick_columns`` renames what was found to a task's own columns. Every
fault that a user can cause or meet is one DataError line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.errors import DataError, listed
from helpers.hints import closest, nearest_and_all
from helpers.sources import class_names, hub, hub_datasets, kaggle
from helpers.sources.files.base import Row
from helpers.sources.files.columnar import encoded
from helpers.sources.files.kinds import SUFFIXES
from helpers.sources.hub_errors import explain
from helpers.sources.local import RawRows, read_local
from helpers.sources.source import Source
from helpers.sources.splits import OFFICIAL, SPLIT, TRAIN, has_splits, split_of

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def kind_of(source: str) -> str:
    """``"local"`` or ``"hub"``. An existing path wins over a Hub id of the same spelling."""
    path = Path(source).expanduser()
    local = path.exists() or path.suffix.lower() in SUFFIXES  # what starts with one of . ~ / \\ is no Hub id
    return "hub" if not local and _HUB_ID.match(source) else "local"


def read(source: str, limit: int, seed: int, built_in: Sequence[str] = ()) -> RawRows:
    """Rows of ``source``, at most ``limit``.

    Args:
        source: path of a file or folder, a Hub id such as ``stanfordnlp/snli``, or ``kaggle:owner/name``; a
            ``Source`` also says which columns are meant.
        built_in: names of the task's own sources, for the hint when nothing fits.
    """
    asked = Source.of(source)
    limit, official = 10**9 if asked.protocol else limit, asked.splits != "random"
    if kind_of(source) == "hub" and not kaggle.is_source(source) and official:
        raw = _read_splits(source, limit, None if asked.protocol else seed)
    else:
        raw = _read(source, limit, seed, built_in, official)
    raw.chosen = asked.columns
    raw.names = raw.names or class_names.of_files(raw.name)
    raw.notes += [f"column {name!r} is read as {own}, as asked" for own, name in raw.chosen.items()]
    return raw


def _read_splits(repo: str, limit: int, seed: int | None) -> RawRows:
    """The official splits of a Hub data set, at most ``limit`` rows of each; without such, its train split."""
    try:
        names = hub_datasets.splits(repo)
    except hub.Unreachable:
        names = _cached_splits(repo)
    found = {own: next((n for n in names if n == own), "") or next((n for n in names if split_of(n) == own), "")
             for own in OFFICIAL}  # fmt: skip
    found = {own: name for own, name in found.items() if name}
    if not has_splits(found):
        return read_hub(repo, limit, seed)
    raw = RawRows(repo)
    for own, name in found.items():
        part = read_hub(repo, limit, seed, name)
        raw.add(part, own)
    return raw


def _read(source: str, limit: int, seed: int, built_in: Sequence[str], official: bool) -> RawRows:
    if kaggle.is_source(source):
        located = kaggle.locate(source)
        raw = read_local(located.path, limit, seed, official)
        raw.notes.append(located.note)
        return raw
    if kind_of(source) == "hub":
        return read_hub(source, limit, seed)
    if not Path(source).expanduser().exists() and not Path(source).suffix and "/" not in source:
        what = f"unknown data source {source!r}: not a built-in source, not a file or folder, not a Hub id"
        raise DataError(what, f"Built-in are {', '.join(built_in)}; a Hub id looks like owner/name")
    return read_local(source, limit, seed, official)


def read_hub(repo: str, limit: int, seed: int | None, split: str = "train") -> RawRows:
    """At most ``limit`` random rows of one split of a Hub data set; in its own order without a ``seed``.

    Files of rows (parquet, CSV, JSON lines) are fetched whole, compared with the Hub's checksums and read from the
    client's cache, so a later run needs no connection. Of a large data set only as many parts are fetched as hold the
    rows. Pictures in folders and archives are streamed, and so is whatever else ``datasets`` alone can read.

    Raises:
        DataError: the Hub refuses or fails, a download stays incomplete or damaged, there is no such split.
    """
    try:
        files = hub_datasets.split_files(repo, split, limit, seed or 0)
    except hub.Unreachable as error:
        return _cached(repo, limit, seed, split, error)
    try:
        stream = encoded(files.open())
        if seed is not None:
            stream = stream.shuffle(seed=seed, buffer_size=min(10_000, 2 * limit))
        rows = list(stream.take(limit))
        names = class_names.of_features(stream.features)
    except Exception as error:  # anything the network or the parser raises
        if files.local:
            line = (str(error).strip().splitlines() or [""])[0][:200]
            raise DataError(f"cannot read split {split!r} of {repo}: {type(error).__name__}: {line}") from error
        raise DataError(*explain(error, repo, "dataset")) from error
    return _checked(repo, rows, files.licence, f"{files.note}, {len(rows):,} rows read", names)


def _cached_splits(repo: str) -> list[str]:
    """Splits that an earlier ``load_dataset`` of another program has left; train where it left nothing."""
    from datasets import load_dataset

    try:
        with _offline():
            return list(load_dataset(repo))
    except Exception:  # reading the train split then says what is wrong
        return [TRAIN]


def _cached(repo: str, limit: int, seed: int | None, split: str, why: hub.Unreachable) -> RawRows:
    """What an earlier ``load_dataset`` of another program has left."""
    from datasets import load_dataset

    try:
        with _offline():
            data = encoded(load_dataset(repo, split=split))
    except Exception as error:
        what = f"the Hub cannot be reached and {repo} (split {split!r}) is not in the local cache"
        cure = "Connect, unset HF_HUB_OFFLINE, or give a built-in source or a local file"
        if why.__cause__ is not None:
            what, cure = explain(why.__cause__, repo, "dataset")
        raise DataError(what, cure) from error
    data = data if seed is None else data.shuffle(seed=seed)
    rows = [dict(row) for row in data.take(min(limit, len(data)))]
    names = class_names.of_features(data.features)
    return _checked(repo, rows, "", "read from the local cache; the Hub was not reached", names)


def _checked(repo: str, rows: list[Row], licence: str, note: str, names: Mapping[str, Sequence[str]]) -> RawRows:
    if not rows:
        raise DataError(f"{repo} is empty: it holds no rows")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    licence = licence or "see the data set's page"
    return RawRows(repo, rows, columns, len(rows), 0, licence, [note], [""] * len(rows), names=names)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Forbid Hub requests for a moment, so that the cache answers at once."""
    import huggingface_hub.constants as hub
    from datasets import config

    before = hub.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


def pick_columns(raw: RawRows, aliases: Mapping[str, Sequence[str]], optional: Sequence[str] = ()) -> list[Row]:
    """Rows with the task's column names, in the order of ``raw.rows``; each file's columns are found for themselves.

    Args:
        aliases: own name → names accepted for it, best first; case, spaces, ``_`` and ``-`` do not matter.
        optional: own names that may be absent (``None`` in every row then).

    Returns:
        Rows with ``SPLIT`` too where official splits are kept.

    Raises:
        DataError: a needed column is absent; names the file, the columns found, the nearest and what is accepted.
    """
    _check_asked(raw, aliases)
    picked = _picked(raw, aliases, optional)
    if raw.splits:
        for row, split in zip(picked, raw.splits, strict=True):
            row[SPLIT] = split
    return picked


def _picked(raw: RawRows, aliases: Mapping[str, Sequence[str]], optional: Sequence[str]) -> list[Row]:
    if len(raw.file_columns) < 2:
        names = _chosen(raw, raw.name, raw.columns, raw.rows, aliases, optional)
        return [{own: row.get(name) if name else None for own, name in names.items()} for row in raw.rows]
    met = {name for columns in raw.file_columns.values() for name in columns}
    made = [name for name in raw.columns if name not in met]  # by the task, of other columns
    first = dict(zip(reversed(raw.files), reversed(raw.rows), strict=True))
    chosen = {
        file: _chosen(raw, f"{file} in {raw.name}", [*columns, *made], [first[file]], aliases, optional)
        for file, columns in raw.file_columns.items()
        if file in first
    }
    return [
        {own: row.get(name) if name else None for own, name in chosen[file].items()}
        for row, file in zip(raw.rows, raw.files, strict=True)
    ]


def _chosen(
    raw: RawRows, where: str, columns: Sequence[str], rows: Sequence[Row], aliases: Mapping[str, Sequence[str]],
    optional: Sequence[str],
) -> dict[str, str | None]:  # fmt: skip
    """Own name → name of the column that holds it."""
    found = {plain(name): name for name in reversed(columns)}
    chosen: dict[str, str | None] = {own: name for own, name in raw.chosen.items() if name in columns}
    for own, names in aliases.items():
        if own in chosen:
            continue
        accepted = tuple(dict.fromkeys((own, *names)))
        chosen[own] = next((found[plain(name)] for name in accepted if plain(name) in found), None)
        if chosen[own] is None and own not in optional:
            near = [hit for name in accepted if (hit := closest(plain(name), found, cutoff=0.6))]
            hint = f"; nearest is {found[near[0]]!r}" if near else ""
            what = f"{where} has no column {own!r} (found: {listed(list(columns)) or 'none'}{hint})"
            cure = f"Name a column one of: {', '.join(accepted)}"
            if deeper := _deeper({plain(name) for name in accepted}, rows[:1]):
                what += f"; {deeper} is inside of a cell"
                cure = f"Write one row for each {own}, with a column of its own: {', '.join(accepted)}"
            elif len(raw.file_columns) > 1:
                cure += "; or give the one file to read as the source"
            else:
                cure += f"; or say which it is: columns = '{own}=...'"
            raise DataError(what, cure)
    return chosen


def _check_asked(raw: RawRows, aliases: Mapping[str, Sequence[str]]) -> None:
    """DataError for a column that was asked for and that the task, or the source, does not have."""
    for own, name in raw.chosen.items():
        if own not in aliases:
            what = f"columns names {own!r}, which the task does not read"
            raise DataError(what, nearest_and_all(own, aliases, "column"))
        if name not in raw.columns:
            what = f"{raw.name} has no column {name!r}, which was given for {own}"
            raise DataError(what, nearest_and_all(name, raw.columns, "column"))


def _deeper(names: set[str], value: Any, path: str = "", depth: int = 0) -> str:
    """Where one of ``names`` stands inside of nested cells ("paragraphs.qas.question"); "" for nowhere."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            here = f"{path}.{key}" if path else str(key)
            if depth > 0 and plain(str(key)) in names:
                return here
            if found := _deeper(names, inner, here, depth + 1):
                return found
    elif isinstance(value, list | tuple) and value:
        return _deeper(names, value[0], path, depth)
    return ""


def plain(name: str) -> str:
    """A column name without case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]", "", name.lower())
