"""The same training on one process and on several: same losses, same adapter, and so after a resume."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from share_cases import ACCUMULATION, BATCH, ROOT, ROWS, trained
from torch.utils.data import SequentialSampler

from helpers.errors import HardwareError
from helpers.training.shares import Share, shares
from helpers.training.sharing import one_gpu

CONFIGS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
MODELS = ("tiny/llama", "tiny/phi")
# What is trained: model, quantisation, kind of trainer, and how rows are ordered.
TRAININGS = [
    *((model, quant, "completion", "group_by_length") for model in MODELS for quant in ("none", "nf4-double")),
    ("tiny/phi", "nf4", "head", "group_by_length"),
    ("tiny/llama", "none", "plain", "random"),
]
Result = list[dict[str, Any]]


def launched(config: Path) -> tuple[int, dict[str, str]]:
    """Processes that ``accelerate launch`` starts under a file, and what it adds to their environment."""
    from accelerate.commands import launch

    given = launch.launch_command_parser().parse_args(["--config_file", str(config), "train.py"])
    read, *_ = launch._validate_launch_command(given)
    made = launch.prepare_multi_gpu_env(argparse.Namespace(**vars(read)))
    return read.num_processes, {name: value for name, value in made.items() if os.environ.get(name) != value}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Result]]:
    """All trainings of this file, in one process that forks."""
    place = tmp_path_factory.mktemp("shared")
    cases: dict[str, dict[str, Any]] = {}

    def add(name: str, world: int, **fields: Any) -> None:
        base = {"world": world, "model": "tiny/llama", "quant": "nf4-double", "folder": str(place / name)}
        cases[name] = base | fields

    for model, quant, kind, order in TRAININGS:
        for world in (1, 2, 4) if kind == "completion" else (1, 2):
            name = f"{model} {quant} {kind} {world}"
            add(name, world, model=model, quant=quant, kind=kind, order=order, saves=4)
    written = place / "tiny/llama nf4-double completion 2" / "checkpoint-4"
    for world in (1, 2, 4):
        add(f"resumed {world}", world, resume=str(written))
    add("resumed in another order", 1, resume=str(written), forgets=True)
    add("each by itself", 2, local=True)
    add("short", 1, epochs=1)
    for config in CONFIGS:
        world, environment = launched(config)
        add(config.name, world, environment=environment, epochs=1)
        if "fsdp" in config.name and world == 2:
            add("sharded", world, environment=environment, saves=4)
            saved = str(place / "sharded" / "checkpoint-4")
            add("sharded, resumed", world, environment=environment, resume=saved)
            add("sharded, resumed by one", 1, resume=saved)
            whole = str(place / "tiny/llama nf4-double completion 1" / "checkpoint-4")
            add("whole, resumed sharded", world, environment=environment, resume=whole)
            head = {"model": "tiny/phi", "quant": "nf4", "kind": "head", "order": "group_by_length"}
            add("sharded head", world, environment=environment, saves=4, **head)
            saved = str(place / "sharded head" / "checkpoint-4")
            add("sharded head, resumed by one", 1, resume=saved, **head)
    yield dict(zip(cases, trained(list(cases.values()), place), strict=True))


def largest(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """Largest differences of losses, validation ones included, and of the adapter's numbers."""
    losses = [abs(one[kind][step] - other[kind][step]) for kind in ("losses", "validation") for step in other[kind]]
    pairs = zip(one["adapter"].items(), other["adapter"].items(), strict=True)
    adapters = [abs(a - b) for (left, x), (right, y) in pairs for a, b in zip(x, y, strict=True) if left == right]
    assert losses and len(adapters) == sum(map(len, one["adapter"].values()))
    return max(losses), max(adapters)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training", "world"), [(t, n) for t in TRAININGS for n in (2, 4) if n == 2 or t[2] == "completion"],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_same_losses_and_adapter(results: dict[str, Result], training: tuple[str, ...], world: int) -> None:
    name = " ".join(training[:3])
    (alone,), shared = results[f"{name} 1"], results[f"{name} {world}"]
    assert set(alone["losses"]) == {"1", "2", "3", "4", "5", "6"} and set(alone["validation"]) == {"3", "6"}
    for rank in shared:
        losses, adapters = largest(alone, rank)
        assert losses < 1e-4 and adapters < 1e-5
    assert sum(sum(rank["read"]) for rank in shared) == sum(alone["read"]) == 2 * ROWS  # each row once an epoch
    assert len({len(rank["read"]) for rank in shared}) == 1  # and as many passes everywhere
    moved = abs(alone["losses"]["6"] - alone["losses"]["1"])
    assert moved > 0.01  # there is something to compare


