"""Write anew what the images of Colab and Kaggle hold: ``python3.13 tests/platforms/refresh.py colab``.

Run it with the Python of the image (it says which), with git and an index within reach. Colab publishes its list
(googlecolab/backend-info). Kaggle publishes how its image is made (Kaggle/docker-python): Colab's of a day, and
requirements on top, which pip resolves here. On the service itself ``pip freeze > list.txt`` tells more; ``--list
list.txt`` reads that.

``colab.json`` and ``kaggle.json`` keep what the course's requirements reach: versions, and the needs of each, with the
markers of that Python evaluated. Beside them the needs of what pip would install: of the packages that the setup cell
installs, and of the newest ones, which must not tempt it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helpers.machine.requirements import KEEP, lesson_requirements, named, normal  # noqa: E402

Versions = dict[str, str]
Needs = dict[str, dict[str, list[str]]]
SOURCES = {
    "colab": "https://github.com/googlecolab/backend-info",
    "kaggle": "https://github.com/Kaggle/docker-python",
}
# Lines of Kaggle's requirements that reach what the course needs; the others are for other packages.
KAGGLE_ADDS = ("nbconvert", "ipywidgets", "papermill", "transformers", "datasets", "protobuf")


def git(*words: str, repo: Path) -> str:
    return subprocess.run(["git", "-C", str(repo), *words], check=True, capture_output=True, text=True).stdout


def clone(address: str, folder: Path) -> Path:
    subprocess.run(["git", "clone", "-q", "--bare", "--filter=blob:none", address, str(folder)], check=True)
    return folder


def parse_freeze(text: str) -> Versions:
    """name → version of what ``pip freeze`` prints; packages from an address have no version there and are left out."""
    lines = (line.partition("#")[0].strip().partition("==") for line in text.splitlines())
    return {normal(name): version for name, sign, version in lines if sign}


def colab_list(repo: Path, until: str = "") -> tuple[str, str, Versions]:
    """Day, Python and packages of the newest list, or of the newest one up to a day."""
    bound = [f"--until={until}T23:59:59Z"] if until else []
    commit, day = git("log", "-1", "--format=%H %cs", *bound, repo=repo).split()
    system = git("show", f"{commit}:os-info-gpu.txt", repo=repo)
    found = re.search(r"^Python (\S+)", system, re.MULTILINE)
    assert found, f"no Python in os-info-gpu.txt of {commit}"
    return day, found[1], parse_freeze(git("show", f"{commit}:pip-freeze.gpu.txt", repo=repo))


def kaggle_base(repo: Path) -> tuple[str, str, list[str]]:
    """Day of the newest change, day of Colab's image beneath it, and the requirements on top that matter here."""
    recipe = git("show", "HEAD:Dockerfile.tmpl", repo=repo)
    found = re.search(r"release-colab-external-images_(\d{4})(\d\d)(\d\d)", recipe)
    assert found, "Dockerfile.tmpl names no image of Colab"
    lines = git("show", "HEAD:kaggle_requirements.txt", repo=repo).splitlines()
    lines += re.findall(r'"(protobuf==[\d.]+)"', recipe)
    wanted = [line.strip() for line in lines if normal(named(line.strip())[0]) in KAGGLE_ADDS]
    return git("log", "-1", "--format=%cs", repo=repo).strip(), "-".join(found.groups()), wanted


class Pretended:
    """An environment in which packages are installed that hold nothing, so that pip resolves against them."""

    def __init__(self, folder: Path, packages: Versions, needs: Needs) -> None:
        venv.create(folder, with_pip=False)
        (self.site,) = folder.glob("lib/python*/site-packages")
        self.python = folder / "bin" / "python"
        for name, version in packages.items():
            self.put(name, version, needs.get(name, {}).get(version, ()))

    def put(self, name: str, version: str, needs: Iterable[str]) -> None:
        """Install a package; another version of it goes."""
        for old in self.site.glob(f"{name.replace('-', '_')}-*.dist-info"):
            (old / "METADATA").unlink()
            (old / "INSTALLER").unlink()
            old.rmdir()
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        listed = "".join(f"Requires-Dist: {need}\n" for need in needs)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{listed}")
        (info / "INSTALLER").write_text("pip\n")

    def resolve(self, *words: str) -> list[dict[str, Any]]:
        """What ``pip install`` of these words would install: its report."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q", "--dry-run", "--report", "-"]
        done = subprocess.run([*pip, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[-2000:])
        return json.loads(done.stdout)["install"]


def evaluated(requires: Iterable[str], extras: Iterable[str]) -> list[str]:
    """Requirements that apply to this Python and to these extras, without markers and extras of their own."""
    from pip._vendor.packaging.requirements import Requirement

    found = []
    for need in map(Requirement, requires):
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            found.append(f"{normal(need.name)}{need.specifier}")
    return sorted(set(found))


def needs_of(machine: Pretended, packages: Versions) -> Needs:
    """Needs of exact versions, asked of the index; none where it does not have them."""
    asked = [f"{name}=={version}" for name, version in sorted(packages.items())]
    how = ["--ignore-installed", "--no-deps"]
    try:
        items = machine.resolve(*how, *asked)
    except RuntimeError:
        items = []
        for one in asked:
            try:
                items += machine.resolve(*how, one)
            except RuntimeError as error:
                print(f"no metadata of {one}: {str(error).splitlines()[-1]}", file=sys.stderr)
    return recorded(items)


def recorded(items: Iterable[Mapping[str, Any]]) -> Needs:
    """name → version → needs of the entries of pip's report."""
    found: Needs = {}
    for item in items:
        about = item["metadata"]
        name = normal(about["name"])
        # fsspec is wanted as fsspec[http] here, and pip's report does not say so of what is installed.
        extras = {*item.get("requested_extras", ()), *(("http",) if name == "fsspec" else ())}
        found.setdefault(name, {})[about["version"]] = evaluated(about.get("requires_dist", ()), extras)
    return found


