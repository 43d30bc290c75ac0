"""What four habits of helpers/inference gain, each against the plain way, paired in one run.

    python benchmarks/inference_speed.py [--model ID] [--repeats N] [--rows N]

- ``dequantised``: generation with each 4-bit weight dequantised once, against the plain 4-bit layers, which
  dequantise it in every forward pass.
- ``shared prompt``: scoring the options of a question with the prompt computed once, against a full forward
  pass for each option.
- ``shared examples``: the same after three worked examples that are read once, against prompts that each repeat them.
- ``sorted batches``: perplexity with batches of similar length, against batches in the order of the data.

Both ways do the same work on the same examples and must agree on the answer. They take turns, the order swapped
every time, so that a busy machine slows both. Prints the ratio plain / ours (above 1: ours is faster) as minimum,
median and maximum over the repeats; writes outputs/benchmarks/inference_speed-MODEL.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a plain checkout

Way = Callable[[], Any]
MAX_LENGTH, BATCH = 384, 8


def main() -> None:
    options = arguments()
    from helpers import models
    from helpers.config import settings
    from helpers.files import write_atomic
    from helpers.machine import hardware
    from helpers.runs import display, records
    from helpers.sources import assets

    began = time.perf_counter()
    machine = hardware.probe()
    loaded = models.load(options.model, quant="nf4", machine=machine)
    real = not options.model.startswith("tiny/") and assets.available("wikibooks-recipes")
    source = options.source or ("wikibooks" if real else "generator")
    results = {}
    for name, (ours, plain, same) in cases(loaded, source, options.rows, options.new_tokens).items():
        results[name] = paired(ours, plain, same, options.repeats)
        print(line(name, results[name]), flush=True)
    record = {
        "model": options.model,
        "source": source,
        "rows": options.rows,
        "new_tokens": options.new_tokens,
        "repeats": options.repeats,
        "dtype": loaded.dtype,
        "hardware": {n: getattr(machine, n) for n in ("device", "device_name", "cpu_count", "ram_gb", "python")},
        "versions": {n: machine.versions.get(n) for n in ("torch", "transformers", "bitsandbytes")},
        "ratios": results,
        "wall_time_s": round(time.perf_counter() - began, 1),
    }
    name = f"inference_speed-{options.model.strip('/').replace('/', '_')}.json"
    path = (options.output_dir or settings.default_output_dir() / "benchmarks") / name
    write_atomic(path, records.to_json(record) + "\n")
    took = display.duration(record["wall_time_s"])
    print(f"{options.model}, {source}, {machine.device_name}; {took} in all; {display.short_path(path)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="tiny/llama", help="tiny/NAME, a local folder or a Hub id")
    parser.add_argument("--source", help="recipes: generator, wikibooks, a Hub id or a file")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", type=int, default=48, help="examples of each measurement")
    parser.add_argument("--new-tokens", type=int, default=24, help="length of each generated answer")
    parser.add_argument("--output-dir", type=Path, help="folder of the JSON record")
    options = parser.parse_args()
    if min(options.repeats, options.rows, options.new_tokens) < 1:
        parser.error("--repeats, --rows and --new-tokens are at least 1")
    return options


def cases(loaded: Any, source: str, rows: int, new_tokens: int) -> dict[str, tuple[Way, Way, Callable[..., bool]]]:
    """Name → (our way, plain way, whether two answers agree)."""
    import numpy as np

    from helpers import inference, tasks
    from helpers.inference import batching, likelihood, shared
    from helpers.models.unpacked import dequantised

    model, tokenizer = loaded.model, loaded.tokenizer
    task = tasks.get("recipes")
    parts = task.load(30, rows, source, seed=0)
    test = parts["test"]
    texts = [task.to_messages(example) for example in task.examples(test, "steps", seed=0)]
    prompts = [text["prompt"] for text in texts]
    quiz = list(task.examples(test, "missing", seed=0))
    questions, choices = [task.to_messages(example)["prompt"] for example in quiz], [e["options"] for e in quiz]
    pairs = [
        {"prompt": question, "completion": [{"role": "assistant", "content": option}]}
        for question, row in zip(questions, choices, strict=True)
        for option in row
    ]

    def nothing_shared() -> Any:
        return mock.patch.object(shared, "common_start", lambda rows: 0)

    def generate() -> list[str]:
        # A GPU has no use for dequantised weights, so there they are asked for by hand.
        with dequantised(model) if model.device.type != "cpu" else nullcontext():
            return inference.generate(model, tokenizer, prompts, max_new_tokens=new_tokens, batch_size=BATCH)

    def generate_plain() -> list[str]:
        with mock.patch.object(batching, "dequantised", _nothing):
            return inference.generate(model, tokenizer, prompts, max_new_tokens=new_tokens, batch_size=BATCH)

    def score() -> Any:
        return np.concatenate(inference.score_options(model, tokenizer, questions, choices, batch_size=BATCH)[0])

    def score_plain() -> Any:
        # As many rows at a time as the second pass of score_options has.
        size = BATCH * max(map(len, choices))
        with nothing_shared():
            return -inference.completion_nll(model, tokenizer, pairs, batch_size=size)[0]

    solved = [task.to_messages(example) for example in list(task.examples(parts["train"], "missing", seed=0))[:3]]
    shots = [turn for talk in solved for turn in (*talk["prompt"], *talk["completion"])]
    longer = [[*shots, *question] for question in questions]

    def few_shot() -> Any:
        rows, _ = inference.score_options(model, tokenizer, questions, choices, batch_size=BATCH, shots=shots)
        return np.concatenate(rows)

    def few_shot_plain() -> Any:
        with nothing_shared():
            return np.concatenate(inference.score_options(model, tokenizer, longer, choices, batch_size=BATCH)[0])

    def perplexity() -> Any:
        return inference.completion_nll(model, tokenizer, texts, batch_size=BATCH, max_length=MAX_LENGTH)[0]

    def perplexity_plain() -> Any:
        with mock.patch.object(likelihood, "batches", _in_order):
            return perplexity()

    def close(a: Any, b: Any) -> bool:
        # Log-likelihoods of whole texts in nats; padding changes the order of the sums, bfloat16 their digits.
        return bool(np.allclose(a, b, rtol=0.02, atol=0.5 if loaded.dtype != "float32" else 0.01))

    def most_equal(a: list[str], b: list[str]) -> bool:
        # On a tie, one token may differ and the rest of that answer with it.
        return sum(x == y for x, y in zip(a, b, strict=True)) >= 0.8 * len(a)

    return {
        "dequantised": (generate, generate_plain, most_equal),
        "shared prompt": (score, score_plain, close),
        "shared examples": (few_shot, few_shot_plain, close),
        "sorted batches": (perplexity, perplexity_plain, close),
    }


def paired(ours: Way, plain: Way, same: Callable[..., bool], repeats: int) -> dict[str, Any]:
    """Time both ways in turns after one run of each that is not counted."""
    if not same(ours(), plain()):
        raise SystemExit("the two ways disagree: their times cannot be compared")
    times: dict[Way, list[float]] = {ours: [], plain: []}
    for number in range(repeats):
        for way in (ours, plain) if number % 2 else (plain, ours):
            began = time.perf_counter()
            way()
            times[way].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(times[ours], times[plain], strict=True)]
    return {
        "min": round(min(ratios), 3),
        "median": round(statistics.median(ratios), 3),
        "max": round(max(ratios), 3),
        "seconds_ours": round(statistics.median(times[ours]), 4),
        "seconds_plain": round(statistics.median(times[plain]), 4),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def line(name: str, result: dict[str, Any]) -> str:
    spread = f"{result['median']:.2f}x (min {result['min']:.2f}, max {result['max']:.2f})"
    return f"{name:<16} {spread:<34} {result['seconds_plain']:.2f} s plain, {result['seconds_ours']:.2f} s ours"


@contextmanager
def _nothing(model: Any) -> Iterator[int]:
    yield 0


def _in_order(lengths: Sequence[int], rows_of: Callable[[int], int]) -> Iterator[list[int]]:
    """As ``batching.batches``, the limit on padded tokens included, but without sorting."""
    start = 0
    while start < len(lengths):
        stop = start + 1
        while stop < len(lengths) and stop - start < rows_of(max(lengths[start : stop + 1])):
            stop += 1
        yield list(range(start, stop))
        start = stop


if __name__ == "__main__":
    main()
