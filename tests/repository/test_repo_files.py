"""The files around the code agree with each other, and carry nothing of the machine they were written on."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import helpers

ROOT = Path(__file__).resolve().parents[2]
# Imported name -> name of the package, where they differ.
PACKAGE_OF = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow"}
# Imported only where the service, the kernel or Python itself brings it.
BROUGHT = {"IPython", "google", "kaggle_secrets", "kagglehub", "pip"}
# Packages that are used without an import of ours: readers, kernels, tools.
SILENT = {"bitsandbytes", "accelerate", "sentencepiece", "gguf", "ipykernel", "jupyter", "ruff", "mypy"}
SILENT |= {"import-linter", "pytest-xdist"}


def requirements(text: str) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}


WANTED = requirements((ROOT / "requirements.txt").read_text())
PINNED = requirements((ROOT / "constraints.txt").read_text())


def tracked_files() -> list[Path]:
    """Files that are or would be in git."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for file in tracked_files():
        try:
            yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_every_requirement_is_a_range() -> None:
    for requirement in WANTED.values():
        operators = {spec.operator for spec in requirement.specifier}
        assert ">=" in operators, f"{requirement} has no lower bound"
        assert "==" not in operators, f"{requirement} belongs into constraints.txt"
    assert Version("2.14.0") not in WANTED["torch"].specifier


def test_constraints_are_exact_and_satisfy_the_ranges() -> None:
    for name, pin in PINNED.items():
        (spec,) = pin.specifier
        assert spec.operator == "==" and "+" not in spec.version and not pin.url, f"{pin} is not an exact pin"
        if name in WANTED:
            assert Version(spec.version) in WANTED[name].specifier, f"{pin} is outside {WANTED[name]}"
    assert set(WANTED) <= set(PINNED), "requirements without a pin"


