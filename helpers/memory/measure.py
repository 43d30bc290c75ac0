"""The same step on real tensors, measured: what a plan is judged by.

On a CPU the profiler reports every allocation of PyTorch's allocator, those inside an operation included; nothing of
``helpers.memory.fake`` takes part. On a GPU the allocator itself says what its peak was.
"""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from helpers.errors import HardwareError
from helpers.memory.batches import batch
from helpers.memory.build import float32_names, like, lora_config, shell, with_words
from helpers.memory.jobs import Job
from helpers.memory.steps import generate, train
from helpers.models.quantize import guard_cpu_kernels
from helpers.models.skeletons import configuration


def measure_cpu(job: Job, *, random_weights: bool = False) -> int:
    """Peak of the live tensors of one step on this CPU, in bytes; the model is loaded as the lessons load it.

    Args:
        random_weights: nothing is loaded; the architecture alone decides.

    Raises:
        ModelError: the model cannot be loaded.
    """
    model = load_random(job, torch.device("cpu")) if random_weights else load(job)
    inputs = batch(job, configuration(job.model))
    waiting = {f"{i}{name}": x.clone() for i in range(job.accumulation - 1) for name, x in inputs.items()}
    held = sum(storages(model, inputs | (waiting if job.trains else {})).values())
    step = train if job.trains else generate
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
    return _finished(model, job)


def _finished(model: Any, job: Job) -> Any:
    from helpers.adapters.prefix import wrap_prefix

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        if job.method in ("key_value", "embedding", "peft"):
            model = wrap_prefix(model, job.method, n_tokens=job.prefix_tokens, hidden=job.prefix_hidden or None)
        if job.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train(job.trains)


def measure_gpu(job: Job) -> int:
    """``torch.cuda.max_memory_allocated`` over two steps of the job on GPU 0, its weights random.

    Raises:
        HardwareError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise HardwareError("there is no GPU to measure on", "run this where there is one")
    gc.collect()  # an earlier model's quantised weights hold each other
    model = load_random(job, torch.device("cuda", 0))
    inputs = {name: tensor.cuda() for name, tensor in batch(job, configuration(job.model)).items()}
    passes = job.accumulation if job.trains else 1
    waiting = [{name: tensor.clone() for name, tensor in inputs.items()} for _ in range(passes - 1)]
    step = train if job.trains else generate
    for _ in range(2):  # the first step also loads kernels
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step(job, model, inputs)
    torch.cuda.synchronize()
    del waiting
    return int(torch.cuda.max_memory_allocated())


def load_random(job: Job, device: torch.device) -> Any:
    """The job's model with random weights, so that nothing is fetched; matrices are quantised one at a time."""
    from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
    from torch import nn

    config = configuration(job.model)
    model = shell(job, config)
    dtype = getattr(torch, job.dtype)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kept = re.compile("") if job.prepared else float32_names(inner, dtype)
    made: dict[int, Any] = {}

    def random(shape: Any, exact: bool) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=torch.float32 if exact else dtype) * 0.02

    for name, module in model.named_modules():
        for key, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) not in made:
                exact = parameter.requires_grad or kept.search(f"{name}.{key}") is not None
                value: Any = nn.Parameter(random(parameter.shape, exact), requires_grad=parameter.requires_grad)
                if key == "weight" and isinstance(module, Linear4bit):
                    value = Params4bit(
                        random((module.out_features, module.in_features), False).cpu(), requires_grad=False,
                        quant_type="nf4", compress_statistics=job.quant == "nf4-double", module=module,
                    ).to(device)  # fmt: skip
                elif key == "weight" and isinstance(module, Linear8bitLt):
                    whole = random((module.out_features, module.in_features), False).cpu()
                    value = Int8Params(whole, requires_grad=False, has_fp16_weights=False).to(device)
                made[id(parameter)] = (parameter, value)
            module._parameters[key] = made[id(parameter)][1]
        for key, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[key] = like(buffer).to(device)
        for key, value in list(vars(module).items()):
            if isinstance(value, torch.Tensor) and value.is_meta:
                setattr(module, key, like(value).to(device))
    guard_cpu_kernels(model)
    return _finished(model, job)


def storages(model: Any, inputs: dict[str, torch.Tensor]) -> dict[int, int]:
    """Address -> bytes of the storages that are there before the step."""
    tensors = [*model.parameters(), *model.buffers(), *inputs.values()]
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for owner in (state, getattr(state, "state2", None)):
            tensors += [t for t in vars(owner).values() if isinstance(t, torch.Tensor)] if owner is not None else []
        tensors += [t for t in (getattr(parameter, "SCB", None),) if isinstance(t, torch.Tensor)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
