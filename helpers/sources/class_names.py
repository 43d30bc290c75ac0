"""What the codes of a column are called, where the source says so: ``ClassLabel`` on the Hub and in parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def of_features(features: Mapping[str, Any] | None) -> dict[str, Sequence[str]]:
    """Column → names of its codes 0, 1, …, from the features of a data set."""
    return {name: list(feature.names) for name, feature in (features or {}).items() if hasattr(feature, "names")}


def of_files(path: str) -> dict[str, Sequence[str]]:
    """The same from parquet files as ``datasets`` writes them, one or a folder of them; {} for anything else.

    Files that do not agree on the names of a column say nothing about it.
    """
    root = Path(path).expanduser()
    files = sorted(root.rglob("*.parquet")) if root.is_dir() else [root] if root.suffix.lower() == ".parquet" else []
    found: dict[str, Sequence[str]] = {}
    unclear = set()
    for file in files:
        for column, names in _of_file(file).items():
            if found.setdefault(column, names) != names:
                unclear.add(column)
    return {column: names for column, names in found.items() if column not in unclear}


def _of_file(file: Path) -> dict[str, Sequence[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        written = (pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
        features = json.loads(written).get("info", {}).get("features", {})
    except (OSError, ValueError, AttributeError, pa.ArrowException):
        return {}  # damaged, or made by another program; reading its rows will say so
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
