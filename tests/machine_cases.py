"""Recorded machines (tests/machines), and changes to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "machines"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def read(name: str) -> dict[str, Any]:
    """A file of tests/machines: about, record and, for hosted services, after_setup."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def changed(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The record with changes; ``versions`` is merged, None removes a package."""
    versions = {**record["versions"], **changes.pop("versions", {})}
    return {**record, "versions": {k: v for k, v in versions.items() if v is not None}, **changes}


def fresh(name: str, **changes: Any) -> dict[str, Any]:
    """The machine as it starts."""
    return changed(read(name)["record"], **changes)


def ready(name: str, **changes: Any) -> dict[str, Any]:
    """The machine after the setup cell, and the restart it may ask for."""
    found = read(name)
    return changed({**changed(found["record"], **found.get("after_setup", {})), "loaded": {}}, **changes)