def reach(machine: Pretended, everything: Versions, names: Iterable[str], needs: Needs) -> Versions:
    """Those of ``everything`` that these names need, and need in turn; their needs are added to ``needs``."""
    reached: Versions = {}
    todo = {normal(name) for name in names}
    while todo := {name for name in todo if name in everything and name not in reached}:
        reached |= {name: everything[name] for name in todo}
        # torch and what goes with it is never replaced, so nothing that it needs is either.
        unknown = {n: reached[n] for n in todo if n not in KEEP and reached[n] not in needs.get(n, {})}
        for name, versions in (needs_of(machine, unknown) if unknown else {}).items():
            needs.setdefault(name, {}).update(versions)
        for name in todo:
            machine.put(name, reached[name], needs.get(name, {}).get(reached[name], ()))
        todo = {normal(named(need)[0]) for name in todo for need in needs.get(name, {}).get(reached[name], ())}
    return reached


def refresh(platform: str, everything: Versions, python: str, adds: list[str], about: dict[str, str]) -> dict[str, Any]:
    """The record of an image."""
    wanted = lesson_requirements(ROOT / "requirements.txt")
    names, needs = [named(line)[0] for line in wanted], Needs()
    with tempfile.TemporaryDirectory() as work:
        machine = Pretended(Path(work, "image"), everything, {})
        if adds:
            reach(machine, everything, [*names, *(named(line)[0] for line in adds)], needs)
            for item in machine.resolve(*adds):
                about_one = item["metadata"]
                everything[normal(about_one["name"])] = about_one["version"]
        # torchao is no requirement, but PEFT looks at it and the setup cell removes an old one.
        packages = reach(machine, everything, [*names, *KEEP, "torchao"], needs)
        pinned = Path(work, "keep.txt")
        replaced = {normal(named(line)[0]) for line in lacking(wanted, everything)}
        for kept in (set(everything) - replaced, set(KEEP) & set(everything)):
            pinned.write_text("".join(f"{name}=={everything[name]}\n" for name in sorted(kept)))
            for name, versions in recorded(machine.resolve("-c", str(pinned), *wanted)).items():
                needs.setdefault(name, {}).update(versions)
        found = [normal(named(need)[0]) for vs in list(needs.values()) for ns in vs.values() for need in ns]
        packages |= reach(machine, everything, found, needs)
    return {**about, "python": python, "packages": dict(sorted(packages.items())), "needs": dict(sorted(needs.items()))}


def lacking(wanted: Iterable[str], packages: Versions) -> list[str]:
    """Requirements that an image does not satisfy."""
    from pip._vendor.packaging.specifiers import SpecifierSet

    def has(line: str) -> bool:
        name, specifier = named(line)
        version = packages.get(normal(name))
        return version is not None and SpecifierSet(specifier).contains(version, prereleases=True)

    return [line for line in wanted if not has(line)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("platform", choices=sorted(SOURCES))
    parser.add_argument("--list", type=Path, help="what `pip freeze` printed on the service")
    parser.add_argument("--python", help="with --list: the service's Python, as 3.12.13")
    parser.add_argument("--backend-info", default=SOURCES["colab"], help="address or clone of Colab's lists")
    parser.add_argument("--docker-python", default=SOURCES["kaggle"], help="address or clone of Kaggle's recipe")
    options = parser.parse_args()
    adds: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        if options.list:
            day, python = datetime.now(UTC).date().isoformat(), options.python or sys.version.split()[0]
            everything, source = parse_freeze(options.list.read_text()), "pip freeze on the service"
        elif options.platform == "colab":
            day, python, everything = colab_list(clone(options.backend_info, Path(work, "colab")))
            source = SOURCES["colab"]
        else:
            day, base, adds = kaggle_base(clone(options.docker_python, Path(work, "kaggle")))
            _, python, everything = colab_list(clone(options.backend_info, Path(work, "colab")), base)
            source = f"{SOURCES['kaggle']}: Colab's image of {base}, and {', '.join(adds)}"
    if python.split(".")[:2] != sys.version.split()[0].split(".")[:2]:
        print(f"{options.platform} has Python {python}: run this with Python {'.'.join(python.split('.')[:2])}")
        return 2
    found = refresh(options.platform, everything, python, adds, {"source": source, "date": day})
    file = Path(__file__).with_name(f"{options.platform}.json")
    file.write_text(compact(found), encoding="utf-8")
    print(f"{file.name}: {len(found['packages'])} packages of {day}, Python {python}")
    return 0


def compact(record: Mapping[str, Any]) -> str:
    """JSON with one package a line."""
    text = json.dumps({**record, "packages": None, "needs": None}, indent=1, ensure_ascii=False)
    for key in ("packages", "needs"):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in record[key].items())
        text = text.replace(f'"{key}": null', f'"{key}": {{\n{lines}\n }}')
    return text + "\n"


if __name__ == "__main__":
    sys.exit(main())
