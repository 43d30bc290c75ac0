"""Predicted against measured seconds of a step on this CPU: `python benchmarks/planned_time.py` (about eight minutes).

For each configuration the step's operations are measured one at a time, at most a few seconds for all (what `python -m
helpers plan --calibrate` does), and from these the step is predicted. Before and after that the real step is run, with
random weights where a model is not in the repository; its fastest parts count. Four predictions
stand beside what was measured:

- own: every operation at its own size, as after `plan --calibrate` of the same lesson
- other: by a calibration of 20 seconds at other lengths and batches
- 6ND: 6 x parameters x tokens at the peak of a large product on this machine
- ftuneai: the same times 0.75 for LoRA at 0.30 (QLoRA) or 0.35 of the peak, the constants of ftuneai 0.4

Error: predicted / measured - 1. The table goes to outputs/reference/time/ with the machine's name.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import functools
import json
import re
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PHI: dict[str, Any] = {"step": "classify", "targets": "q_proj+v_proj+fc1+fc2"}
SEES: dict[str, Any] = {"step": "vision", "targets": "q_proj+v_proj", "labelled": 32, "pixels": 48 * 48}
START, END = "<!-- predicted-time:start -->", "<!-- predicted-time:end -->"
GOAL = {"median": 0.10, "worst": 0.25}


def jobs(dtype: str) -> list[Any]:
    """What is compared: models, ways to store and adapt them, lengths from 32 to 512, batches from 1 to 16."""
    from helpers.memory import Job

    cpu: dict[str, Any] = {"device": "cpu", "dtype": dtype}
    whole: dict[str, Any] = cpu | {"quant": "none"}
    again = {"checkpointing": True}
    tiny = [
        Job("tiny/llama", batch_size=rows, length=length, labelled=length // 4, **more)
        for rows, length, more in (
            (1, 32, whole), (8, 128, whole), (8, 128, whole | again), (4, 512, whole), (16, 64, cpu), (8, 192, cpu),
            (8, 192, cpu | again), (2, 512, cpu),
        )
    ]  # fmt: skip
    tiny += [
        Job("tiny/phi", quant=quant, batch_size=rows, length=length, **PHI, **cpu, **more)
        for quant, rows, length, more in (
            ("nf4", 16, 64, {}), ("nf4", 16, 128, {}), ("nf4", 4, 128, again), ("none", 8, 256, {}),
        )
    ]  # fmt: skip
    tiny += [
        Job("tiny/qwen2_vl", batch_size=4, length=160, **SEES, **whole),
        Job("tiny/paligemma", batch_size=8, length=128, **SEES, **whole),
        Job("tiny/paligemma", batch_size=4, length=256, checkpointing=True, **SEES, **whole),
        Job("tiny/blip2", batch_size=4, length=60, **SEES, **whole),
        Job("tiny/clip", step="contrast", method="soft", batch_size=64, length=12, **whole | {"dtype": "float32"}),
    ]
    smol = [
        Job(SMOL, batch_size=rows, length=length, labelled=max(8, length // 4), **more)
        for rows, length, more in (
            (1, 32, cpu), (4, 64, cpu), (8, 128, cpu), (2, 256, cpu), (1, 512, cpu), (4, 128, cpu | again),
            (2, 128, whole), (8, 64, whole), (1, 512, whole | again),
        )
    ]  # fmt: skip
    smol += [
        Job(SMOL, step="classify", quant="nf4", batch_size=rows, length=length, **cpu)
        for rows, length in ((16, 32), (16, 64), (4, 128))
    ]
    smol.append(Job(SMOL, batch_size=2, length=128, labelled=32, quant="none", device="cpu", dtype="float32"))
    return tiny + smol


def elsewhere(dtype: str) -> list[Any]:
    """What the calibration of column "other" measures: the same models at other lengths and batches."""
    from helpers.memory import Job

    cpu: dict[str, Any] = {"device": "cpu", "dtype": dtype}
    return [
        Job("tiny/llama", batch_size=6, length=96, labelled=24, **cpu),
        Job("tiny/phi", quant="nf4", batch_size=8, length=96, **PHI, **cpu),
        Job("tiny/qwen2_vl", quant="none", batch_size=3, length=120, **SEES, **cpu),
        Job(SMOL, batch_size=6, length=96, labelled=24, **cpu),
        Job(SMOL, batch_size=1, length=320, labelled=80, **cpu),
    ]


def compare(rates: Any, other: Any, wanted: list[Any], say: bool = True) -> list[dict[str, Any]]:
    """A row a job: what was done, predicted and measured seconds, and the errors of the predictions."""
    import torch

    from benchmarks.random_models import load_random
    from helpers.duration import calibrate, predict
    from helpers.duration.measure import measure_step
    from helpers.memory.measure import load

    rows, loaded = [], (None, None)
    for job in wanted:
        if job.model == SMOL:
            same = job.but(batch_size=1, length=1, labelled=1)
            if loaded[0] != same:
                loaded = (None, None)
                loaded = (same, load_random(job, torch.device("cpu")))
            model = loaded[1]
        else:
            model = load(job)
        first = measure_step(job, model, times=3, most=5.0)  # before and after: a shared machine's speed drifts
        began = time.perf_counter()
        calibrate.measure_operations(job, rates)
        own = predict.step_time(job, rates)
        seconds = time.perf_counter() - began
        second = measure_step(job, model, times=3, most=5.0)
        spent = {where: min(first[where], second[where]) for where in first}
        measured = sum(spent.values())
        kind = "qlora" if job.quant.startswith("nf4") else job.method
        naive = 6 * parameters(job.model) * job.batch_size * job.length / other.peaks[job.dtype]
        shares = 0.75 / {"qlora": 0.30}.get(kind, 0.35)
        rough = predict.step_time(job, other).total
        rows.append(
            {
                "model": job.model.split("/")[-1], "step": job.step, "kind": kind, "dtype": job.dtype,
                "rows": job.batch_size, "tokens": job.length, "again": job.checkpointing,
                "measured_s": round(measured, 4), "predicted_s": round(own.total, 4),
                "own": round(own.total / measured - 1, 3), "other": round(rough / measured - 1, 3),
                "6ND": round(naive / measured - 1, 3), "ftuneai": round(naive * shares / measured - 1, 3),
                "calling": round(sum(own.calls.values()) / own.total, 2),
                "forward": round((own.reading) / spent["forward"] - 1, 3),
                "backward": round(own.spent("again", "backward") / spent["backward"] - 1, 3),
                "planning_s": round(seconds, 1),
            }
        )  # fmt: skip
        if say:
            print("  ".join(f"{value!s:<{max(6, len(name))}}" for name, value in rows[-1].items()), flush=True)
    return rows


@functools.cache
def parameters(model: str) -> int:
    """Parameters of a model, as its architecture has them."""
    from transformers import AutoModel

    from helpers.models.skeletons import configuration, skeleton

    kind = AutoModel if configuration(model).model_type == "clip" else None
    return sum(p.numel() for p in skeleton(model, kind).parameters())


def summary(rows: list[dict[str, Any]], column: str) -> dict[str, float]:
    """Of a column of errors: the median and the largest."""
    errors = [abs(row[column]) for row in rows]
    return {"n": len(errors), "median": round(median(errors), 3), "worst": round(max(errors), 3)}


def table(record: dict[str, Any]) -> str:
    """The block of README between its marks: errors of all configurations and, by kind, of some."""
    errors = record["errors"]
    said = {
        "own": "operations measured at the step's own sizes", "other": "calibrated at other lengths and batches",
        "6ND": "6 × parameters × tokens / peak",
        "ftuneai": "the same × 0.75 / 0.30 (LoRA in 16 bits: / 0.35), as ftuneai 0.4 computes it",
    }  # fmt: skip
    lines = [
        f"{errors['own']['n']} configurations on {record['cpu']} ({record['isa'].upper().replace('_', '-')}, "
        f"{record['threads']} thread{'s' * (record['threads'] > 1)}, {record['clock']} time, {record['date']}):", "",
        "| predicted | error, median | worst |", "|---|---|---|",
    ]  # fmt: skip
    lines += [f"| {said[name]} | {row['median']:.1%} | {row['worst']:.1%} |" for name, row in errors.items()]
    lines += [
        "",
        "| model | step | kind | format | rows × tokens | measured | predicted | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        kind = row["kind"] + (", checkpointing" if row["again"] else "")
        lines.append(
            f"| {row['model']} | {row['step']} | {kind} | {row['dtype']} | {row['rows']} × {row['tokens']} | "
            f"{row['measured_s']:.3g} s | {row['predicted_s']:.3g} s | {row['own']:+.0%} |"
        )
    return "\n".join(lines)


def write_readme(record: dict[str, Any]) -> None:
    """Put the table into README."""
    file = ROOT / "README.md"
    text = file.read_text(encoding="utf-8")
    before, rest = text.split(START)
    file.write_text(f"{before}{START}\n{table(record)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    import torch

    from helpers.duration import calibrate, timing
    from helpers.machine import hardware

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="numbers of configurations, separated by commas; nothing is kept then")
    parser.add_argument("--processor-time", action="store_true", help="one thread's, on a machine that others use too")
    arguments = parser.parse_args()
    if arguments.processor_time:
        torch.set_num_threads(1)
        timing.use("processor")
    machine = hardware.probe()
    began = time.perf_counter()
    rates = calibrate.basics()
    basics_s = time.perf_counter() - began
    other = calibrate.calibrate(elsewhere(machine.dtype), calibrate.BUDGET - basics_s, copy.deepcopy(rates))
    print(f"{machine}; peak {other.peaks}, {other.bandwidth / 1e9:.1f} GB/s, calls {other.overhead}, {other.unpacking}")
    wanted = jobs(machine.dtype)
    if arguments.only:
        wanted = [wanted[int(number)] for number in arguments.only.split(",")]
    rows = compare(rates, other, wanted)
    found = {column: summary(rows, column) for column in ("own", "other", "6ND", "ftuneai")}
    print("\n".join(f"{name}: {values}" for name, values in found.items()))
    if not arguments.only:
        folder = ROOT / "outputs" / "reference" / "time"
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", machine.device_name.lower()).strip("-")
        record = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "machine": str(machine),
            "cpu": machine.device_name, "isa": machine.cpu_isa, "threads": torch.get_num_threads(),
            "torch": torch.__version__, "clock": "processor" if arguments.processor_time else "wall",
            "peaks": other.peaks, "bandwidth": other.bandwidth, "overhead": other.overhead, "errors": found,
            "rows": rows,
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        write_readme(record)
    return int(found["own"]["median"] > GOAL["median"] or found["own"]["worst"] > GOAL["worst"])


if __name__ == "__main__":
    sys.exit(main())
