"""Many runs side by side: which can be compared, their systems and tests in one table, seeds, costs, learning curves.

Everything here reads records; nothing is measured again.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.config.settings import NOT_COMPARED
from helpers.errors import RunError
from helpers.evaluation.statistics import holm
from helpers.files import repo_root
from helpers.runs.display import computed_in, duration, p_text, peak_memory, test_row
from helpers.runs.records import FINISHED, RunRecord, read_runs

if TYPE_CHECKING:
    import pandas as pd

Entry = dict[str, Any]  # {"value", "low", "high", "n"} of metrics.json

# Settings that may differ between runs of one experiment with several seeds.
OF_A_SEED = NOT_COMPARED | {"seed"}
_OF_AN_AMOUNT = OF_A_SEED | {"n_train", "n_text"}


def find(folder: Path | str, profile: str, own: str = "") -> tuple[list[RunRecord], list[str]]:
    """The finished runs of one profile under a folder of runs, and one line for each that is left out.

    Args:
        folder: holds ``<notebook>/<run_name>/run.json``.
        profile: runs of other profiles used other models and data, and are not compared.
        own: notebook whose runs are not looked at (the comparing one).

    Raises:
        RunError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise RunError(f"there is no folder {folder}", "Give the folder that holds the runs, or run a lesson first")
    kept, left_out = [], []
    for record in read_runs(folder):
        if record.notebook == own:
            continue
        name = f"{record.notebook}/{record.run_name}"
        used = record.info.get("settings", {}).get("profile")
        if record.status != FINISHED:
            left_out.append(f"{name}: {record.status}")
        elif used != profile:
            left_out.append(f"{name}: profile {used}")
        else:
            kept.append(record)
    return kept, left_out


def recorded(profile: str, own: str = "") -> list[RunRecord]:
    """The small records that come with the course; those of profile ``cpu`` where ``profile`` has none.

    They hold numbers, but no single answers.
    """
    place = repo_root() / "outputs" / "reference"
    found = {name: find(place, name, own)[0] for name in (profile, "cpu")}
    # The same lesson in another number format lies in a folder of its own, and is not another experiment.
    kept = {name: [r for r in records if r.folder.parent.name == name] for name, records in found.items()}
    return kept[profile] or kept["cpu"]


def labels(records: Sequence[RunRecord]) -> list[str]:
    """A short name for each run: "04", or "04 cpu-recipes-seed1" where there are several of a lesson."""
    counted = Counter(record.notebook for record in records)
    return [r.number + (f" {r.run_name}" if counted[r.notebook] > 1 else "") for r in records]


