"""Files whose generated parts are written anew: README.md, the notebooks, the address of the course."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from helpers.errors import RunError
from helpers.files import write_atomic

Document = tuple[Path, str, str]  # a file, what it should hold, what it holds


def rewrite(documents: Iterable[Document]) -> list[str]:
    """Write the files that are not what they should be; their names. All are made before the first is written.

    Raises:
        RunError: a file cannot be written; those before it are, and the command can be repeated.
    """
    changed = [(path, text) for path, text, current in list(documents) if text != current]
    return [write_atomic(path, text).name for path, text in changed]


def stale(documents: Iterable[Document]) -> list[str]:
    """Names of the files that are not what they should be."""
    return [path.name for path, text, current in documents if text != current]


def read(path: Path) -> str:
    """The text of a file of the repository.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise RunError(f"{path} cannot be read ({why})", "Run from a complete copy of the repository") from None


def with_sources(raw: str, sources: Mapping[int, str]) -> str:
    """A notebook's JSON text with other sources for some cells (index → text), otherwise unchanged."""
    node = json.loads(raw)
    for index, text in sources.items():
        cell = node["cells"][index]
        cell["source"] = text.splitlines(keepends=True) if isinstance(cell["source"], list) else text
    if node == json.loads(raw):
        return raw
    return json.dumps(node, indent=1, ensure_ascii=False) + ("\n" if raw.endswith("\n") else "")
