"""Share of the machine's fastest matrix product that a training step of lesson 04 reaches, and where the rest goes.

    python -m helpers bench peak [--rows N] [--length N] [--repeats N] [--dtype float32] [--keep]

The peak is what ``torch.mm`` of two square matrices reaches in the format that is computed in. The work that counts is
what the step's useful tokens need: products with the frozen weights in the forward pass and for the gradient of their
input, those of the adapters and of the output head where there is a label. Padding, recomputation, attention and all
that goes over memory rather than through a product counts as nothing.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness

LABELLED = 32  # tokens with a label in a row
KINDS = {  # what an operation's name says of it, the first that fits
    "products": r"^aten::(mm|addmm_?|bmm|linear|addbmm)$|mkldnn|matmul",
    "attention": r"scaled_dot_product",
    "dequantisation": r"dequantize|gemm_4bit",
    "loss": r"softmax|nll|cross_entropy|scatter|gather|index",
    "casts and copies": r"copy_|_to_copy|clone|cat|fill_|zero_|empty",
    "element by element": r"mul|add|sub|div|silu|pow|mean|rsqrt|sum|neg|exp|cos|sin|sigmoid",
    "optimizer": r"adam|Optimizer",
}


def main() -> None:
    options = harness.arguments(__doc__ or "", rows=(8, "rows of a batch"), length=(112, "tokens of a row"))
    import torch

    from benchmarks.random_models import load_random
    from helpers.memory.batches import batch
    from helpers.memory.jobs import Job
    from helpers.memory.steps import loss_of, mixed_precision
    from helpers.models.skeletons import configuration
    from helpers.training import faster_on_cpu

    machine = harness.machine_of(options)
    job = Job(
        options.model, quant="nf4-double", dtype=machine.dtype, device="cpu", batch_size=options.rows,
        length=options.length, labelled=min(LABELLED, options.length - 1), padded=False,
    )  # fmt: skip
    model = load_random(job, torch.device("cpu"))
    inputs = batch(job, configuration(job.model))

    def step() -> float:
        began = time.perf_counter()
        with mixed_precision(job, model):
            loss = loss_of(job, model, inputs)
        loss.backward()
        took = time.perf_counter() - began
        model.zero_grad()
        return took

    def faster() -> float:
        with faster_on_cpu(model, quiet=True):
            return step()

    seconds = harness.take_turns({"plain": step, harness.OURS: faster}, options.repeats)
    fastest = statistics.median(peak(getattr(torch, machine.dtype)) for _ in range(3))
    needed = work(model, inputs)
    ways = harness.compared(seconds, float(inputs["input_ids"].numel()), "tokens")
    for row in ways.values():
        row["share_of_peak"] = round(needed / row["median_s"] / fastest, 3)
    profiles = {"plain": profile(step)}
    with faster_on_cpu(model, quiet=True):
        profiles[harness.OURS] = profile(step)
    for name, kinds in profiles.items():
        share = ways[name]["share_of_peak"]
        told = ", ".join(f"{kind} {part:.0%}" for kind, part in kinds.items())
        print(f"{name}: {share:.0%} of {fastest / 1e9:.0f} GFLOP/s on useful tokens; time: {told}")
    harness.report(
        "peak", options, machine.dtype, rows=options.rows, length=options.length, gflop=round(needed / 1e9, 1),
        peak_gflop_per_s=round(fastest / 1e9, 1), profile=profiles, ways=ways,
    )  # fmt: skip


def peak(dtype: Any, size: int = 2048) -> float:
    """Floating-point operations a second of the best of some products of two square matrices."""
    import torch

    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    torch.mm(a, b)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def work(model: Any, inputs: Any) -> float:
    """Floating-point operations in the products that the tokens of a batch need, forward and backward."""
    from helpers.models.quantize import unpacked_size

    tokens = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["input_ids"].numel()
    labelled = int((inputs["labels"][:, 1:] != -100).sum())
    total = 4.0 * labelled * model.get_output_embeddings().weight.numel()
    for name, parameter in model.named_parameters():
        first = re.search(r"layers\.0\.self_attn\.[qkv]_proj", name) is not None  # no gradient goes below these
        if "lora_A" in name or name.endswith("base_layer.weight"):
            passes = 2 - first + parameter.requires_grad  # forward, the input's gradient, its own
        elif "lora_B" in name:
            passes = 3
        else:
            continue
        total += 2.0 * tokens * passes * unpacked_size(parameter)
    return total


def profile(run: Any) -> dict[str, float]:
    """Kind of operation -> share of the processor's time in a step, as PyTorch's profiler sees it."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        run()
    times = dict.fromkeys((*KINDS, "other"), 0.0)
    for row in seen.key_averages():
        kind = next((name for name, pattern in KINDS.items() if re.search(pattern, row.key)), "other")
        times[kind] += row.self_cpu_time_total
    total = sum(times.values())
    return {kind: round(value / total, 3) for kind, value in times.items() if value > 0.002 * total}


if __name__ == "__main__":
    main()