def labelled(records: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """The runs by their short names."""
    return dict(zip(labels(records), records, strict=True))


def differing(records: Sequence[RunRecord], same: frozenset[str] = OF_A_SEED) -> list[str]:
    """Settings that were set for one of these runs and are not the same in all, the task first.

    Args:
        same: settings that are not looked at.
    """
    given = [name for record in records for name in record.info.get("given", ())]
    names = [name for name in dict.fromkeys(["task", *given]) if name not in same | {"profile"}]
    values = {name: {repr(record.info["settings"].get(name)) for record in records} for name in names}
    return [name for name in names if len(values[name]) > 1]


def told_apart(records: Sequence[RunRecord], same: frozenset[str] = OF_A_SEED) -> list[str]:
    """What makes each run another one than those of the same lesson: "snli lora_r=4"; "" where nothing does."""
    names = {
        notebook: differing([record for record in records if record.notebook == notebook], same)
        for notebook in {record.notebook for record in records}
    }
    found = [{name: record.info["settings"].get(name) for name in names[record.notebook]} for record in records]
    return [" ".join(str(v) if name == "task" else f"{name}={v}" for name, v in row.items()) for row in found]


def overview(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row a run: what was run on what, what runs of one lesson differ in, and what it took."""
    import pandas as pd

    columns = {"model": "model_id"} | {name: name for name in ("task", "n_train", "n_eval", "seed")}
    lessons = [[r for r in records if r.notebook == name] for name in dict.fromkeys(r.notebook for r in records)]
    further = dict.fromkeys(name for of_one in lessons for name in differing(of_one) if name not in columns.values())
    columns |= {name: name for name in further}
    rows = {}
    for label, record in labelled(records).items():
        rows[label] = {name: record.info["settings"].get(key, "–") for name, key in columns.items()}
        memory = peak_memory(record.info).partition(",")[0]  # of the GPU where there is one
        rows[label] |= {"time": duration(record.info["wall_time_s"]), "peak memory": memory}
        rows[label]["computed in"] = computed_in(record.info.get("hardware", {}))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def systems(records: Sequence[RunRecord]) -> dict[str, dict[str, Entry]]:
    """Every system of every run, as "04 · qlora" → its metrics; rows without metrics are left out."""
    return {
        f"{label} · {name}": metrics
        for label, record in labelled(records).items()
        for name, metrics in record.systems.items()
        if metrics
    }


def tests(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Every paired test of every run, with ``run`` and ``p_holm``: p corrected for all tests of the list."""
    rows: list[dict[str, Any]] = [
        {"run": label} | test | {"p_holm": None} for label, record in labelled(records).items() for test in record.tests
    ]
    known = [row for row in rows if row["p_value"] is not None]
    for row, corrected in zip(known, holm([row["p_value"] for row in known]) if known else [], strict=True):
        row["p_holm"] = float(corrected)
    return rows


def tests_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of ``tests`` for reading, in order of p."""
    import pandas as pd

    made = []
    for row in sorted(rows, key=lambda r: (r["p_value"] is None, r["p_value"])):
        cells = {"run": row["run"]} | test_row(row)
        test = cells.pop("test").partition(",")[0]
        made.append(cells | {"p (Holm)": p_text(row["p_holm"]), "test": test})
    return pd.DataFrame(made)


def by_seed(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs that differ in nothing but the seed, two seeds at least, each group in order of its seeds."""
    groups = []
    for group in _grouped(records, OF_A_SEED):
        one_each = {r.info["settings"].get("seed", 0): r for r in sorted(group, key=lambda r: r.run_name)}
        groups.append([one_each[seed] for seed in sorted(one_each)])
    return [group for group in groups if len(group) > 1]


def learning_curves(records: Sequence[RunRecord], metric: str = "accuracy") -> dict[str, dict[int, Entry]]:
    """``{label: {training examples: estimate}}``: curves that a lesson recorded, and runs that differ in n_train."""
    curves = {}
    for label, record in labelled(records).items():
        noted = record.notes.get("learning_curve", {}).get(metric)
        if noted:
            curves[label] = {int(n): entry for n, entry in noted.items()}
    groups = _grouped(records, _OF_AN_AMOUNT)
    apart = told_apart([group[0] for group in groups], _OF_AN_AMOUNT)
    for group, which in zip(groups, apart, strict=True):
        amounts = {r.info["settings"].get("n_train"): r for r in group}
        for name in group[0].systems if len(amounts) > 1 else ():
            points = {n: r.systems.get(name, {}).get(metric) for n, r in sorted(amounts.items())}
            if all(points.values()):
                label = " · ".join(filter(None, (group[0].number, which, name)))
                curves[label] = {int(n): dict(e) for n, e in points.items() if e}
    return curves


def points(records: Sequence[RunRecord], metric: str = "accuracy") -> dict[str, Entry]:
    """What lessons noted of single trainings: name → an estimate with ``train_seconds`` (0 for untrained systems) and
    ``task``; quality compares within a task only."""
    return {
        f"{label} · {point['name']}": point | {"task": record.info["settings"].get("task")}
        for label, record in labelled(records).items()
        for point in record.notes.get("points", [])
        if point["metric"] == metric
    }


def paired_answers(record: RunRecord, kind: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of predictions.jsonl that hold two systems' answers, by form of the task; none where it was not kept.

    Args:
        kind: "choice" or "generation", as in ``Task.forms``.

    Returns:
        ``{form: rows}``, each with ``input, reference, prediction`` and ``baseline``.
    """
    from helpers import tasks

    path, name = record.folder / "predictions.jsonl", record.info["settings"].get("task")
    if not path.is_file() or not name:
        return {}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold other signs that end lines
    for row in map(json.loads, filter(None, lines)):
        if "baseline" in row and tasks.get(name).forms.get(str(row.get("form"))) == kind:
            found[row["form"]].append(row)
    return found


def pareto(found: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the (cost, quality) points that no other beats: none is as cheap and better, or cheaper and as good."""
    return [
        name
        for name, (cost, quality) in found.items()
        if not any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in found.values())
    ]


def _grouped(records: Sequence[RunRecord], ignoring: frozenset[str]) -> list[list[RunRecord]]:
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        kept = {k: v for k, v in record.info["settings"].items() if k not in ignoring}
        groups[repr((record.notebook, sorted(kept.items())))].append(record)
    return list(groups.values())
