"""Small records of finished runs under ``outputs/reference/``, and the tables that are made from them.

``collect`` keeps what a reader needs of each profile's default run: ``<profile>/<notebook>/`` with run.json,
metrics.json, history.csv and two figures. run.json also has the seconds of each cell, by which ``helpers run`` says how
long a lesson still takes. ``documents`` puts the numbers between the marks in README.md and in the notebooks. Nothing
of the machine's paths or names is kept.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers.config.checks import resolve_run_name
from helpers.config.lessons import LESSONS
from helpers.config.profiles import PROFILES
from helpers.config.settings import NOT_COMPARED
from helpers.errors import RunError
from helpers.files import repo_root, write_atomic
from helpers.reports import measured, results
from helpers.reports.documents import Document, with_sources
from helpers.runs import records
from helpers.runs.cells import RECORDED, seconds_of_cells
from helpers.runs.records import FINISHED, RunRecord
from helpers.sources.pictures import as_rgb

FOLDER = RECORDED
START, END = "<!-- recorded:start -->", "<!-- recorded:end -->"
COMMAND = "python -m helpers reference"
MAX_FIGURES, MAX_FIGURE_BYTES = 2, 60_000
# Number format of the records that tables show; where a profile has none here, each of its machines has its own.
USUAL_FORMAT = {"smoke": "float32", "cpu": "bfloat16"}
# What of run.json and of its parts is kept.
_KEPT = (
    "notebook", "run_name", "status", "finished", "wall_time_s", "energy", "peak_rss_gb", "peak_cuda_gb", "notes",
    "fallbacks", "git",
)  # fmt: skip
_KEPT_PARTS = {
    "versions": (
        "torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers", "numpy",
        "scikit-learn",
    ),
    "hardware": (
        "platform", "device", "device_name", "gpu_memory_gb", "gpu_count", "cpu_count", "cpu_isa",
        "torch_threads", "ram_gb", "dtype", "python",
    ),
}  # fmt: skip
_NEUTRAL = frozenset({"profile", "run_name", "output_dir", "checkpoint_dir", "resume", "check_memory"})
# An absolute path of two parts or more, on any system; not the tail of a web address or of "salt/pepper".
_PATH = re.compile(r"(?<![\w:/.~-])(?:~|[A-Za-z]:)?(?:[/\\][\w.@+ -]*[\w.@+-]){2,}[/\\]?")


def collect(output_dir: Path | str, root: Path | None = None) -> list[Path]:
    """Keep a small record of every default run in ``output_dir`` that finished; it replaces the earlier one.

    A default run is one whose settings are its profile's own: task, seed and all. Others are left out, so
    that an experiment does not become the course's published number.

    Returns:
        The record folders written, one a profile and notebook.

    Raises:
        RunError: a record cannot be read or written.
    """
    place = (root or repo_root()) / FOLDER
    return [_keep(record, place) for record in records.read_runs(output_dir) if is_default(record)]


def is_default(record: RunRecord) -> bool:
    """Whether a run finished and used its profile's default settings, so that its numbers may be shown."""
    spec = LESSONS.get(record.notebook)
    profile = record.info.get("settings", {}).get("profile")
    if spec is None or profile not in PROFILES or record.status != FINISHED:
        return False
    task = spec.tasks[0] if spec.tasks else "none"
    usual = resolve_run_name(None, profile, task, spec.parameters.get("seed"))
    return record.run_name == usual and set(record.info.get("given", ())) <= _NEUTRAL


def kept_as(info: Mapping[str, Any]) -> str:
    """Name of the folder that a record lies in: its profile, "cpu-float32" where it computed in another format.

    A bfloat16 product on a processor with the instructions for it and a float32 product on one without give other
    numbers and other times: neither record replaces the other.
    """
    profile, dtype = info.get("settings", {}).get("profile"), info.get("hardware", {}).get("dtype")
    return str(profile) if dtype in (None, USUAL_FORMAT.get(profile, dtype)) else f"{profile}-{dtype}"


def reduce_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """run.json without what belongs to the machine it ran on: no paths, host name or process."""
    kept = {name: info.get(name) for name in _KEPT}
    # Where a run lay and how it was begun say nothing about its result.
    dropped = NOT_COMPARED - {"run_name"}
    kept["settings"] = {name: value for name, value in info["settings"].items() if name not in dropped}
    for part, names in _KEPT_PARTS.items():
        kept[part] = {name: info[part][name] for name in names if name in info.get(part, {})}
    return dict(_without_paths(kept))


