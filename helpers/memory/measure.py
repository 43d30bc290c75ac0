"""The same step on real tensors, measured: what a plan is judged by.

On a CPU the profiler reports every allocation of PyTorch's allocator, those inside an operation included; nothing of
``helpers.memory.fake`` takes part.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from helpers.memory.batches import batch
from helpers.memory.build import lora_config, with_words
from helpers.memory.jobs import Job
from helpers.memory.steps import answering, train
from helpers.models.skeletons import configuration


def measure_cpu(job: Job, model: Any = None) -> int:
    """Peak of the live tensors of one step on this CPU, in bytes.

    Args:
        model: the job's model with its adapter; loaded as the lessons load it when left out.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = load(job) if model is None else model
    inputs = batch(job, configuration(job.model))
    waiting = {f"{i}{name}": x.clone() for i in range(job.accumulation - 1) for name, x in inputs.items()}
    held = sum(storages(model, inputs | (waiting if job.trains else {})).values())
    step = train if job.trains else answering(job)
    return held + profiled_peak(partial(step, job, model, inputs))


def profiled_peak(call: Callable[[], Any]) -> int:
    """Most bytes that PyTorch's CPU allocator hands out during a call, beyond what it had handed out before."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
        ) as profile:
            call()
    kineto: Any = profile.profiler
    changes = [(e.start_ns(), e.nbytes()) for e in kineto.kineto_results.events() if e.name() == "[memory]"]
    highest = running = 0
    for _, size in sorted(changes, key=lambda change: change[0]):
        running += size
        highest = max(highest, running)
    return highest


def load(job: Job) -> Any:
    """The job's model with its adapter, real."""
    import dataclasses

    from peft import get_peft_model

    from helpers import models
    from helpers.machine import hardware
    from helpers.models.vision import load_reader

    machine = dataclasses.replace(hardware.probe(), dtype=job.dtype)
    options: dict[str, Any] = {"quant": job.quant, "machine": machine}
    if job.step == "contrast":
        from helpers.models.clip import load_clip

        clip: Any = load_clip(job.model, machine=machine).model.requires_grad_(False)
        with_words(clip, job)
        return clip.train()
    if job.step == "classify":
        labels = [str(i) for i in range(job.classes)]
        model: Any = models.load_classifier(job.model, labels, **options).model
    else:
        model = load_reader(job.model, **options).model
    if job.prepared:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model.requires_grad_(job.method == "full")
    if job.method == "lora":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(model, lora_config(job))
    return finished(model, job)


def finished(model: Any, job: Job) -> Any:
    """The model with its prefix and gradient checkpointing, in the mode of the job."""
    from helpers.adapters.prefix import wrap_prefix

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        if job.method in ("key_value", "embedding", "peft"):
            model = wrap_prefix(model, job.method, n_tokens=job.prefix_tokens, hidden=job.prefix_hidden or None)
        if job.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train(job.trains)


def storages(model: Any, inputs: dict[str, torch.Tensor]) -> dict[int, int]:
    """Address -> bytes of the storages that are there before the step."""
    tensors = [*model.parameters(), *model.buffers(), *inputs.values()]
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for owner in (state, getattr(state, "state2", None)):
            tensors += [t for t in vars(owner).values() if isinstance(t, torch.Tensor)] if owner is not None else []
        tensors += [t for t in (getattr(parameter, "SCB", None),) if isinstance(t, torch.Tensor)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
