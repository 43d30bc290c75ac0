"""A job's model with fake weights: built, quantised and adapted as the lessons do it, in the same formats."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from helpers.errors import ModelError, ParameterError
from helpers.memory.fake import FakeRun
from helpers.memory.jobs import Job
from helpers.models.families import FAMILIES
from helpers.models.heads import HEAD, keep_head_in_float32
from helpers.models.load import quiet_loading
from helpers.models.skeletons import configuration, skeleton

WEIGHTS, SCALES, ADAPTERS, BUFFERS = "weights", "quantisation scales", "adapters", "buffers"
BLOCK = 64  # weights that share a scale in NF4
KEPT = ("lm_head", HEAD)  # linear layers that are not quantised, where a family does not name its own


def shell(job: Job, config: Any) -> Any:
    """The job's model on ``meta``: quantised layers in place, LoRA around them, no numbers."""
    with quiet_loading():
        try:
            model = bare(job, config)
        except (ValueError, TypeError) as error:
            what = f"{job.model} cannot be planned for step {job.step!r}: {str(error)[:120]}"
            raise ModelError(what, "use a step that this kind of model has") from None
        _quantise(model, job, config.model_type)
        model.requires_grad_(job.method == "full")
        if job.step == "classify":
            keep_head_in_float32(model)
        return _with_lora(model, job) if job.method == "lora" else model


def build(job: Job, run: FakeRun, config: Any = None) -> Any:
    """The wrapped model, ready for a step under `run`; its storages are recorded with their causes.

    Args:
        config: in place of the configuration of ``job.model``.
    """
    config = configuration(job.model) if config is None else config
    model = shell(job, config)
    _fill(model, job, run)
    if job.method in ("key_value", "embedding", "peft"):
        with run, run.because(ADAPTERS):
            model = _with_prefix(model, job, run)
    if job.method == "soft":
        with run, run.because(ADAPTERS):
            with_words(model, job)
    if job.checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a newer name; the older works in every version
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train(job.trains)
    return model


def with_words(clip: Any, job: Job) -> None:
    """A trained vector for each place of each prompt, ``words``."""
    width = clip.config.text_config.hidden_size
    clip.words = nn.Parameter(torch.zeros(job.batch_size, job.length, width))


def bare(job: Job, config: Any) -> Any:
    """The job's model on ``meta``, neither quantised nor adapted."""
    from transformers import AutoModel, AutoModelForSequenceClassification

    if job.step == "contrast":
        return skeleton(config, AutoModel)
    options: dict[str, Any] = {}
    if config.model_type in FAMILIES:
        options["image_token_id"] = FAMILIES[config.model_type].image_token(config)
    if job.step == "classify":
        return skeleton(
            config, AutoModelForSequenceClassification, num_labels=job.classes, pad_token_id=0, use_cache=False
        )
    return skeleton(config, **options)


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _quantise(model: Any, job: Job, kind: str) -> None:
    """Linear layers replaced by bitsandbytes', as transformers does it on loading."""
    if job.quant == "none":
        return
    import bitsandbytes as bnb

    kept = FAMILIES[kind].kept if kind in FAMILIES else KEPT
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Linear or any(name == k or name.startswith(k + ".") for k in kept):
            continue
        sizes = (module.in_features, module.out_features, module.bias is not None)
        with torch.device("meta"):
            if job.quant == "int8":
                # Outlier columns depend on numbers that a plan does not have.
                packed = bnb.nn.Linear8bitLt(*sizes, has_fp16_weights=False, threshold=0.0)
            else:
                packed = bnb.nn.Linear4bit(*sizes, compute_dtype=getattr(torch, job.dtype), quant_type="nf4")
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, packed)
    model.is_quantized = True
    setattr(model, "is_loaded_in_8bit" if job.quant == "int8" else "is_loaded_in_4bit", True)


def _with_lora(model: Any, job: Job) -> Any:
    from peft import get_peft_model

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT asks transformers by an old name
            return get_peft_model(model, lora_config(job))
    except ValueError as error:
        cure = "Name layers of this model, joined by +, or all-linear"
        raise ParameterError(f"targets = {job.targets!r}: {str(error)[:120]}", cure) from None


def lora_config(job: Job) -> Any:
    """``LoraConfig`` of the job."""
    from peft import LoraConfig, TaskType

    kind = (TaskType.SEQ_CLS if job.head_trained else None) if job.step == "classify" else TaskType.CAUSAL_LM
    targets: Any = job.targets if job.targets in ("all-linear", "") else job.targets.split("+")
    if job.language_only:
        names = job.targets.replace("all-linear", r"\w+_proj").replace("+", "|")
        targets = rf".*(language_model|text_model).*\.({names})"
    frozen = ["score"] if kind is None else None  # "all-linear" would take it for a layer like the others
    return LoraConfig(
        r=job.lora_r, lora_dropout=job.lora_dropout, target_modules=targets or None, task_type=kind,
        exclude_modules=frozen,
    )  # fmt: skip