def read(root: Path | None = None) -> dict[tuple[str, str], RunRecord]:
    """The records by folder, which ``kept_as`` names, and notebook.

    Raises:
        RunError: a record is damaged, or lies in another folder than its settings say.
    """
    place = (root or repo_root()) / FOLDER
    found = {}
    for path in sorted(place.glob("*/*/run.json")):
        record = records.read_run(path.parent)
        folder, notebook = path.parent.parent.name, path.parent.name
        if (kept_as(record.info), record.notebook) != (folder, notebook):
            raise RunError(f"{path} is not a record of {folder} {notebook}", f"Remove it and run: {COMMAND}")
        found[folder, notebook] = record
    return found


def outdated(root: Path | None = None) -> list[str]:
    """Records made with settings that their profile no longer has, as "cpu 01_eda: n_eval 300, now 150"."""
    lines = []
    for (folder, notebook), record in read(root).items():
        profile = record.info["settings"]["profile"]
        now = LESSONS[notebook].defaults(profile) | PROFILES[profile].hidden() if notebook in LESSONS else {}
        now = {n: v for n, v in now.items() if v is not None and n not in (*_NEUTRAL, "dataset")}
        used = record.info["settings"]
        changed = [f"{n} {used[n]}, now {now[n]}" for n in used if n in now and used[n] != now[n]]
        lines += [f"{folder} {notebook}: {'; '.join(changed)}"] if changed else []
    return lines


def _keep(record: RunRecord, place: Path) -> Path:
    target = place / kept_as(record.info) / record.notebook
    figures = {path.stem: path for path in sorted((record.folder / "figures").glob("*.png"))}
    chosen = [name for name in LESSONS[record.notebook].figures if name in figures] or list(figures)
    kept: dict[str, bytes | str] = {
        f"figures/{figures[name].name}": small_picture(figures[name]) for name in chosen[:MAX_FIGURES]
    }
    info = reduce_info(record.info)
    if seconds := seconds_of_cells(record.folder / "notebook.ipynb"):
        info["cell_seconds"] = {cell: round(took, 2) for cell, took in seconds.items()}
    kept["run.json"] = records.to_json(info) + "\n"
    kept["metrics.json"] = records.to_json(_without_paths(record.metrics)) + "\n"
    if (history := record.folder / "history.csv").is_file():
        kept["history.csv"] = history.read_bytes()
    if target.exists():
        shutil.rmtree(target)
    for file, data in kept.items():
        write_atomic(target / file, data)
    return target


def small_picture(path: Path, limit: int = MAX_FIGURE_BYTES) -> bytes:
    """A PNG of at most ``limit`` bytes: fewer colours first, then fewer pixels; as it is when small enough."""
    from PIL import Image

    data = path.read_bytes()
    with Image.open(path) as opened:
        picture = as_rgb(opened)
    colours = 256
    while len(data) > limit and min(picture.size) > 1:
        if colours < 32:
            picture, colours = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5)), 256
        reduced = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(reduced, format="png", optimize=True)
        data, colours = reduced.getvalue(), colours // 2
    return data


def _without_paths(value: Any) -> Any:
    """``value`` with every absolute path cut down to its last part."""
    if isinstance(value, str):
        return _PATH.sub(lambda match: re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], value)
    if isinstance(value, Mapping):
        return {_without_paths(key): _without_paths(item) for key, item in value.items()}
    return [_without_paths(item) for item in value] if isinstance(value, list) else value


def documents(root: Path | None = None) -> Iterator[Document]:
    """README.md and the notebooks, with tables that say what the records say.

    Raises:
        RunError: a file or its marks are missing.
    """
    root = root or repo_root()
    found = read(root)
    readme = Document(root / "README.md")
    text = replace_block(readme.current, results.readme_block(found, FOLDER), "README.md")
    if measured.MARKS[0] in text:
        text = replace_block(text, measured.block(root), "README.md", measured.MARKS)
    yield readme.but(text)
    for name in LESSONS:
        notebook = Document(root / "notebooks" / f"{name}.ipynb")
        yield notebook.but(notebook_text(notebook.current, results.notebook_block(name, found), notebook.path.name))


def replace_block(text: str, block: str, where: str, marks: tuple[str, str] = (START, END)) -> str:
    """``text`` with ``block`` between its marks.

    Raises:
        RunError: the marks are not there exactly once.
    """
    start, end = marks
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise RunError(f"{where} has no single pair of {start} and {end}", "Put them where the table belongs")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{block}\n{end}{rest.partition(end)[2]}"


def notebook_text(raw: str, block: str, where: str) -> str:
    """A notebook's JSON text with ``block`` between the marks of its one marked cell, otherwise unchanged.

    Raises:
        RunError: no cell has the marks, or several have.
    """
    cells = [(i, "".join(cell["source"])) for i, cell in enumerate(json.loads(raw)["cells"])]
    marked = [(i, text) for i, text in cells if START in text]
    if len(marked) != 1:
        raise RunError(f"{where} has {len(marked)} cells with {START}", "One Markdown cell holds the table")
    return with_sources(raw, {i: replace_block(text, block, where) for i, text in marked})
