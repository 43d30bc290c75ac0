"""A Colab or Kaggle machine in a temporary folder: its folders, variables, Python and preinstalled packages.

Everything runs for real: git clones (the course's address is sent to a local bare repository by git's own
``url.<base>.insteadOf``), pip resolves, installs and removes (from a folder of wheels: PIP_NO_INDEX and PIP_FIND_LINKS
stand in for the package index, which is the only part that needs the network). The packages are empty ones, in a
virtual environment of their own, with the names, versions and needs that ``tests/platforms`` recorded of the image and
of the index; only packaging, which the setup cell uses, is the real one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
import zipfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from helpers.hosted import REPO_URL, SETUP_CELL
from helpers.machine import images
from helpers.machine.images import Image, empty_wheel


def git(*words: str, cwd: Path | None = None) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=cwd, check=True, capture_output=True)


def bare_repository(root: Path, folder: Path, **raised: str) -> Path:
    """A bare repository with what the setup cell needs of the course as it stands in the working tree.

    Args:
        raised: package → another lower bound than requirements.txt has.
    """
    tree = folder / "tree"
    shutil.copytree(root / "helpers", tree / "helpers", ignore=shutil.ignore_patterns("__pycache__", "tiny", "shapes"))
    wanted = (root / "requirements.txt").read_text(encoding="utf-8")
    for name, bound in raised.items():
        wanted, number = re.subn(rf"^{name}>=[\d.]+", f"{name}>={bound}", wanted, flags=re.MULTILINE)
        assert number == 1, name
    (tree / "requirements.txt").write_text(wanted, encoding="utf-8")
    git("init", "-q", cwd=tree)
    git("add", "-A", cwd=tree)
    git("commit", "-q", "-m", "course", cwd=tree)
    git("clone", "-q", "--bare", str(tree), str(folder / "remote.git"))
    return folder / "remote.git"


def index(image: Image, folder: Path) -> Path:
    """A folder of wheels that holds all that was recorded of the package index."""
    for name, versions in image.needs.items():
        for version, needs in versions.items():
            empty_wheel(folder, name, version, needs)
    return folder


@dataclass
class Service:
    """One simulated machine. ``cwd``: where its notebooks start."""

    cwd: Path
    python: Path
    site: Path
    wheels: Path
    image: Image
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Python code in a new kernel, so to speak."""
        return subprocess.run(
            [str(self.python), "-c", code],
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=120,
            env={**self.environment, **environment},
        )

    def run_cell(self, before: str = "", after: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """The setup cell, as it stands in the notebooks."""
        return self.run(f"{before}\n{SETUP_CELL}\n{after}", **environment)

    def version(self, package: str) -> str:
        """The installed version, "" when there is none."""
        found = sorted(self.site.glob(f"{package.replace('-', '_')}-*.dist-info"))
        assert len(found) <= 1, found
        return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else ""

    def without_pip(self) -> None:
        (self.site / "pip").unlink()


def make_service(platform: str, root: Path, folder: Path, remote: Path | None) -> Service:
    """A machine of "colab" or "kaggle" under ``folder``; ``remote`` None: the course's address cannot be reached."""
    cwd = folder / ("content" if platform == "colab" else "kaggle/working")
    for place in (cwd, folder / "home", folder / "kaggle" / "input"):
        place.mkdir(parents=True, exist_ok=True)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    spec = find_spec("pip")
    assert spec is not None and spec.origin is not None
    (site / "pip").symlink_to(Path(spec.origin).parent)
    image, wheels = images.read(platform), index(images.read(platform), folder / "index")
    for name, version in image.packages.items():
        file = empty_wheel(folder / "shipped", name, version, image.needs.get(name, {}).get(version, ()))
        with zipfile.ZipFile(file) as archive:
            archive.extractall(site)
    # The one package that the setup cell itself uses is the real one, as on the services.
    spec = find_spec("packaging")
    assert spec is not None and spec.origin is not None
    shutil.rmtree(site / "packaging")
    (site / "packaging").symlink_to(Path(spec.origin).parent)
    variable = "COLAB_RELEASE_TAG" if platform == "colab" else "KAGGLE_KERNEL_RUN_TYPE"
    settings = {"http.proxy": "http://127.0.0.1:9"}  # where nobody listens: no Internet
    if remote is not None:
        settings = {f"url.{remote.as_uri()}.insteadOf": REPO_URL}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PEFT_LAB_INPUT": str(folder / "kaggle" / "input"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_CONFIG_NOSYSTEM": "1",
        variable: "release-colab-external_2026" if platform == "colab" else "Interactive",
    }
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    python = folder / "env" / "bin" / "python"
    return Service(cwd, python, site, wheels, image, environment)