def test_constraints_cover_everything_that_is_installed_for_the_requirements() -> None:
    """Nothing that pip would pull in is left to chance."""
    todo, seen = list(WANTED.values()), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        # torch's GPU libraries differ from build to build; setuptools is the venv's own.
        if not name.startswith(("nvidia-", "cuda-", "triton")) and name != "setuptools":
            assert name in PINNED, f"{name} has no pin"
        try:
            needs = metadata.requires(requirement.name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            extras = requirement.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(need)


def test_environment_yml_holds_the_same_packages() -> None:
    parsed = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [entry for entry in parsed["dependencies"] if isinstance(entry, str)]
    (by_pip,) = [entry["pip"] for entry in parsed["dependencies"] if isinstance(entry, dict)]
    assert requirements("\n".join(by_pip)) == WANTED
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"python{project['requires-python']}" in plain


def test_pyproject() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert config["project"]["name"] == "peft-lab"
    assert Version(helpers.__version__)
    assert config["tool"]["setuptools"]["dynamic"]["dependencies"]["file"] == ["requirements.txt"]
    assert config["tool"]["ruff"]["line-length"] == 120
    module, _, function = config["project"]["scripts"]["peft-lab"].partition(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_python_versions_agree() -> None:
    from helpers.machine.problems import PYTHON_MAX, PYTHON_MIN

    low, high = ("{}.{}".format(*version) for version in (PYTHON_MIN, PYTHON_MAX))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={low},<{PYTHON_MAX[0]}.{PYTHON_MAX[1] + 1}"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert (versions[0], versions[-1]) == (low, high)
    assert f"({PYTHON_MIN[0]}, {PYTHON_MIN[1]}) <= sys" in (ROOT / "Makefile").read_text()


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_every_import_is_a_requirement_and_the_other_way_round() -> None:
    files = [p for folder in ("helpers", "tools", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    own = {"helpers", "tools", "benchmarks"} | {p.stem for p in files}
    used: set[str] = set()
    for file in files:
        foreign = imported(file) - set(sys.stdlib_module_names) - own - BROUGHT
        packages = {canonicalize_name(PACKAGE_OF.get(name, name)) for name in foreign}
        missing = packages - set(WANTED)
        assert not missing, f"{file.relative_to(ROOT)} imports {sorted(missing)}, absent from requirements.txt"
        used |= packages
    idle = set(WANTED) - used - SILENT
    notebooks = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "notebooks").glob("*.ipynb"))
    assert not {name for name in idle if name.replace("-", "_") not in notebooks}, f"never used: {sorted(idle)}"


def places() -> list[str]:
    """Folders of the machine the tests run on, as they would stand in a careless file."""
    folders = {ROOT.parent, Path.home()} - {Path(tempfile.gettempdir())}
    return sorted(f"{folder}/" for folder in folders if len(folder.parts) > 1)


def test_no_trace_of_the_machine() -> None:
    index_hosts = re.compile(r"\b(pypi|pythonhosted|npmjs)\.(org|io|com)\b")
    found = []
    for name, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            if index_hosts.search(line) or any(re.search(rf"(?<![\w.]){re.escape(p)}", line) for p in places()):
                found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert not found, found[:10]


def test_large_files_stay_out() -> None:
    large = [
        f"{p.relative_to(ROOT)} {p.stat().st_size / 1e6:.1f} MB" for p in tracked_files() if p.stat().st_size > 2.2e6
    ]
    assert not large, large


def test_gitignore_keeps_records_and_drops_runs() -> None:
    def ignored(path: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0

    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode != 0:
        pytest.skip("not a git checkout")
    assert ignored("outputs/04_qlora_instruct/run/run.json") and ignored("outputs/benchmarks/x.json")
    assert ignored(".venv/x") and ignored("a/__pycache__/x")
    assert not ignored("outputs/reference/cpu/04/figures/training.png") and not ignored("outputs/.gitkeep")
    assert not ignored("helpers/models/tiny/llama/model.safetensors")


def test_makefile_explains_itself_and_every_target_of_the_readme_exists() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    targets = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    assert {"run", "test", "bench", "clean", "help", "assets", "doctor"} <= targets
    readme = ROOT / "README.md"
    if readme.is_file():
        for target in re.findall(r"`make ([a-z]+)", readme.read_text(encoding="utf-8")):
            assert target in targets, f"README names make {target}"


def make_says(*arguments: str) -> str:
    return subprocess.run(
        ["make", "-n", "-W", "requirements.txt", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_make_run_fetches_assets_unless_smoke(tmp_path: Path) -> None:
    venv = f"VENV={tmp_path / 'venv'}"
    said = make_says("run", venv)
    assert "-r requirements.txt -c constraints.txt" in said
    assert f"{tmp_path}/venv/bin/python -m helpers assets" in said
    assert "-m helpers run 00 01 02 03 --profile cpu --time 10m" in said
    said = make_says("run", venv, "PROFILE=smoke")
    assert "helpers assets" not in said and "--time" not in said
    said = make_says("run", venv, "NB=04", "TIME=1h", "ARGS=-p lora_r 8 -p epochs 1")
    assert "-m helpers run 04 --profile cpu --time 1h -p lora_r 8 -p epochs 1" in said


def test_make_names_the_pythons_it_can_use(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "venv", f"PY={old}", f"VENV={tmp_path / 'venv'}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0 and "not Python 3.11, 3.12 or 3.13" in done.stderr


def test_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^make test\b", script.read_text(), re.M)


def test_import_is_light() -> None:
    """`import helpers` and rooms that work without a model load no heavy library; the package alone in 0.3 s."""
    rooms = ("sources", "machine", "progress", "config", "runs", "reports")
    files = (path.relative_to(ROOT / "helpers") for room in rooms for path in (ROOT / "helpers" / room).rglob("*.py"))
    below = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    below += ["errors", "files", "hints", "hosted", "tasks", "training", "memory", "evaluation.statistics"]
    code = "import sys, time; t = time.perf_counter(); import helpers; t = time.perf_counter() - t\n"
    code += "".join(f"import helpers.{name}\n" for name in below)
    code += "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'matplotlib'}\n"
    code += "print(t, *sorted({name.partition('.')[0] for name in sys.modules} & heavy))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, *heavy = done.stdout.split()
    assert heavy == []
    assert float(seconds) < 0.3