def _with_prefix(model: Any, job: Job, run: FakeRun) -> Any:
    from helpers.adapters.prefix import wrap_prefix

    with _in_place(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        wrapped = wrap_prefix(model, job.method, n_tokens=job.prefix_tokens, hidden=job.prefix_hidden or None)
    for parameter in wrapped.encoder.parameters():
        run.label(parameter, ADAPTERS)
    return wrapped


@contextmanager
def _in_place() -> Iterator[None]:
    """Modules stay where they are: all is on one device here, and fake parameters cannot be moved."""
    own = nn.Module.to
    nn.Module.to = lambda self, *args, **kwargs: self  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        nn.Module.to = own  # type: ignore[method-assign]


def _fill(model: Any, job: Job, run: FakeRun) -> None:
    """Every parameter and buffer gets a fake storage in the format it has after loading."""
    dtype = getattr(torch, job.dtype)
    inner = _inner(model)
    # What is trained is in float32: adapters, and weights under autocast.
    own32 = not job.uniform and (job.mixed or job.method != "full")
    kept32 = re.compile("") if job.prepared else float32_names(inner, dtype)
    made: dict[int, Any] = {}  # a matrix that two modules share stays one
    with run:
        for name, module in model.named_modules():
            for key, parameter in list(module._parameters.items()):
                if parameter is None:
                    continue
                if id(parameter) not in made:
                    full = f"{name}.{key}"
                    exact = (parameter.requires_grad and own32) or kept32.search(full) is not None
                    made[id(parameter)] = (parameter, _filled(module, key, parameter, dtype, exact, job, run))
                module._parameters[key] = made[id(parameter)][1]
            for key, buffer in list(module._buffers.items()):
                if buffer is not None:
                    with run.because(BUFFERS):
                        module._buffers[key] = like(buffer)
            for key, value in list(vars(module).items()):  # a rotary table that is kept besides its buffer
                if isinstance(value, torch.Tensor) and value.is_meta:
                    with run.because(BUFFERS):
                        setattr(module, key, like(value))


def float32_names(model: Any, dtype: torch.dtype) -> re.Pattern[str]:
    """What transformers keeps in float32 beside 16-bit weights."""
    names: set[str] = {HEAD} | set(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
    if dtype == torch.float16:
        names |= set(getattr(model, "_keep_in_fp32_modules", None) or ())
    return re.compile("|".join(rf"(^|\.){re.escape(name)}(\.|$)" for name in sorted(names)))


def like(buffer: torch.Tensor) -> torch.Tensor:
    made = torch.zeros(buffer.shape, dtype=buffer.dtype)
    if not buffer.is_floating_point() and buffer.dim() == 2 and buffer.shape[0] == 1:
        made += torch.arange(buffer.shape[1])  # position ids are looked at
    return made


def _filled(module: Any, key: str, parameter: Any, dtype: torch.dtype, exact: bool, job: Job, run: FakeRun) -> Any:
    import bitsandbytes as bnb

    if key == "weight" and isinstance(module, bnb.nn.Linear4bit):
        return _packed4(module, job, run)
    if key == "weight" and isinstance(module, bnb.nn.Linear8bitLt):
        return _packed8(module, run)
    trained = parameter.requires_grad
    with run.because(ADAPTERS if trained and job.method != "full" else WEIGHTS):
        return nn.Parameter(
            torch.empty(parameter.shape, dtype=torch.float32 if exact else dtype), requires_grad=trained
        )


def _packed4(module: Any, job: Job, run: FakeRun) -> Any:
    """Two weights a byte, and the scales of their blocks as bitsandbytes keeps them."""
    from bitsandbytes.functional import QuantState

    rows, columns = module.out_features, module.in_features
    blocks = -(-rows * columns // BLOCK)
    with run.because(WEIGHTS):
        packed = nn.Parameter(_bytes((-(-rows * columns // 2), 1), torch.uint8, run), requires_grad=False)
    with run.because(SCALES):
        nested: dict[str, Any] = {}
        scales = torch.empty(blocks, dtype=torch.float32)
        if job.quant == "nf4-double":
            scales = _bytes((blocks,), torch.uint8, run)
            second = QuantState(
                absmax=torch.empty(-(-blocks // 256)), code=torch.empty(256), blocksize=256, dtype=torch.float32
            )
            nested = {"state2": second, "offset": torch.empty(1)}
        packed.quant_state = QuantState(
            absmax=scales, shape=torch.Size((rows, columns)), code=torch.empty(16), blocksize=BLOCK,
            quant_type="nf4", dtype=getattr(torch, job.dtype), **nested,
        )  # fmt: skip
    packed.bnb_quantized, packed.module = True, module
    module.support_avx512bf16_for_cpu = False
    return packed


def _packed8(module: Any, run: FakeRun) -> Any:
    with run.because(WEIGHTS):
        packed = nn.Parameter(_bytes((module.out_features, module.in_features), torch.int8, run), requires_grad=False)
    with run.because(SCALES):
        packed.SCB = torch.empty(module.out_features, dtype=torch.float32)
    packed.CB = packed.data
    packed.has_fp16_weights = False
    return packed


def _bytes(shape: tuple[int, ...], dtype: torch.dtype, run: FakeRun) -> torch.Tensor:
    """A fake tensor of whole numbers; plain ones are real."""
    with torch.device("meta"):
        made = run.pretend(torch.empty(shape, dtype=dtype))
    run.record(made, "weights")
    return made
