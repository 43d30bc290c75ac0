"""Small trainings on one process and on several, over gloo, each compared with what one process makes of it.

``python tests/share_cases.py CASES.json RESULTS`` runs all cases of a file, one after the other, each on as many
processes as it asks for. They are forked when everything is imported, so that this is paid for once. ``trained`` does
it for a test.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from forks import failed_ranks

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = (
    "salt",
    "red onion and cream",
    "1. Chop the leek.\n2. Serve it hot with bread.",
    "an egg",
    "butter, flour, milk",
)
ROWS, BATCH, ACCUMULATION = 21, 2, 4  # updates of 8, 8 and 5 rows: on four processes one of them has none of the last


def trained(cases: Sequence[dict[str, Any]], place: Path, seconds: float = 600) -> list[list[dict[str, Any]]]:
    """Run cases, each a dictionary for ``case``, in a process of their own; a list of the ranks' results for each."""
    (place / "cases.json").write_text(json.dumps(cases))
    # Models are loaded without threads: in a fork whose parent has computed they cannot.
    quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_DEACTIVATE_ASYNC_LOAD": "1"}
    if sys.platform == "linux":
        quiet["GLOO_SOCKET_IFNAME"] = "lo"
    done = subprocess.run(
        [sys.executable, __file__, str(place / "cases.json"), str(place / "results")],
        cwd=ROOT, env=os.environ | quiet, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return [
        [json.loads((place / f"results.{number}.{rank}").read_text()) for rank in range(row["world"])]
        for number, row in enumerate(cases)
    ]


def main(given: Path, results: Path) -> int:
    sys.path.insert(0, str(ROOT))
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401
    import trl  # noqa: F401

    import helpers.training.classifiers
    import helpers.training.trainers  # noqa: F401

    torch.set_num_threads(1)
    cases = json.loads(given.read_text())
    for model in {
        row["model"] for row in cases if "model" in row
    }:  # what is imported at first use is then in each fork
        case({"model": model, "quant": "nf4", "folder": f"{results}.warm", "epochs": 1})
    gc.collect()
    gc.freeze()
    for number, row in enumerate(cases):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if failed := failed_ranks(row["world"], partial(_rank, row, port, f"{results}.{number}")):
            print(f"case {number}, ranks {failed} failed: {row}", file=sys.stderr)
            return 1
    return 0


def _rank(row: dict[str, Any], port: int, result: str, rank: int) -> None:
    world = row["world"]
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= row.get("environment", {})
    from accelerate.state import AcceleratorState

    from helpers.machine import ranks

    AcceleratorState._reset_state(reset_partial_state=True)
    ranks.join("cpu")
    Path(f"{result}.{rank}").write_text(json.dumps(case(row)))


def case(row: dict[str, Any]) -> dict[str, Any]:
    """One training on this rank.

    Args:
        row: "world", processes; "model", "quant"; "kind": completion, head or plain, or start, see ``started``;
            "folder" for checkpoints; "resume": a checkpoint to go on from, "forgets": without the order of its epoch;
            "epochs"; "local": divide by the own labels, as no one should; "environment": of the processes.

    Returns:
        Losses and validation losses by step, the adapter by name, how many rows with labels each pass of this rank has
        read, and the bytes that it holds of the model.
    """
    import torch

    from helpers.machine import ranks
    from helpers.training import sharding, trainers

    if row.get("kind") == "start":
        return started(row)
    trainer, read = _trainer(row)
    if row.get("local"):
        trainer._per_process = lambda count: count  # what each process sees by itself
    if row.get("forgets"):
        trainer.remember = lambda checkpoint: None
    history = trainers.train(trainer, resume_from=Path(row["resume"]) if row.get("resume") else None, lines=0)
    with torch.no_grad():
        adapter = {name: tensor.flatten().tolist() for name, tensor in sharding.trained_state(trainer.model).items()}
        held = sum(
            getattr(p, "_local_tensor", p).numel() * getattr(p, "_local_tensor", p).element_size()
            for p in trainer.model.parameters()
        )
    found = {"losses": {}, "validation": {}, "adapter": adapter, "read": read, "rank": ranks.rank(), "held": held}
    for logged in history:
        found["validation" if "eval_loss" in logged else "losses"][logged["step"]] = logged.get(
            "eval_loss", logged.get("loss")
        )
    return found


def started(row: dict[str, Any]) -> dict[str, Any]:
    """A run on each rank, in which the last one has something else: "settings", "packages", "data" or nothing.

    Returns:
        The error line, "" where there is none; where the run writes, and where its checkpoints are.
    """
    import contextlib
    import dataclasses
    import io

    from helpers import start
    from helpers.errors import LabError
    from helpers.machine import hardware, ranks

    other = row["other"] if ranks.rank() == row["world"] - 1 else ""
    given = {"profile": "smoke", "output_dir": row["folder"], "seed": 1 if other == "settings" else 0}
    machine = hardware.probe()
    if other == "packages":
        hardware.probe = lambda: dataclasses.replace(machine, versions=machine.versions | {"peft": "0.1"})
    printed, found = io.StringIO(), {"error": "", "folder": "", "checkpoints": ""}
    try:
        with contextlib.redirect_stdout(printed):
            run = start("03_qlora_nli", given)
            found |= {"folder": str(run.folder), "checkpoints": str(run.checkpoints)}
            run.note("data", {"fingerprint": "other" if other == "data" else "same"})
            run.save_history([{"step": 1, "rank": ranks.rank()}])
            run.finish()
    except LabError as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def _trainer(row: dict[str, Any]) -> tuple[Any, list[int]]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import DataCollatorWithPadding, TrainingArguments
    from trl import SFTConfig

    from helpers import models
    from helpers.training import classifiers, sharing, trainers

    kind, options = row.get("kind", "completion"), {"quant": row["quant"], "dtype": "float32"}
    torch.manual_seed(0)
    load = models.load_classifier if kind == "head" else models.load
    loaded = load(row["model"], *([["a", "b", "c"]] if kind == "head" else []), **options)
    task = "SEQ_CLS" if kind == "head" else "CAUSAL_LM"
    lora = LoraConfig(r=4, lora_dropout=0.0, target_modules="all-linear", task_type=task)
    model = get_peft_model(loaded.model, lora)
    with torch.no_grad():  # B away from zero: every gradient counts from the first update on
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    arguments = {
        "output_dir": row["folder"], "num_train_epochs": row.get("epochs", 2), "seed": 3, "data_seed": 3,
        "learning_rate": 1e-3, "lr_scheduler_type": "constant",
        "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": ACCUMULATION, "max_grad_norm": 1.0,
        "logging_steps": 1, "eval_strategy": "steps", "eval_steps": 3, "per_device_eval_batch_size": 2,
        "save_strategy": "steps" if row.get("saves") else "no", "save_steps": row.get("saves", 1), "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False,
        "train_sampling_strategy": row.get("order", "group_by_length"),
    }  # fmt: skip
    rows, tokenizer = _rows(loaded.tokenizer, kind), loaded.tokenizer
    data = {"model": model, "train_dataset": rows, "eval_dataset": rows.select(range(7))}
    if kind == "completion":
        arguments |= {"bf16": False, "max_length": 64, "completion_only_loss": True, "gradient_checkpointing": False}
        trainer: Any = trainers.CompletionTrainer(args=SFTConfig(**arguments), processing_class=tokenizer, **data)
    else:
        maker = classifiers.ClassifierTrainer if kind == "head" else sharing.PlainTrainer
        collate = DataCollatorWithPadding(tokenizer) if kind == "head" else _padded(tokenizer)
        trainer = maker(args=TrainingArguments(**arguments), data_collator=collate, **data)
    trainers.float32_adapters(trainer.model)
    return trainer, _counting(trainer)


def _rows(tokenizer: Any, kind: str) -> Any:
    from datasets import Dataset

    from helpers.training import trainers

    talks = [
        {
            "prompt": [{"role": "user", "content": f"Repeat:\n- {ANSWERS[i % 5]} {i}"}],
            "completion": [{"role": "assistant", "content": f"{ANSWERS[i % 5]} {i}"}],
        }
        for i in range(ROWS)
    ]
    rows = [trainers.completion_row(tokenizer, talk) for talk in talks]
    if kind == "head":
        rows = [
            {"input_ids": r["input_ids"], "labels": i % 3, "attention_mask": [1] * len(r["input_ids"])}
            for i, r in enumerate(rows)
        ]
    return Dataset.from_list(rows)


def _padded(tokenizer: Any) -> Any:
    """A collator for rows with labels of their own."""
    import torch

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[name] + [filler] * (longest - len(row[name])) for row in rows])

        ids = padded("input_ids", tokenizer.pad_token_id)
        mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", -100)}

    return collate


def _counting(trainer: Any) -> list[int]:
    """A list that will hold how many rows of each training batch carry labels."""
    plain, read = trainer.training_step, []

    def step(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        labels = inputs["labels"]
        counts = (labels != -100).reshape(len(labels), -1).any(1)
        read.append(int(counts.sum()))
        return plain(model, inputs, *rest, **named)

    trainer.training_step = step
    return read


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
