"""A session on an image, as near as it can be had without the service: ``python tests/platforms/session.py kaggle``.

Makes a virtual environment with the image's Python and the very versions of its packages that the course reaches
(torch from the package index, which may be a build for another CUDA), runs the notebooks' setup cell in it as on the
service, and then lessons in profile smoke, without the Hub. Ends with 1 where a package that was there has another
version afterwards than the requirements ask for, or where a lesson fails. Takes gigabytes and minutes.

``oldest`` is no image: the oldest versions that requirements.txt allows. With ``--wheels FOLDER`` pip has no index,
only that folder (``python -m helpers wheels kaggle``), and the lessons no network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helpers.hosted import SETUP_CELL  # noqa: E402
from helpers.machine import images  # noqa: E402
from helpers.machine.requirements import lesson_requirements, named, normal  # noqa: E402

MARKS = {"colab": ("COLAB_RELEASE_TAG", "release"), "kaggle": ("KAGGLE_KERNEL_RUN_TYPE", "Batch")}
OLDEST_PYTHON = "3.11"
LEFT_OUT = ("torchaudio", "triton")  # come with torch, or need its very build


def run(command: list[str], **environment: str) -> None:
    print("$", " ".join(command)[:160], flush=True)
    subprocess.run(command, check=True, env={**os.environ, **environment}, stdin=subprocess.DEVNULL)


def oldest() -> dict[str, str]:
    """name → the lower bound of its range."""
    file = ROOT / "requirements.txt"
    shipped = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(("torch>", "numpy>"))]
    lines = [*lesson_requirements(file), *shipped]
    return {normal(name): bound[2:].partition(",")[0] for name, bound in map(named, lines)}


def environment(folder: Path, python: str, packages: dict[str, str], exact: bool) -> Path:
    """A virtual environment with these versions; ``exact``: and with nothing that they need in others."""
    short = ".".join(python.split(".")[:2])
    found = shutil.which(f"python{short}")
    if found is None:
        raise SystemExit(f"python{short} is not installed")
    run([found, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    install = [*pip, "install", "-q", "--no-compile", "--disable-pip-version-check"]
    wanted = {name: version.partition("+")[0] for name, version in packages.items() if name not in LEFT_OUT}
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
    # torch first: it brings the libraries of its CUDA, where it is built for one.
    run([*install, "-c", str(pins), "torch"])
    others = [f"{name}=={version}" for name, version in wanted.items() if name != "torch"]
    run([*install, *(["--no-deps"] if exact else ["-c", str(pins)]), *others])
    return folder / "bin" / "python"


def installed(python: Path) -> dict[str, str]:
    done = subprocess.run([str(python), "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True)
    return {normal(name): version for name, _, version in (line.partition("==") for line in done.stdout.splitlines())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", choices=[*images.names(), "oldest"])
    parser.add_argument("lessons", nargs="*", default=["00", "03", "04"])
    parser.add_argument("--folder", type=Path, help="where the environment is made, or lies already; kept")
    parser.add_argument("--wheels", type=Path, help="no index: packages come from this folder")
    options = parser.parse_args()
    image = None if options.image == "oldest" else images.read(options.image)
    python, packages = (OLDEST_PYTHON, oldest()) if image is None else (image.python, image.packages)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch, "environment")).absolute()
        binary = folder / "bin" / "python"
        if not (folder / "pins.txt").is_file():
            binary = environment(folder, python, packages, exact=image is not None)
        before = installed(binary)
        course = Path(scratch, "course")
        left = shutil.ignore_patterns(".git", ".venv", "build", "outputs", "__pycache__", "wheels")
        shutil.copytree(ROOT, course, ignore=left)
        session = {"PEFT_LAB_OUTPUT": str(Path(scratch, "outputs")), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
        if image is not None:
            session |= dict([MARKS[image.name]])
        if options.wheels:
            shutil.copytree(options.wheels, course / "wheels")
            guard = str(ROOT / "tests" / "nonet")
            session |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": guard}
        os.chdir(course)
        run([str(binary), "-c", SETUP_CELL], **session)
        after = installed(binary)
        new = {name: version for name, version in after.items() if name not in before}
        now = {name: after.get(name, "none") for name in before}
        changed = {name: f"{version} -> {now[name]}" for name, version in before.items() if now[name] != version}
        print(f"installed: {', '.join(f'{n} {v}' for n, v in sorted(new.items())) or 'nothing'}")
        print(f"replaced: {', '.join(f'{n} {v}' for n, v in sorted(changed.items())) or 'nothing'}", flush=True)
        run([str(binary), "-m", "helpers", "run", *options.lessons, "--profile", "smoke"], **session)
    allowed = {normal(named(line)[0]) for line in image.missing} if image else set()
    if changed.get("torchao", "").endswith("-> none"):
        del changed["torchao"]  # the setup cell takes an old one away, and says so
    if wrong := set(changed) - allowed - {"pip", "setuptools"}:
        print(f"replaced although it need not be: {', '.join(sorted(wrong))}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
