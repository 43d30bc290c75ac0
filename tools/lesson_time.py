"""Predicted against recorded seconds of whole lessons: `python tools/lesson_time.py` (about a minute).

The records are those of `outputs/reference`, or of another folder of runs (`--runs outputs`). Predictions are for the
machine at hand, calibrated or not, so the plain ratio also says how much faster or slower the machine of the record
was. The last column takes that out: speeds are scaled so that the main training takes as long as it did. What is still
off there is work that the lesson's record does not list, or lists too often.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def records(folder: Path, profile: str) -> Iterator[dict[str, Any]]:
    """Finished runs of a profile below a folder, one a lesson."""
    found = {}
    for file in sorted(folder.rglob("run.json")):
        run = json.loads(file.read_text(encoding="utf-8"))
        if run["status"] == "finished" and run["settings"]["profile"] == profile:
            found[run["notebook"]] = run
    yield from found.values()


def compared(run: dict[str, Any]) -> dict[str, Any] | None:
    """A row for one recorded run; ``None`` for a lesson without work on record."""
    from helpers.config.settings import resolve
    from helpers.duration.forecast import lesson_time
    from helpers.machine import hardware
    from helpers.memory.lessons import lesson_jobs
    from helpers.memory.report import without_card

    spec, given = run["notebook"], run["settings"]
    machine = dataclasses.replace(without_card(hardware.probe()), dtype=run["hardware"]["dtype"])
    if "epochs" not in given:
        return None
    settings = resolve(spec, {"profile": given["profile"], "task": given["task"]}, machine)
    found = lesson_time(settings, machine, lesson_jobs(settings, machine))
    if found is None:
        return None
    recorded, trained = float(run["wall_time_s"]), run["notes"].get("cost", {}).get("train_seconds")
    besides = found.seconds.get("all else", 0.0)
    training = found.updates * found.update
    row = {
        "lesson": spec, "predicted": found.total, "recorded": recorded, "ratio": found.total / recorded,
        "training, predicted": training, "training, recorded": trained, "scaled ratio": None,
        "machine": run["hardware"]["device_name"],
    }  # fmt: skip
    if trained:
        row["scaled ratio"] = (besides + (found.total - besides) * trained / training) / recorded
    return row


def main() -> None:
    """Print a line a lesson."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="a folder of runs; default: outputs/reference/PROFILE")
    parser.add_argument("--profiles", nargs="+", default=["smoke", "cpu"])
    asked = parser.parse_args()
    for profile in asked.profiles:
        print(f"{profile:25} predicted  recorded  ratio   training: predicted  recorded   ratio at the record's speed")
        for run in records(asked.runs or ROOT / "outputs" / "reference" / profile, profile):
            if row := compared(run):
                trained, scaled = row["training, recorded"], row["scaled ratio"]
                print(
                    f"{row['lesson']:25} {row['predicted']:7.0f} s {row['recorded']:7.0f} s {row['ratio']:6.2f} "
                    f"{row['training, predicted']:19.0f} s {trained or 0:7.0f} s   {scaled or float('nan'):6.2f}   "
                    f"({row['machine']})"
                )


if __name__ == "__main__":
    main()
