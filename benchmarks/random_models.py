"""Models with random weights, and what a step of them takes on a GPU: nothing is fetched for ``planned_memory``."""

from __future__ import annotations

import gc
import re
from typing import Any

import torch

from helpers.memory.batches import batch
from helpers.memory.build import float32_names, like, shell
from helpers.memory.jobs import Job
from helpers.memory.measure import finished
from helpers.memory.steps import generate, train
from helpers.models.quantize import guard_cpu_kernels
from helpers.models.skeletons import configuration


def measure_gpu(job: Job) -> int:
    """``torch.cuda.max_memory_allocated`` over two steps of the job on GPU 0, its weights random."""
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
    return finished(model, job)
