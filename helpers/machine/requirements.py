"""requirements.txt as a hosted service reads it: what a lesson needs, what is there, what has to stay as it is.

Standard library only.
"""

from __future__ import annotations

import itertools
import re
from importlib import metadata
from pathlib import Path

from helpers.machine.versions import installed_version, satisfies

# Shipped by the service, built for each other and for its driver, or loaded before the first cell: keep.
KEEP = ("torch", "torchvision", "torchaudio", "triton", "numpy")
TEST_TOOLS = "# test tools"  # the line of requirements.txt below which nothing is needed to run a lesson
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def lesson_requirements(file: Path) -> list[str]:
    """Lines of requirements.txt that a lesson needs: no torch (shipped) and no test tools."""
    above = itertools.takewhile(lambda line: not line.startswith(TEST_TOOLS), file.read_text("utf-8").splitlines())
    requirements = (line.partition("#")[0].strip() for line in above)
    return [requirement for requirement in requirements if requirement and named(requirement)[0] not in KEEP]


def named(requirement: str) -> tuple[str, str]:
    """("torch", ">=2.6,<2.14") of a line; extras are left out."""
    name, specifier = re.split(r"(?:\[.*\])?\s*(?=[<>=!~; ]|$)", requirement, maxsplit=1)
    return name, specifier.strip()


def is_missing(requirement: str) -> bool:
    """Whether the package of a line is absent, or of a version outside of its range."""
    name, specifier = named(requirement)
    return not satisfies(installed_version(name), specifier)


def normal(name: str) -> str:
    """A package's name as packages are compared by: "huggingface-hub" of "huggingface_hub"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(names: list[str] | tuple[str, ...]) -> list[str]:
    """``name==version`` of those that are installed."""
    return [f"{name}=={version}" for name in names if (version := installed_version(name))]


def pins_of_all(wanted: list[str]) -> list[str]:
    """``name==version`` of everything installed, but for what ``wanted`` (lines of requirements.txt) has to replace."""
    replaced = {normal(named(requirement)[0]) for requirement in wanted if is_missing(requirement)}
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Half-removed packages have neither name nor version.
        name, version = (distribution.metadata[key] if distribution.metadata else None for key in ("Name", "Version"))
        if name and version and _NAME.fullmatch(name) and normal(name) not in replaced:
            found.setdefault(normal(name), f"{name}=={version}")
    return sorted(found.values())
