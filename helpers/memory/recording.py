"""A step on fake tensors: recorded whole, or, of a deep model, from two shallow ones."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from helpers.memory import steps
from helpers.memory.batches import batch
from helpers.memory.build import WEIGHTS, bare, build
from helpers.memory.depth import deepened
from helpers.memory.fake import FakeRun
from helpers.memory.gpu import WORKSPACE, GpuNumerics
from helpers.memory.jobs import OPTIMIZERS, SMALL_STATE, UNPAGED, Job
from helpers.memory.ledger import Ledger
from helpers.models.families import FAMILIES
from helpers.models.skeletons import configuration

SHALLOW = 3  # layers of the smaller of the two models that show what a layer adds
DEEP = 10  # from so many layers on the two are less work than the model itself


@dataclass(frozen=True)
class Record:
    """What a step takes.

    Attributes:
        states: bytes of optimizer states that are not played through.
        config: of the model.
    """

    ledger: Ledger
    states: int
    config: Any


def record_of(job: Job, prepare: Callable[[Any, Any], None] | None = None) -> Record:
    """The record of a step; see ``depth`` for how that of a deep model is made.

    Args:
        prepare: called with the record and the model before each step that is recorded.

    Raises:
        ModelError: the model's configuration cannot be found.
        ParameterError: the pictures of the job take more tokens than its rows have.
    """
    config = configuration(job.model)
    layers = layers_of(job)
    # Models that read pictures spend more on those, which two shallow ones would do twice.
    if layers >= DEEP and config.model_type not in FAMILIES and layers_alike(job):
        (short, states), (longer, more_states) = (_recorded(job, SHALLOW + n, prepare) for n in (0, 1))
        ledger = deepened(short, longer, layers - SHALLOW)
        if ledger is not None:
            return Record(ledger, int(states + (layers - SHALLOW) * (more_states - states)), config)
    ledger, states = _recorded(job, None, prepare)
    return Record(ledger, int(states), config)


def layers_of(job: Job) -> int:
    """Layers of the job's language model."""
    return int(configuration(job.model).get_text_config().num_hidden_layers)


def layers_alike(job: Job) -> bool:
    """Whether all layers of the job's language model are the same: modules, shapes and settings."""
    step = job.step if job.step in ("classify", "contrast") else "completion"  # the rest have the same layers
    return _layers_alike(Job(job.model, step=step))


@lru_cache(maxsize=64)
def _layers_alike(job: Job) -> bool:
    model = bare(job, configuration(job.model))
    count = layers_of(job)
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return bool(stacks) and all(len(set(map(_described, stack))) == 1 for stack in stacks)


def _described(layer: nn.Module) -> tuple[Any, ...]:
    plain = (int, float, str, tuple, type(None))
    found: list[Any] = []
    for name, module in layer.named_modules():
        settings = {key: value for key, value in vars(module).items() if isinstance(value, plain)}
        settings.pop("layer_idx", None)
        shapes = {key: tuple(value.shape) for key, value in module._parameters.items() if value is not None}
        found.append((name, type(module), repr(settings), repr(shapes)))
    return tuple(found)


def _recorded(job: Job, layers: int | None, prepare: Callable[[Any, Any], None] | None = None) -> tuple[Ledger, float]:
    """(the record of a step, bytes of the optimizer's states beside it)."""
    run, model, _ = recorded(job, layers, partial(FakeRun, counts=False), prepare)
    ledger = Ledger(list(run.ledger.events), run.ledger.causes, run.ledger.shapes)  # before the model ends
    return ledger, _states(job, model)


def recorded(
    job: Job,
    layers: int | None = None,
    kind: Callable[..., Any] = FakeRun,
    prepare: Callable[[Any, Any], None] | None = None,
) -> tuple[Any, Any, Any]:
    """A step on fake tensors.

    Args:
        layers: of the language model, in place of as many as it has.
        kind: makes a ``FakeRun``, or one of a class derived from it.
        prepare: called with the record and the model before the step.

    Returns:
        The record, the model and its configuration.
    """
    config = configuration(job.model)
    if layers is not None:
        with_layers(config, layers)
    with _nothing_collected():
        return _run(job, config, kind, prepare or (lambda run, model: None))


def _run(job: Job, config: Any, kind: Callable[..., Any], prepare: Callable[[Any, Any], None]) -> tuple[Any, Any, Any]:
    run = kind(WORKSPACE if job.device == "cuda" else None)
    inputs = batch(job, config)
    passes = job.accumulation if job.trains else 1
    with run.because(WEIGHTS):
        model = build(job, run, config)
    prepare(run, model)
    with run:
        with run.because(steps.INPUTS):
            inputs = {name: run.pretend(x) if x.is_floating_point() else x for name, x in inputs.items()}
            # Trainer fetches all batches of an update before the first is used.
            waiting = [{name: x.clone() for name, x in inputs.items()} for _ in range(passes - 1)]
            for tensor in inputs.values():
                run.record(tensor, "input")
        rehearsal: Any = partial(steps.train, label=run.label) if job.trains else steps.answering(job)
        if job.device == "cuda":
            with GpuNumerics(job.capability), _autocast_flag(job.trains and job.mixed and job.dtype != "float32"):
                rehearsal(job, model, inputs, mark=run.because)
        else:
            rehearsal(job, model, inputs, mark=run.because)
    del waiting
    return run, model, config


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Storages end when the last use of them does. Looking for cycles meanwhile takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def with_layers(config: Any, layers: int) -> None:
    """Give a configuration's language model another number of layers."""
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]


@contextmanager
def _autocast_flag(on: bool) -> Iterator[None]:
    """PEFT asks whether autocast is on for GPUs, the device that is planned for; tensors here are on another."""
    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", on)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before)


def _states(job: Job, model: Any) -> float:
    """Bytes of optimizer states that are not played through."""
    size = 0.0
    if job.trains and job.optimizer != "adamw_torch":
        for parameter in model.parameters():
            if parameter.requires_grad:
                count = parameter.numel()
                paged = job.optimizer.startswith("paged") and count >= UNPAGED
                small = count < SMALL_STATE or job.optimizer == "paged_adamw_32bit"
                size += 0 if paged else count * (8.0 if small else OPTIMIZERS["adamw_bnb_8bit"])
    return size
