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

from helpers.errors import DataError
from helpers.hints import closest, nearest_and_all
from helpers.sources import class_names, hub, hub_datasets, kaggle
from helpers.sources.hub_errors import explain
from helpers.sources.local import SUFFIXES, RawRows, Row, read_local
from helpers.sources.source import Source

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def kind_of(source: str) -> str:
    """``"local"`` or ``"hub"``. An existing path wins over a Hub id of the same spelling."""
    path = Path(source).expanduser()
    local = path.exists() or path.suffix.lower() in SUFFIXES  # what starts with one of . ~ / \\ is no Hub id
    return "hub" if not local and _HUB_ID.match(source) else "local"


def read(source: str, limit: int, seed: int, built_in: Sequence[str] = (), split: str = "train") -> RawRows:
    """Rows of ``source``, at most ``limit``.

    Args:
        source: path of a file or folder, a Hub id such as ``stanfordnlp/snli``, or ``kaggle:owner/name``; a
            ``Source`` also says which columns are meant.
        built_in: names of the task's own sources, for the hint when nothing fits.
        split: split on the Hub; local files have none.
    """
    raw = _read(source, limit, seed, built_in, split)
    raw.chosen = Source.of(source).columns
    raw.names = raw.names or class_names.of_files(raw.name)
    raw.notes += [f"column {name!r} is read as {own}, as asked" for own, name in raw.chosen.items()]
    return raw


def _read(source: str, limit: int, seed: int, built_in: Sequence[str], split: str) -> RawRows:
    if kaggle.is_source(source):
        located = kaggle.locate(source)
        raw = read_local(located.path, limit, seed)
        raw.notes.append(located.note)
        return raw
    if kind_of(source) == "hub":
        return read_hub(source, limit, seed, split)
    if not Path(source).expanduser().exists() and not Path(source).suffix and "/" not in source:
        what = f"unknown data source {source!r}: not a built-in source, not a file or folder, not a Hub id"
        raise DataError(what, f"Built-in are {', '.join(built_in)}; a Hub id looks like owner/name")
    return read_local(source, limit, seed)


def read_hub(repo: str, limit: int, seed: int, split: str = "train") -> RawRows:
    """At most ``limit`` random rows of one split of a Hub data set.

    Files of rows (parquet, CSV, JSON lines) are fetched whole, compared with the Hub's checksums and read from the
    client's cache, so a later run needs no connection. Of a large data set only as many parts are fetched as hold the
    rows. Pictures in folders and archives are streamed, and so is whatever else ``datasets`` alone can read.

    Raises:
        DataError: the Hub refuses or fails, a download stays incomplete or damaged, there is no such split.
    """
    try:
        files = hub_datasets.split_files(repo, split, limit, seed)
    except hub.Unreachable as error:
        return _cached(repo, limit, seed, split, error)
    try:
        stream = encoded(files.open())
        rows = list(stream.shuffle(seed=seed, buffer_size=min(10_000, 2 * limit)).take(limit))
        names = class_names.of_features(stream.features)
    except Exception as error:  # anything the network or the parser raises
        if files.local:
            line = (str(error).strip().splitlines() or [""])[0][:200]
            raise DataError(f"cannot read split {split!r} of {repo}: {type(error).__name__}: {line}") from error
        raise DataError(*explain(error, repo, "dataset")) from error
    return _checked(repo, rows, files.licence, f"{files.note}, {len(rows):,} rows read", names)


def _cached(repo: str, limit: int, seed: int, split: str, why: hub.Unreachable) -> RawRows:
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
    rows = [dict(row) for row in data.shuffle(seed=seed).take(min(limit, len(data)))]
    names = class_names.of_features(data.features)
    return _checked(repo, rows, "", "read from the local cache; the Hub was not reached", names)


def encoded(data: Any) -> Any:
    """The data set with its pictures left as bytes: decoded, those of a large one would not fit into memory."""
    from datasets import Image

    for name, feature in (data.features or {}).items():
        if isinstance(feature, Image):
            data = data.cast_column(name, Image(decode=False))
    return data


def _checked(repo: str, rows: list[Row], licence: str, note: str, names: Mapping[str, Sequence[str]]) -> RawRows:
    if not rows:
        raise DataError(f"{repo} is empty: it holds no rows")
    licence = licence or "see the data set's page"
    return RawRows(repo, rows, list(rows[0]), len(rows), 0, licence, [note], names=names)


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
    """Rows with the task's column names.

    Args:
        aliases: own name → names accepted for it, best first; case, spaces, ``_`` and ``-`` do not matter.
        optional: own names that may be absent (``None`` in every row then).

    Raises:
        DataError: a needed column is absent; names those found, the nearest one and what is accepted.
    """
    found = {plain(name): name for name in reversed(raw.columns)}
    chosen: dict[str, str | None] = dict(_settled(raw, aliases))
    for own, names in aliases.items():
        if own in chosen:
            continue
        accepted = tuple(dict.fromkeys((own, *names)))
        chosen[own] = next((found[plain(name)] for name in accepted if plain(name) in found), None)
        if chosen[own] is None and own not in optional:
            near = [hit for name in accepted if (hit := closest(plain(name), found, cutoff=0.6))]
            hint = f"; nearest is {found[near[0]]!r}" if near else ""
            what = f"{raw.name} has no column {own!r} (found: {', '.join(raw.columns) or 'none'}{hint})"
            raise DataError(what, f"Name a column one of: {', '.join(accepted)}")
    return [{own: row.get(name) if name else None for own, name in chosen.items()} for row in raw.rows]


def _settled(raw: RawRows, aliases: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The columns that the reader named.

    Raises:
        DataError: one that the task does not have, or that the source does not have.
    """
    for own, name in raw.chosen.items():
        if own not in aliases:
            raise DataError(
                f"columns names {own!r}, which the task does not read", nearest_and_all(own, aliases, "column")
            )
        if name not in raw.columns:
            raise DataError(
                f"{raw.name} has no column {name!r}, given for {own}", nearest_and_all(name, raw.columns, "column")
            )
    return dict(raw.chosen)


def plain(name: str) -> str:
    """A column name without case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]", "", name.lower())
