"""What the meter and the live picture of memory and throughput cost a training.

    python benchmarks/live_plot.py [--seconds S] [--model ID] [--output-dir DIR]

Trains LoRA on a language model (the tiny one, or the id given) for about S seconds, logging every step, with pictures
as in a notebook that somebody watches. Prints the seconds spent in the meter and in drawing against the time of the
training, both as the clock on the wall counts them; fails when they are 1 % or more. Writes
outputs/benchmarks/live_plot-MODEL.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a plain checkout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", default="tiny/llama")
    parser.add_argument("--output-dir", type=Path, default=None, help="default: outputs/benchmarks")
    options = parser.parse_args()

    from helpers.config import settings
    from helpers.files import write_atomic
    from helpers.machine import hardware
    from helpers.runs import records

    found = measure(options.model, options.seconds)
    record = found | {"model": options.model, "hardware": hardware.probe().as_dict()}
    place = options.output_dir or settings.default_output_dir() / "benchmarks"
    write_atomic(place / f"live_plot-{options.model.replace('/', '_')}.json", records.to_json(record) + "\n")
    print(
        f"{found['steps']} steps of {found['ms_per_step']:.1f} ms in {found['seconds']:.1f} s, "
        f"{found['pictures']} pictures; meter {found['meter_share']:.3%} of it, drawing {found['drawing_share']:.3%}"
    )
    if found["meter_share"] + found["drawing_share"] >= 0.01:
        raise SystemExit("that is 1 % or more")


def measure(model_id: str, seconds: float) -> dict[str, Any]:
    """Shares of the training time, from one training that is stopped after so many seconds."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator

    from helpers import models
    from helpers.training import live_plot, trainers
    from helpers.training.callbacks import Meter

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = time.perf_counter() - began > seconds

    meters, plots, pictures = [], [], []

    class Kept(Meter):
        def __init__(self) -> None:
            super().__init__()
            meters.append(self)

    class Shown(live_plot.LivePlot):
        def __init__(self) -> None:
            super().__init__(live_plot.LIVE, show=pictures.append)
            plots.append(self)

    trainers.Meter, trainers.LivePlot = Kept, Shown  # type: ignore[misc]
    base = models.load(model_id, dtype="float32").model
    model = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.randint(0, base.config.vocab_size, (256, 96), generator=torch.Generator().manual_seed(0)).tolist()
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids, "attention_mask": [[1] * 96] * 256})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=1_000_000, per_device_train_batch_size=8, logging_steps=1, save_strategy="no",
            report_to="none", disable_tqdm=True, learning_rate=1e-4, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=default_data_collator)
        trainer.add_callback(Stop())
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            history = trainers.train(trainer)
    took = trainers.seconds_of(history)
    return {
        "steps": len(history), "seconds": round(took, 2), "ms_per_step": round(1000 * took / len(history), 2),
        "pictures": plots[0].drawn, "meter_share": meters[0].spent / took, "drawing_share": plots[0].spent / took,
    }  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    main()
