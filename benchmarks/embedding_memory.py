"""Embedding a shop's pictures: images a second and peak memory, against reading all of them first.

    python benchmarks/embedding_memory.py [--pictures N] [--model ID] [--repeats N]

Draws N pictures of shoes into a temporary folder, one of them cut short, and embeds them twice in processes of their
own:

- ``streamed``: ``compositional.embed_images``, a batch in memory at a time, each kept on disk as it is made.
- ``all at once``: every picture decoded and preprocessed first, then the same batches; nothing is kept.

Both must give the same vectors. They take turns. Prints speed and peak memory (of the process, from its own record)
of both; writes outputs/benchmarks/embedding_memory-MODEL.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a plain checkout

WAYS = ("streamed", "all at once")


def main() -> None:
    options = arguments()
    if options.way:
        print(json.dumps(measure(options)))
        return
    from helpers.config import settings
    from helpers.files import write_atomic
    from helpers.machine import hardware
    from helpers.runs import display, records
    from tools.shoe_folder import write_folder

    machine = hardware.probe()
    with tempfile.TemporaryDirectory(prefix="peft-lab-pictures-") as scratch:
        began = time.perf_counter()
        pictures = sorted(write_folder(Path(scratch, "shoes"), options.pictures).rglob("*.jpg"))
        pictures[-1].write_bytes(pictures[-1].read_bytes()[:200])  # the last one is damaged
        print(f"{len(pictures):,} pictures drawn in {display.duration(time.perf_counter() - began)}", flush=True)
        results: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for repeat in range(options.repeats):
            for way in WAYS[:: 1 if repeat % 2 == 0 else -1]:
                place = Path(scratch, f"{way}-{repeat}")
                results[way].append(in_own_process(way, options, Path(scratch, "shoes"), place))
    same = {tuple(row["vectors"]) for rows in results.values() for row in rows}
    if len(same) != 1:
        raise SystemExit("the two ways give different vectors")
    figures = {way: summary(rows) for way, rows in results.items()}
    for way, row in figures.items():
        print(f"{way:<12} {row['images_per_s']:7.0f} images/s  peak {row['peak_rss_gb']:.2f} GB", flush=True)
    record = {
        "model": options.model,
        "pictures": options.pictures,
        "repeats": options.repeats,
        "hardware": {n: getattr(machine, n) for n in ("device", "device_name", "cpu_count", "ram_gb", "python")},
        "versions": {n: machine.versions.get(n) for n in ("torch", "transformers")},
        "ways": {way: {**figures[way], "runs": rows} for way, rows in results.items()},
    }
    name = f"embedding_memory-{options.model.strip('/').replace('/', '_')}.json"
    path = (options.output_dir or settings.default_output_dir() / "benchmarks") / name
    write_atomic(path, records.to_json(record) + "\n")
    print(f"{options.model}, {machine.device_name}; {display.short_path(path)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=24_000)
    parser.add_argument("--model", default="tiny/clip", help="tiny/NAME, a local folder or a Hub id")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output-dir", type=Path, help="folder of the JSON record")
    for name, kind in (("--way", str), ("--folder", Path), ("--cache", Path)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.repeats, options.pictures - 1) < 1:
        parser.error("--repeats is at least 1 and --pictures at least 2")
    return options


def in_own_process(way: str, options: argparse.Namespace, folder: Path, cache: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, "--folder", folder, "--cache", cache, "--model", options.model]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One way in this process: seconds, peak memory, fingerprint of the vectors."""
    import numpy as np
    import torch

    from helpers.adapters import compositional
    from helpers.adapters.compositional.features import image_features
    from helpers.models.clip import load_clip
    from helpers.runs import provenance

    clip = load_clip(options.model)
    pictures = sorted(options.folder.rglob("*.jpg"))
    began = time.perf_counter()
    if options.way == "streamed":
        found = compositional.embed_images(clip.model, clip.processor, pictures, options.cache)
        vectors, unreadable = found.vectors, found.n_unreadable
    else:
        pixels, unreadable = read_all(clip.processor.image_processor, pictures)
        batches = [image_features(clip.model, torch.cat(pixels[i : i + 64])) for i in range(0, len(pixels), 64)]
        vectors = np.concatenate([batch.vectors.cpu().numpy() for batch in batches])
    seconds = time.perf_counter() - began
    return {
        "images_per_s": len(pictures) / seconds,
        "peak_rss_gb": provenance.peak_rss_gb(),
        "unreadable": unreadable,
        "vectors": [len(vectors), *np.round(np.abs(vectors).mean(0)[:4], 3).tolist()],
    }


def read_all(processor: Any, pictures: list[Path]) -> tuple[list[Any], int]:
    """Pixels of every picture that can be read, and how many cannot."""
    from PIL import Image

    pixels, unreadable = [], 0
    for path in pictures:
        try:
            with Image.open(path) as opened:
                pixels.append(processor(images=opened.convert("RGB"), return_tensors="pt")["pixel_values"])
        except OSError:
            unreadable += 1
    return pixels, unreadable


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images_per_s": statistics.median(row["images_per_s"] for row in rows),
        "peak_rss_gb": max(row["peak_rss_gb"] for row in rows),
        "unreadable": rows[0]["unreadable"],
    }


if __name__ == "__main__":
    main()
