"""Planned against measured memory: `python benchmarks/planned_memory.py` (a few minutes).

On a CPU: one step of small models on real tensors, measured by PyTorch's profiler, beside the plan of the same step on
fake ones; also SmolLM2-135M, with random weights. On a GPU: two steps of the taught models with random weights, and
`torch.cuda.max_memory_allocated` beside the plan; the table goes to outputs/reference/memory/ with the device's name
and the date. Ratio: planned / measured. Seconds: what planning took.

With --published it measures nothing: it plans the jobs whose memory others have published (some minutes), prints the
plans beside those figures, and keeps them in helpers/memory/published_plans.json.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import re
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PHI = {"step": "classify", "targets": "q_proj+v_proj+fc1+fc2", "length": 128}
SEES = {"step": "vision", "targets": "q_proj+v_proj", "labelled": 64}


def cpu_jobs() -> list[Any]:
    from helpers.memory import Job

    cpu: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
    jobs = [
        Job("tiny/llama", quant=quant, batch_size=rows, length=length, checkpointing=again, labelled=32, **cpu)
        for quant in ("none", "nf4", "nf4-double", "int8")
        for rows, length in ((2, 64), (8, 128))
        for again in (False, True)
    ]
    jobs += [
        Job(SMOL, quant=quant, batch_size=rows, length=length, checkpointing=again, labelled=64, **cpu)
        for quant in ("none", "nf4-double")
        for rows, length in ((2, 128), (4, 224))
        for again in (False, True)
    ]
    jobs += [Job("tiny/phi", quant=quant, batch_size=8, **PHI, **cpu) for quant in ("nf4", "none", "int8")]
    jobs += [
        Job(model, quant="none", batch_size=4, length=160, method=method, pixels=48 * 48, **SEES, **cpu)
        for model in ("tiny/qwen2_vl", "tiny/paligemma")
        for method in ("lora", "key_value", "embedding")
    ]
    jobs += [
        Job("tiny/blip2", quant="none", batch_size=4, length=60, method=m, **SEES, **cpu) for m in ("lora", "key_value")
    ]
    jobs += [Job("tiny/llama", quant="none", method=m, length=128, **cpu) for m in ("full", "embedding", "peft")]
    jobs += [Job("tiny/llama", step="generate", method="none", quant=q, new_tokens=64, **cpu) for q in ("none", "nf4")]
    jobs.append(Job("tiny/clip", step="contrast", method="soft", quant="none", batch_size=24, length=12, **cpu))
    return jobs


def gpu_jobs(capability: tuple[int, int]) -> list[Any]:
    from helpers.memory import Job

    own: dict[str, Any] = {"capability": capability, "dtype": "bfloat16" if capability >= (8, 0) else "float16"}
    llama, qwen = "meta-llama/Llama-2-7b-chat-hf", "Qwen/Qwen2-VL-2B-Instruct"
    gemma, blip = "google/paligemma-3b-pt-224", "Salesforce/blip2-opt-2.7b"
    return [
        Job("microsoft/phi-2", quant="nf4", batch_size=8, **PHI, **own),
        Job("microsoft/phi-2", quant="nf4", batch_size=16, checkpointing=True, **PHI, **own),
        Job("microsoft/phi-2", quant="none", batch_size=2, **PHI, **own),
        Job(llama, batch_size=4, length=1024, labelled=512, checkpointing=True, accumulation=4, **own),
        Job(llama, batch_size=1, length=512, labelled=256, **own),
        Job(llama, batch_size=8, length=256, labelled=128, checkpointing=True, quant="nf4", **own),
        Job(llama, step="generate", method="none", batch_size=8, length=256, new_tokens=128, **own),
        Job(qwen, quant="nf4", batch_size=2, length=600, pixels=256 * 784, method="key_value", **SEES, **own),
        Job(qwen, quant="nf4", batch_size=4, length=600, pixels=256 * 784, checkpointing=True, **SEES, **own),
        Job(gemma, quant="nf4", batch_size=2, length=500, **SEES, **own),
        Job(gemma, quant="nf4", batch_size=4, length=500, checkpointing=True, **SEES, **own),
        Job(blip, quant="nf4", batch_size=3, length=64, **SEES, **own),
        Job(blip, quant="int8", batch_size=3, length=64, **SEES, **own),
    ]


def compare(jobs: list[Any], device: Any) -> list[dict[str, Any]]:
    """A row a job: what was done, planned and measured GB, their ratio, seconds of planning."""
    from benchmarks.random_models import load_random, measure_gpu
    from helpers.memory import plan
    from helpers.memory.measure import measure_cpu

    rows = []
    for job in jobs:
        began = time.perf_counter()
        found = plan(job)
        seconds = time.perf_counter() - began
        planned = found.allocated if device.type == "cuda" else found.tensors
        if device.type == "cuda":
            measured = measure_gpu(job)
        else:
            measured = measure_cpu(job, load_random(job, device) if job.model == SMOL else None)
        rows.append(
            {
                "model": job.model, "step": job.step, "method": job.method, "quant": job.quant, "dtype": job.dtype,
                "rows": job.batch_size, "tokens": job.length, "checkpointing": job.checkpointing,
                "planned_gb": round(planned / 1e9, 4), "measured_gb": round(measured / 1e9, 4),
                "ratio": round(planned / measured, 4), "seconds": round(seconds, 1),
            }
        )  # fmt: skip
        print("  ".join(f"{value!s:<{max(6, len(name))}}" for name, value in rows[-1].items()), flush=True)
    return rows


def plan_published() -> int:
    """Plan what others measured, keep the plans and print them beside the measurements."""
    from helpers.memory import published

    published.keep(published.plan_all())
    rows = published.comparison()
    for row in rows:
        then = f"{row['then']:.3f}" if row["then"] else ""
        print(
            f"{row['what']:<34} {row['published']:>7.2f} {row['planned']:>7.2f} {row['unit']:<4}"
            f"{row['ratio']:>7.3f} {then:>6}  {row['says']:<12}{row['why']}"
        )
    print(", ".join(f"{name} {value:.3g}" for name, value in published.summary(rows).items()))
    return 0


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=float, help="fail when a ratio is further from 1 than this; 0.02, on a GPU 0.07")
    parser.add_argument("--published", action="store_true", help="plan what others have published instead")
    arguments = parser.parse_args()
    if arguments.published:
        return plan_published()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    jobs = gpu_jobs(torch.cuda.get_device_capability()) if gpu else cpu_jobs()
    rows = compare(jobs, device)
    worst = max(abs(row["ratio"] - 1) for row in rows)
    print(f"{len(rows)} configurations, largest error {worst:.2%}, at most {max(r['seconds'] for r in rows)} s to plan")
    if gpu:
        name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
        text = io.StringIO()
        writer = csv.DictWriter(text, ["date", "device", *rows[0]], lineterminator="\n")
        writer.writeheader()
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        writer.writerows({"date": today, "device": torch.cuda.get_device_name(), **row} for row in rows)
        folder = ROOT / "outputs" / "reference" / "memory"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").write_text(text.getvalue())
    return int(worst > (arguments.most or (0.07 if gpu else 0.02)))


if __name__ == "__main__":
    sys.exit(main())
