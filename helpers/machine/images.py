"""What a hosted service's image holds, from its published list; and a folder of the wheels that it lacks.

The lists are ``tests/platforms/NAME.json``; ``tests/platforms/refresh.py`` makes them. pip resolves the course's
requirements against a list as it does on the service: what the image holds is offered to it as empty wheels, one for
each package, with the needs of the real one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import AssetError
from helpers.files import repo_root
from helpers.machine.requirements import lesson_requirements, named, normal
from helpers.machine.versions import satisfies
from helpers.sources.wheels import error_of_pip

LISTS = "tests/platforms"
# No wheel of these is published: it is built here, from Python only, so it fits every image.
UNBUILT = ("rouge-score",)
_GLIBC = range(35, 4, -1)  # both images are made from Ubuntu 22.04, whose glibc is 2.35
_MARK = "image"  # the local version of an image's packages: no file on an index has it


@dataclass(frozen=True)
class Image:
    """One service's image.

    Attributes:
        python: its version, "3.12.13".
        packages: name → version, of what the course's requirements reach.
        needs: name → version → its requirements, as they apply to this Python. Of the packages above, and of those
            that pip may weigh against them.
    """

    name: str
    date: str
    python: str
    packages: dict[str, str]
    needs: dict[str, dict[str, list[str]]]

    @property
    def missing(self) -> list[str]:
        """Lines of requirements.txt that a lesson needs and this image does not satisfy."""
        return [line for line in lesson_requirements(repo_root() / "requirements.txt") if self.lacks(line)]

    def lacks(self, requirement: str) -> bool:
        """Whether the package of a line is absent from the image, or of a version outside of its range."""
        name, specifier = named(requirement)
        return not satisfies(self.packages.get(normal(name), ""), specifier)

    def kept(self) -> dict[str, str]:
        """The packages that need not be replaced."""
        replaced = {normal(named(line)[0]) for line in self.missing}
        return {name: version for name, version in self.packages.items() if name not in replaced}


def names() -> list[str]:
    """Images whose lists are here."""
    return sorted(path.stem for path in (repo_root() / LISTS).glob("*.json"))


def read(name: str) -> Image:
    """The list of an image.

    Raises:
        AssetError: there is none of this name.
    """
    if name not in names():
        known = f"take one of: {', '.join(names())}" if names() else "run it in a clone of the course"
        raise AssetError(f"there is no list of what an image {name!r} holds", known)
    found = json.loads((repo_root() / LISTS / f"{name}.json").read_text(encoding="utf-8"))
    return Image(name, *(found[key] for key in ("date", "python", "packages", "needs")))


def empty_wheel(folder: Path, name: str, version: str, needs: Sequence[str] = ()) -> Path:
    """Write a package of this name and version that holds nothing; pip takes it like any other."""
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    listed = "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        f"{plain}/__init__.py": f'__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{listed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: peft-lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(inside, text)
    return path


def download_wheels(image: Image, folder: Path, tell: Callable[[str], None]) -> list[Path]:
    """Fetch the wheels that a session of ``image`` without Internet lacks, for its Python and its platform.

    Args:
        folder: gets them, and loses wheels that it held before.

    Returns:
        The wheels; what the image has and the course can use is not among them.

    Raises:
        AssetError: pip could not fetch them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--no-input"]
    with tempfile.TemporaryDirectory() as work:
        held, fetched = Path(work, "image"), Path(work, "wheels")
        pinned = []
        for name, version in image.kept().items():
            marked = f"{version}.{_MARK}" if "+" in version else f"{version}+{_MARK}"
            empty_wheel(held, name, marked, image.needs.get(name, {}).get(version, ()))
            pinned.append(f"{name}=={marked}")
        constraints = Path(work, "keep.txt")
        constraints.write_text("\n".join(pinned) + "\n", encoding="utf-8")
        lacking = [normal(named(line)[0]) for line in image.missing]
        tell(f"{image.name} ({image.date}, Python {image.python}) lacks: {', '.join(lacking)}")
        for name in set(UNBUILT) & set(lacking):
            _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(fetched), name])
        _run([
            *pip, "download", "--dest", str(fetched), "--only-binary=:all:", *_target(image.python), "--find-links",
            str(held), "--find-links", str(fetched), "-c", str(constraints), *image.missing,
        ])  # fmt: skip
        for wheel in sorted(fetched.glob("*.whl")):
            if _MARK not in wheel.name.split("-")[1]:
                shutil.move(wheel, folder / wheel.name)
    return sorted(folder.glob("*.whl"))


def _target(python: str) -> list[str]:
    """pip's options for wheels of another Python on 64-bit Linux."""
    platforms = [*(f"manylinux_2_{minor}_x86_64" for minor in _GLIBC), "manylinux2014_x86_64", "manylinux1_x86_64"]
    found = ["--implementation", "cp", "--python-version", ".".join(python.split(".")[:2])]
    return found + [word for platform in platforms for word in ("--platform", platform)]


def _run(command: list[str]) -> None:
    """Run pip; AssetError, one line, when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        what = f"pip could not fetch the wheels: {error_of_pip(done.stderr)}"
        raise AssetError(what, "check the network and pip's index settings (pip config list)")
