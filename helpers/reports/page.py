"""HTML pages from the templates beside this file; whatever is put into one is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.files import write_atomic


def write_page(path: Path, template: str, filters: dict[str, Any] | None = None, /, **values: Any) -> Path:
    """Fill ``templates/<template>`` and write it to ``path``.

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
