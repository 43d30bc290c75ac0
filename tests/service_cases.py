"""A Colab or Kaggle machine in a temporary folder: its folders, variables, Python and preinstalled packages.

Everything runs for real: git clones (the course's address is sent to a local bare repository by git's own
``url.<base>.insteadOf``), pip installs and removes (from a folder of wheels: PIP_NO_INDEX and PIP_FIND_LINKS stand in
for the package index, which is the only part that needs the network). The packages are empty ones of the right name
and version, in a virtual environment of their own; only packaging, which the setup cell uses, is the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from helpers.hosted import REPO_URL, SETUP_CELL

# What the service ships, where it matters; all else that the lessons need is there in its oldest accepted version.
SHIPPED = {"torch": "2.11.0+cu128", "numpy": "2.0.2", "pandas": "2.2.2", "torchao": "0.10.0"}
SHIPPED |= {"pyarrow": "21.0.0", "datasets": "4.0.0"}
MISSING = ("trl", "bitsandbytes", "evaluate")
# What the index offers that is newer, or drags others along.
OFFERED = {"torch": "2.13.0", "numpy": "2.4.6", "pyarrow": "26.0.1", "datasets": "5.2.0", "torchao": "0.10.0"}
NEEDS = {"datasets": ["pyarrow>=24", "numpy>=1.17"], "trl": ["torch>=2.6", "datasets>=4.7"], "bitsandbytes": ["torch"]}


def git(*words: str, cwd: Path | None = None) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=cwd, check=True, capture_output=True)


def bare_repository(root: Path, folder: Path) -> Path:
    """A bare repository with what the setup cell needs of the course as it stands in the working tree."""
    tree = folder / "tree"
    shutil.copytree(root / "helpers", tree / "helpers", ignore=shutil.ignore_patterns("__pycache__", "tiny", "shapes"))
    shutil.copy(root / "requirements.txt", tree)
    git("init", "-q", cwd=tree)
    git("add", "-A", cwd=tree)
    git("commit", "-q", "-m", "course", cwd=tree)
    git("clone", "-q", "--bare", str(tree), str(folder / "remote.git"))
    return folder / "remote.git"


def wheel(folder: Path, name: str, version: str, needs: Sequence[str] = ()) -> None:
    """An empty package as pip takes it."""
    plain, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in (needs or NEEDS.get(name, ())))
    files = {
        f"{plain}/__init__.py": f'__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{plain}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def lesson_packages(root: Path) -> dict[str, str]:
    """Names in requirements.txt above the test tools, with the oldest version each may have."""
    text = (root / "requirements.txt").read_text(encoding="utf-8").partition("# test tools")[0]
    found = [Requirement(line) for part in text.splitlines() if (line := part.partition("#")[0].strip())]
    return {r.name: next(s.version for s in r.specifier if s.operator == ">=") for r in found}


@dataclass
class Service:
    """One simulated machine. ``cwd``: where its notebooks start."""

    cwd: Path
    python: Path
    site: Path
    wheels: Path
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
        found = sorted(self.site.glob(f"{package}-*.dist-info"))
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
    shipped, wheels = lesson_packages(root) | SHIPPED, folder / "index"
    for name, version in (lesson_packages(root) | OFFERED).items():
        wheel(wheels, name, version)
    wheel(wheels, "trl", "1.99.0", ["torch>=2.12"])  # the newest one would replace the service's torch
    for name, version in shipped.items():
        if name not in MISSING:
            wheel(folder / "shipped", name, version)
    for file in (folder / "shipped").iterdir():
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
    return Service(cwd, python, site, wheels, environment)