@pytest.mark.slow
def test_a_mean_of_means_is_another_training(results: dict[str, Result]) -> None:
    (alone,) = results["tiny/llama nf4-double completion 1"]
    losses, adapters = largest(alone, results["each by itself"][0])
    assert losses > 1e-3 and adapters > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 4])
def test_resumed_by_another_number_of_processes(results: dict[str, Result], world: int) -> None:
    """From the middle of the second epoch, in a checkpoint that two have written."""
    (alone,) = results["tiny/llama nf4-double completion 1"]
    losses, adapters = largest(alone, results[f"resumed {world}"][0])
    assert losses < 1e-4 and adapters < 1e-5
    losses, _ = largest(alone, results["resumed in another order"][0])
    assert losses > 1e-3  # what an epoch without its order becomes


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_configurations_train(results: dict[str, Result], config: Path) -> None:
    """Under the environment that accelerate makes of each file, over gloo: as many processes, the same numbers."""
    (alone,) = results["short"]
    shared = results[config.name]
    assert f"{len(shared)}x" == config.name.partition("x")[0] + "x"
    losses, adapters = largest(alone, shared[0])
    assert losses < 1e-4 and adapters < 1e-5
    held = max(rank["held"] for rank in shared)
    # Of two cards each holds its half of the layers, and more than half of what a model this small has beside them.
    assert held < 0.8 * alone["held"] if "fsdp" in config.name else held >= alone["held"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "sharded", "sharded, resumed", "sharded, resumed by one", "whole, resumed sharded",
        "sharded head", "sharded head, resumed by one",
    ],
)  # fmt: skip
def test_sharded_checkpoints_are_like_any_other(results: dict[str, Result], name: str) -> None:
    (alone,) = results["tiny/phi nf4 head 1" if "head" in name else "tiny/llama nf4-double completion 1"]
    losses, adapters = largest(alone, results[name][0])
    assert losses < 1e-4 and adapters < 1e-5


def test_shares_cover_an_update() -> None:
    for rows in range(1, 40):
        for batch in range(1, 9):
            for processes in range(1, 9):
                passes, own = shares(rows, batch, processes)
                assert own <= batch and passes * own * processes >= rows
                assert (passes - 1) * own * processes < rows  # no pass without a row
    assert shares(BATCH * ACCUMULATION, BATCH, 1) == (ACCUMULATION, BATCH)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_every_row_is_read_once(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers.machine import ranks

    monkeypatch.setattr(ranks, "from_first", lambda make: make())
    monkeypatch.setattr(ranks, "world", lambda: world)
    read: list[list[list[tuple[int, bool]]]] = []
    for rank in range(world):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        share = Share(SequentialSampler(range(ROWS)), BATCH * ACCUMULATION, BATCH, lambda: None)
        read.append(list(share))
        assert len(read[-1]) == len(share)
    rows = [row for batches in read for batch in batches for row, counts in batch if counts]
    assert sorted(rows) == list(range(ROWS))
    passes = shares(BATCH * ACCUMULATION, BATCH, world)[0]
    for update in range(math.ceil(ROWS / (BATCH * ACCUMULATION))):
        parts = [batch for batches in read for batch in batches[update * passes : (update + 1) * passes]]
        own = sorted(row for batch in parts for row, counts in batch if counts)
        assert own == list(range(ROWS))[update * 8 : (update + 1) * 8]


def test_dataparallel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs in sight of one process, as ``TrainingArguments`` counts them."""
    from transformers import Trainer, TrainingArguments

    from helpers.training.sharing import PlainTrainer
    from helpers.training.trainers import train

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    plain = Trainer(model=torch.nn.Linear(1, 1), args=arguments)
    one_gpu(arguments)
    monkeypatch.setattr(arguments, "_n_gpu", 2)
    made = (lambda: one_gpu(arguments), lambda: PlainTrainer(torch.nn.Linear(1, 1), arguments), lambda: train(plain))
    for work in made:
        with pytest.raises(HardwareError, match="2 GPUs are visible.*DataParallel.*CUDA_VISIBLE_DEVICES"):
            work()
