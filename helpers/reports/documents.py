"""Files that are written anew: README.md, the notebooks, the address of the course; pages made from templates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from helpers.errors import RunError
from helpers.files import write_atomic


class Document:
    """A file of the repository, what it holds, and what it should hold.

    Raises:
        RunError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.current = self.wanted = path.read_text(encoding="utf-8")
        except OSError as error:
            why = error.strerror or str(error)
            raise RunError(f"{path} cannot be read ({why})", "Run from a complete copy of the repository") from None

    def but(self, wanted: str) -> Document:
        """This file, which should hold ``wanted``."""
        self.wanted = wanted
        return self


def rewrite(documents: Iterable[Document], check: bool = False) -> list[str]:
    """Write the files that are not what they should be; their names. All are made before the first is written.

    Args:
        check: write nothing.

    Raises:
        RunError: a file cannot be written; those before it are, and the command can be repeated.
    """
    changed = [document for document in list(documents) if document.wanted != document.current]
    for document in changed if not check else ():
        write_atomic(document.path, document.wanted)
    return [document.path.name for document in changed]


def with_sources(raw: str, sources: Mapping[int, str]) -> str:
    """A notebook's JSON text with other sources for some cells (index → text), otherwise unchanged."""
    node = json.loads(raw)
    for index, text in sources.items():
        cell = node["cells"][index]
        cell["source"] = text.splitlines(keepends=True) if isinstance(cell["source"], list) else text
    if node == json.loads(raw):
        return raw
    return json.dumps(node, indent=1, ensure_ascii=False) + ("\n" if raw.endswith("\n") else "")


def write_page(path: Path, template: str, filters: dict[str, Any] | None = None, /, **values: Any) -> Path:
    """Fill ``templates/<template>``, escaping what is put into it, and write the HTML page to ``path``.

    Args:
        filters: name → function, for ``value | name`` in the template.

    Raises:
        RunError: the file cannot be written.
    """
    import jinja2

    loader = jinja2.PackageLoader("helpers.reports")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters or {}
    return write_atomic(path, environment.get_template(template).render(values))
