"""The same step on real tensors, measured: what a plan is judged by.

On a CPU the profiler reports every allocation of PyTorch's allocator, those inside an operation included; nothing of
``helpers.memory.fake`` takes part. On a GPU the allocator itself says what its peak was.
"""

from __future__ import annotations

import gc
import warnings
from typing import Any

import torch

from helpers.memory.batches import batch
from helpers.memory.build import lora_config
from helpers.memory.jobs import Job
from helpers.memory.steps import generate, train
from helpers.models.skeletons import configuration


def measure_cpu(job: Job) -> int:
    """Peak of the live tensors of one step on this CPU, in bytes; the model is loaded as the lessons load it.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = load(job)
    inputs = batch(job, configuration(job.model))
    held = sum(_storages(model, inputs).values())
    step = train if job.trains else generate
    gc.collect()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            step(job, model, inputs)
    kineto: Any = profile.profiler
    changes = [(e.start_ns(), e.nbytes()) for e in kineto.kineto_results.events() if e.name() == "[memory]"]
    highest = running = 0
    for _, size in sorted(changes, key=lambda change: change[0]):
        running += size
        highest = max(highest, running)
    return held + highest


def load(job: Job) -> Any:
    """The job's model with its adapter, real."""
    import dataclasses

    from peft import get_peft_model

    from helpers import hardware, models
    from helpers.adapters import wrap_prefix
    from helpers.models.vision import load_reader

    machine = dataclasses.replace(hardware.probe(), dtype=job.dtype)
    options: dict[str, Any] = {"quant": job.quant, "machine": machine}
    if job.step == "classify":
        labels = [str(i) for i in range(job.classes)]
        model: Any = models.load_classifier(job.model, labels, **options).model
    else:
        model = load_reader(job.model, **options).model
    model.requires_grad_(job.method == "full")
    if job.method == "lora":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(model, lora_config(job))
    elif job.method in ("key_value", "embedding", "peft"):
        model = wrap_prefix(model, job.method, n_tokens=job.prefix_tokens, hidden=job.prefix_hidden or None)
    if job.checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train(job.trains)


def _storages(model: Any, inputs: dict[str, torch.Tensor]) -> dict[int, int]:
    """Address -> bytes of the storages that are there before the step."""
    tensors = [*model.parameters(), *model.buffers(), *inputs.values()]
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for owner in (state, getattr(state, "state2", None)):
            tensors += [t for t in vars(owner).values() if isinstance(t, torch.Tensor)] if owner is not None else []
        tensors += [t for t in (getattr(parameter, "SCB", None),) if isinstance(t, torch.Tensor)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
