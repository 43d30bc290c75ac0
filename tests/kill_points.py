"""A program that kills a small training run at many points, continues it and compares; prints JSON.

    python tests/kill_points.py FOLDER POINTS SEED

Everything is imported once; each run is a fork of this process that trains a two-layer model for a few updates, as a
lesson does: ``start``, a fingerprint, training with checkpoints and their copies, adapter, predictions, metrics,
``finish``. Half of the points are the k-th change of a file by Python, the others moments drawn over the whole run, so
that writing by torch and safetensors is hit too. Some runs are killed a second time while they are continued; of
some the whole run folder is then removed, as on a new machine.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, default_data_collator

from helpers import start
from helpers.evaluation.intervals import Estimate
from helpers.runs import records
from helpers.training import checkpoints, trainers

NOTEBOOK, NAME = "04_qlora_instruct", "killed"
UPDATES = 6
# Python's own account of what is done to files.
CHANGES = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"})


def lesson(place: Path, resume: bool) -> None:
    """What a lesson does with a run, from its start to its end."""
    given: dict[str, Any] = {"profile": "smoke", "run_name": NAME, "resume": resume}
    given |= {"output_dir": str(place / "outputs"), "checkpoint_dir": str(place / "drive")}
    run = start(NOTEBOOK, given)
    run.note("data", {"fingerprint": "the same"})
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, **shape))
    model = get_peft_model(base, LoraConfig(r=2, lora_dropout=0.2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    ids = torch.randint(0, 32, (24, 8), generator=torch.Generator().manual_seed(1)).tolist()
    rows = Dataset.from_dict({"input_ids": ids, "labels": ids, "attention_mask": [[1] * 8] * 24})
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints), max_steps=UPDATES, per_device_train_batch_size=8, learning_rate=0.05,
        logging_steps=1, save_steps=2, save_total_limit=1, report_to="none", disable_tqdm=True, use_cpu=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=default_data_collator)
    history = trainers.train(trainer, resume_from=run.resume_from(), lines=0)
    run.save_history([{key: row[key] for key in ("step", "loss")} for row in history])
    run.save_adapter(model)
    run.save_predictions({"prediction": str(i), "score": row["loss"]} for i, row in enumerate(history))
    loss = history[-1]["loss"]
    run.add_system("tuned", {"perplexity": Estimate(loss, loss - 1, loss + 1, len(rows))})
    run.finish()


def forked(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Run ``work`` in a fork; killed after so many seconds, if given. Returns the exit status, −9 when killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watch_changes(place: Path, at: int, log: Path | None = None) -> None:
    """Kill this process right before its ``at``-th change of a file below ``place``; or write how many there were."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or not str(arguments[0]).startswith(str(place)):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if log is not None:
            os.truncate(log, seen)

    sys.addaudithook(hook)


def count_changes(place: Path, resume: bool) -> tuple[int, float]:
    """How many changes of files an undisturbed run makes, and its seconds."""
    log = place.parent / "count"
    log.touch()

    def work() -> None:
        watch_changes(place, -1, log)
        lesson(place, resume)

    began = time.monotonic()
    assert forked(work) == 0
    return log.stat().st_size, time.monotonic() - began


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with a run's folder right now: every file that is there must be whole."""
    for file in folder.rglob("*.json"):
        if "checkpoint" not in str(file.relative_to(folder)):
            json.loads(file.read_text())
    for line in (
        (folder / "predictions.jsonl").read_text().splitlines() if (folder / "predictions.jsonl").exists() else ()
    ):
        json.loads(line)
    if (folder / "adapter").exists():
        load_file(str(folder / "adapter" / "adapter_model.safetensors"))
    record = records.read_run(folder)
    if record.status not in ("interrupted", "finished"):
        yield f"status {record.status}"
    if record.status == "finished" and not record.metrics:
        yield "finished without metrics"


def results(folder: Path) -> tuple[bytes, bytes, dict[str, list[float]]]:
    """Metrics and losses as written, and the adapter's numbers."""
    weights = load_file(str(folder / "adapter" / "adapter_model.safetensors"))
    numbers = {name: tensor.flatten().tolist() for name, tensor in weights.items()}
    return (folder / "metrics.json").read_bytes(), (folder / "history.csv").read_bytes(), numbers


def killed(place: Path, resume: bool, draw: random.Random, changes: int, seconds: float, by_change: bool) -> bool:
    """One run that is killed somewhere; whether it was before its end."""
    if by_change:
        at = draw.randint(1, changes)

        def work() -> None:
            watch_changes(place, at)
            lesson(place, resume)

        return forked(work) == -signal.SIGKILL
    return forked(lambda: lesson(place, resume), draw.uniform(0.0, seconds)) == -signal.SIGKILL


def main(place: Path, points: int, seed: int) -> None:
    jinja2.Template = functools.cache(jinja2.Template)  # each saving compiles the same text of an adapter's README
    with contextlib.redirect_stdout(io.StringIO()):
        lesson(place / "warm", False)  # what is loaded and compiled at first use is then part of every fork
    gc.collect()
    gc.freeze()  # the forks' garbage collector need not look at it
    changes, seconds = count_changes(place / "whole", False)
    longest = seconds
    whole = results(place / "whole" / "outputs" / NOTEBOOK / NAME)
    draw = random.Random(seed)
    found: list[str] = []
    tally = {"killed": 0, "twice": 0, "moved": 0, "continued": 0, "before the record": 0}
    for point in range(points):
        where = place / f"point{point}"
        folder = where / "outputs" / NOTEBOOK / NAME
        label = f"point {point}"
        try:
            died = killed(where, False, draw, changes, longest, point % 2 == 0)
            # A moment behind the run's end: the machine is quicker now than when the whole run was timed beside others.
            longest *= 1.0 if died else 0.9
            tally["killed"] += died
            if draw.random() < 0.3:
                tally["twice"] += killed(where, True, draw, changes, seconds, draw.random() < 0.5)
            if (folder / "run.json").exists():
                found += [f"{label}: {problem}" for problem in problems(folder)]
            else:
                tally["before the record"] += 1
            list(records.read_runs(where / "outputs"))
            if draw.random() < 0.4:
                tally["moved"] += 1
                shutil.rmtree(where / "outputs", ignore_errors=True)
            left = [folder / "checkpoints", where / "drive" / NOTEBOOK / NAME]
            expected = any(checkpoints.latest_checkpoint(f) for f in left)
            if (code := forked(lambda where=where: lesson(where, True))) != 0:
                found.append(f"{label}: the continued run ended with {code}")
                continue
            record = records.read_run(folder)
            resumed = record.info["notes"]["resumed_from"]
            tally["continued"] += resumed is not None
            if expected and resumed is None:
                found.append(f"{label}: there was a checkpoint, and it was not used")
            if record.status != "finished" or results(folder) != whole:
                found.append(f"{label}: {record.status}, other numbers after resuming from {resumed}")
            rest = [p.name for p in where.rglob("*") if p.name.endswith((".tmp", ".partial", ".adapter.old"))]
            if rest:
                found.append(f"{label}: left behind after a finished run: {rest}")
        except Exception as error:
            found.append(f"{label}: {type(error).__name__}: {error}")
        shutil.rmtree(where, ignore_errors=True)
    print(json.dumps({"changes": changes, "seconds": round(seconds, 2), "problems": found} | tally))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
