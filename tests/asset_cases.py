"""A small asset: bread, in a wheel that pip downloads from a folder."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from helpers.errors import AssetError
from helpers.sources import asset_list

DATA = b"flour, water, salt\n" * 50


def make_wheel(folder: Path, package: str, version: str, files: dict[str, bytes]) -> Path:
    """A minimal valid wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{package.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        "Requires-Dist: something-that-does-not-exist\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*content, f"{info}/RECORD"]))
    return file


def bread(**changes: Any) -> asset_list.Asset:
    values: dict[str, Any] = {
        "name": "bread",
        "package": "lab-bread",
        "version": "1.0",
        "files": {"lab_bread/data/list.txt": ("list.txt", hashlib.sha256(DATA).hexdigest())},
        "licence": "CC0",
        "attribution": "nobody",
        "description": "a test",
        "need_mb": 1,
    }
    return asset_list.Asset(**{**values, **changes})


def leftovers(cache: Path) -> list[str]:
    return [p.name for p in cache.iterdir() if not p.name.endswith(".lock")] if cache.is_dir() else []


def one_line(error: pytest.ExceptionInfo[AssetError]) -> str:
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    return text
