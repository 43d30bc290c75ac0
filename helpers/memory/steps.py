"""One step of a job, on real tensors or on fake ones: what ``Trainer`` does between two logs, and a generation.

The functions do not know which kind of tensor they have. That is what makes a plan comparable with a measurement.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from helpers.memory.jobs import Job
from helpers.training.losses import completion_loss, head_loss, label_word_loss
from helpers.training.speed import faster_on_cpu

# What a storage is for, by the part of the step in which it begins.
INPUTS, ACTIVATIONS, BACKWARD, UPDATE = "inputs", "activations", "backward", "update"
GRADIENTS, STATES, KEPT = "gradients", "optimizer states", "dequantised weights"
GATHERED, SENT = "gathered weights", "sent between cards"  # where several cards train together
Mark = Callable[[str], Any]  # cause -> a context in which storages begin for it
Label = Callable[[torch.Tensor, str], None]


def loss_of(job: Job, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    """The loss as the lessons' trainers take it."""
    if job.step == "completion":
        return completion_loss(model, inputs)[0]
    if job.step == "label_words":
        return label_word_loss(model, inputs, list(range(job.classes)))[0]
    if job.step == "classify":
        return head_loss(model, inputs)[0]
    if job.step == "contrast":
        return _soft_prompts(model, inputs)
    loss: torch.Tensor = model(**inputs).loss
    return loss


def _soft_prompts(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    """CLIP's text tower with a trained vector in place of each word; the pictures' vectors are kept from before."""
    from helpers.models.clip import project_ids

    def add(_table: Any, _args: Any, embedded: torch.Tensor) -> torch.Tensor:
        return embedded + model.words

    handle = model.text_model.embeddings.token_embedding.register_forward_hook(add)
    try:
        return project_ids(model, inputs["input_ids"]).sum()
    finally:
        handle.remove()


def train(
    job: Job, model: Any, inputs: Mapping[str, Any], mark: Mark | None = None, label: Label | None = None
) -> None:
    """One update as it is from the second on: the optimizer has its states, and earlier passes have left gradients.

    Args:
        inputs: on the model's device.
        mark, label: how to keep a record; nothing is kept without them.
    """
    mark = mark or (lambda cause: nullcontext())
    label = label or (lambda tensor, cause: None)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(job, trained)
    with mark(STATES):
        _first_update(optimizer, trained)
    if job.accumulation > 1:
        with mark(GRADIENTS):
            for parameter in trained:
                parameter.grad = torch.zeros_like(parameter)
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: label(p.grad, GRADIENTS))
    with _faster(job, model, mark):
        with mark(ACTIVATIONS), mixed_precision(job, model):
            loss = loss_of(job, model, inputs)
        with mark(BACKWARD):
            (loss / job.accumulation).backward()
    with mark(UPDATE):
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


@contextmanager
def _faster(job: Job, model: Any, mark: Mark) -> Iterator[None]:
    with ExitStack() as stack:
        if job.faster and job.device == "cpu":
            with mark(KEPT):
                stack.enter_context(faster_on_cpu(model, weights=job.kept_weights, quiet=True))
        yield


def make_optimizer(job: Job, trained: list[Any]) -> torch.optim.Optimizer:
    """AdamW as ``Trainer`` makes it. States in 8 bits or in pages have no fake kernels: their bytes are added."""
    if job.optimizer == "adamw_torch":
        return torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    return torch.optim.SGD(trained, lr=1e-4)


def _first_update(optimizer: torch.optim.Optimizer, trained: list[Any]) -> None:
    """States begin with the first update; gradients of zero leave the weights as they are."""
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


@contextmanager
def mixed_precision(job: Job, model: Any) -> Iterator[None]:
    """As accelerate does it: the forward pass under autocast, what comes out of it in float32."""
    if job.dtype == "float32" or not job.mixed:
        yield
        return
    from accelerate.utils import convert_outputs_to_fp32

    own = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(model.device.type, dtype=getattr(torch, job.dtype)):
            return own(*args, **kwargs)

    model.forward = convert_outputs_to_fp32(forward)
    try:
        yield
    finally:
        del model.forward


def answering(job: Job) -> Callable[..., None]:
    """The step of a job that does not train."""
    return generate if job.step == "generate" else rate


def rate(job: Job, model: Any, inputs: Mapping[str, Any], mark: Mark | None = None) -> None:
    """Given answers are read behind their prompts, a row each, and the likelihoods of their tokens are summed."""
    from helpers.inference.batching import evaluation

    mark = mark or (lambda cause: nullcontext())
    context = evaluation(model) if job.device == "cpu" else torch.inference_mode()
    with mark(ACTIVATIONS), context:
        logits = model(**inputs, logits_to_keep=job.labelled + 1, use_cache=False).logits[:, :-1].float()
        targets = inputs["input_ids"][:, -job.labelled :]
        logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1).double().sum(1)


def generate(job: Job, model: Any, inputs: Mapping[str, Any], mark: Mark | None = None) -> None:
    """A prompt is read, and its longest answer's last token is written."""
    from helpers.inference.batching import evaluation

    mark = mark or (lambda cause: nullcontext())
    # On a CPU 4-bit weights are unpacked once for a whole generation, on a GPU at every use.
    context = evaluation(model) if job.device == "cpu" else torch.inference_mode()
    device = inputs["input_ids"].device
    with mark(ACTIVATIONS), context:
        out = model(**inputs, use_cache=True, **_last_only(model))
        nested = getattr(out, "language_model_outputs", None)  # BLIP-2's language model writes on by itself
        cache = (nested or out).past_key_values
        writer = model.language_model if nested else model
        del out, nested
        if job.new_tokens > 1:
            with mark(INPUTS):  # earlier tokens have made it so large, no operation of this one
                _grow(cache, job.new_tokens - 2)
            past = job.length + job.new_tokens - 2
            writer(
                input_ids=torch.full((job.batch_size, 1), 7, device=device),
                attention_mask=torch.ones(job.batch_size, past + 1, dtype=torch.long, device=device),
                position_ids=torch.full((job.batch_size, 1), past, device=device),
                past_key_values=cache,
                use_cache=True,
                **_last_only(writer),
            )


def _last_only(model: Any) -> dict[str, int]:
    """``generate`` asks for the logits of the last position, where a model can leave out the others."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(inner.forward).parameters else {}


def _grow(cache: Any, tokens: int) -> None:
    """The cache as it is some tokens later."""
    for layer in cache.layers:
        if layer.keys is not None and tokens > 0:
            for name in ("keys", "values"):
                kept = getattr(layer, name)
                more = kept.new_empty(*kept.shape[:-2], tokens, kept.shape[-1])
                setattr(layer, name, torch.cat([kept, more], dim=-2))
