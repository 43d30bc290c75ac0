"""Versions of packages: compared, looked up on disk, and in memory. Standard library only at import.

What several places must agree on stands here once: the setup cell repairs what ``doctor`` reports.
"""

from __future__ import annotations

import itertools
import re
import sys
from importlib import metadata

# Imported before the first cell of a hosted notebook, or early in it: replaced on disk, they stay old in memory.
RESTART_SENSITIVE = ("torch", "transformers", "numpy", "pandas", "pyarrow", "datasets")
# PEFT raises ImportError on every LoRA while an older torchao is installed (Colab ships 0.10).
TORCHAO_MIN = (0, 16)


def version_tuple(version: str) -> tuple[int, ...]:
    """(2, 13, 0) of "2.13.0+cu128"; stops at the first part that is not a number."""
    return tuple(map(int, itertools.takewhile(str.isdigit, re.split(r"[.+]", version))))


def installed_version(package: str) -> str:
    """The version on disk, "" when the package is not installed."""
    try:
        return metadata.version(package) or ""
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return ""


def loaded_versions() -> dict[str, str]:
    """Versions of the modules this process has already imported: pip may have replaced them since."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in RESTART_SENSITIVE}
    return {name: str(version) for name, version in found.items() if version}


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version lies in a range as requirements.txt writes them: ``>=2.6,<2.14``; "" lies in none.

    Nothing satisfies anything where ``packaging`` is not there yet: the setup cell then lets pip decide.
    """
    try:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (ImportError, ValueError):  # packaging's own errors for what it cannot read are ValueErrors
        return False
