"""What the benchmarks share: ways that take turns, what machine it was, a record as JSON and a picture.

The ways of a measurement do the same work in one process. They take turns, A B C C B A A B C …, so that a busy machine
slows all of them, and a ratio is that of two medians.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that a benchmark runs from a plain checkout

OURS = "ours"
MAY_BE_NONE = ("updates",)  # numbers with which 0 leaves a part of a benchmark out
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
Way = Callable[[], float]  # does its work once and says how many seconds of it count


def arguments(description: str, **more: tuple[int, str]) -> argparse.Namespace:
    """The options that every benchmark has, and whole numbers of its own: name -> (default, help)."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--model", default=SMOLLM2, help="tiny/NAME, a local folder or a Hub id")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way that count")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="the machine's own when left out")
    parser.add_argument("--keep", action="store_true", help="write the record to outputs/reference/bench")
    parser.add_argument("--output-dir", type=Path, help="folder of the record and its picture")
    for name, (default, told) in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=told)
    options = parser.parse_args()
    for name in ("repeats", *more):
        if getattr(options, name) < (least := int(name not in MAY_BE_NONE)):
            parser.error(f"--{name.replace('_', '-')} is at least {least}")
    return options


def machine_of(options: argparse.Namespace) -> Any:
    """This machine, computing in the format that was asked for."""
    import dataclasses

    from helpers.machine import hardware

    machine = hardware.probe()
    return dataclasses.replace(machine, dtype=options.dtype) if options.dtype else machine


def take_turns(ways: Mapping[str, Way], repeats: int) -> dict[str, list[float]]:
    """Seconds of each turn of each way, after one turn of each that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name in ways if number % 2 else reversed(ways):
            gc.collect()
            took = ways[name]()
            if number:
                seconds[name].append(took)
    return seconds


def compared(seconds: Mapping[str, list[float]], work: float, unit: str) -> dict[str, Any]:
    """Medians, spread, and each way's time as a multiple of ours.

    Args:
        seconds: way -> its turns.
        work: how much is done in a turn, in ``unit``.
    """
    ours = statistics.median(seconds[OURS])
    return {
        name: {
            "seconds": [round(value, 3) for value in turns],
            "median_s": round(statistics.median(turns), 3),
            f"{unit}_per_s": round(work / statistics.median(turns), 3),
            "spread": round((max(turns) - min(turns)) / statistics.median(turns), 3),
            "times_ours": round(statistics.median(turns) / ours, 3),
        }
        for name, turns in seconds.items()
    }


def report(name: str, options: argparse.Namespace, dtype: str, **found: Any) -> Path:
    """Write ``NAME-MODEL-DTYPE-ISA.json``, with the machine and the versions, and print where.

    Args:
        found: the results; ``ways`` is what ``compared`` gave and becomes a picture.
    """
    import torch

    from helpers.config import settings
    from helpers.files import write_atomic
    from helpers.machine import hardware
    from helpers.runs import display, records

    machine = hardware.probe()
    record = {
        "benchmark": name,
        "model": options.model,
        "dtype": dtype,
        "device": machine.device_name,
        "isa": isa(),
        "threads": torch.get_num_threads(),
        "cores": machine.cpu_count,
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {n: machine.versions.get(n) for n in ("torch", "transformers", "peft", "trl", "bitsandbytes")},
        **found,
    }
    folder = options.output_dir or settings.default_output_dir() / "benchmarks"
    if options.keep:
        folder = ROOT / "outputs" / "reference" / "bench"
    words = (name, Path(options.model).name.lower(), dtype, record["isa"])
    path = folder / ("-".join(words).replace("_", "-") + ".json")
    write_atomic(path, records.to_json(record) + "\n")
    if "ways" in found:
        _picture(record, path.with_suffix(".png"))
    for way, row in found.get("ways", {}).items():
        rate = next(f"{value:.1f} {key.replace('_per_s', '/s')}" for key, value in row.items() if key.endswith("per_s"))
        print(f"{way:<28} {row['median_s']:8.2f} s  {rate:>22}  {row['times_ours']:5.2f} x ours", flush=True)
    print(f"{dtype}, {record['isa']}, {record['threads']} threads; {display.short_path(path)}")
    return path


def isa() -> str:
    """The instruction set that products run on: oneDNN's, where it is told to stay below the processor's."""
    from helpers.machine import hardware

    told = os.environ.get("DNNL_MAX_CPU_ISA") or os.environ.get("ONEDNN_MAX_CPU_ISA")
    return (told or hardware.probe().cpu_isa or "unknown").lower()


def _picture(record: Mapping[str, Any], path: Path) -> None:
    """A bar for each way: median seconds, with a dot for each turn."""
    from helpers.files import write_atomic
    from helpers.plots.style import GREY, panels

    ways, picture = record["ways"], io.BytesIO()
    with panels((6, 0.8 + 0.45 * len(ways))) as (figure, (axes,)):
        axes.barh(list(ways), [row["median_s"] for row in ways.values()], color=GREY, alpha=0.5)
        for place, row in enumerate(ways.values()):
            axes.plot(row["seconds"], [place] * len(row["seconds"]), "k.", markersize=4)
        axes.invert_yaxis()
        axes.set_xlabel(f"seconds a turn; {record['dtype']}, {record['isa']}, {record['threads']} threads")
        figure.savefig(picture, format="png", dpi=80)
    write_atomic(path, picture.getvalue())
