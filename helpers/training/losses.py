"""The losses of a training step: ``helpers.training.trainers`` takes them, ``helpers.memory`` plans with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100  # labels that take no loss


def completion_loss(model: Any, inputs: Mapping[str, Any], count: Any = None) -> tuple[torch.Tensor, Any]:
    """Cross-entropy per labelled token, the output head applied only where some row of the batch has a label.

    Args:
        inputs: ``input_ids`` and ``labels`` (−100 where no loss is taken), both ``(b, t)``; ``attention_mask``.
        count: labelled tokens that the sum is divided by: of the whole update, per process where there are several, or
            as many as a batch has on average; those of this batch when ``None``.

    Returns:
        The loss, and the model's output with logits ``(b, positions, vocabulary)``.
    """
    shifted = inputs["labels"][:, 1:]
    positions = (shifted != IGNORED).any(0).nonzero().squeeze(1)
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs.get("attention_mask"),
        logits_to_keep=positions,
        use_cache=False,
    )
    targets = shifted[:, positions]
    taken = float((targets != IGNORED).sum() if count is None else count) or 1.0
    if outputs.logits.dtype != torch.float16:
        return LabelledLoss.apply(outputs.logits, targets, 1 / taken), outputs
    # In float16 a gradient is scaled up before it is rounded, so it cannot be kept: row by row, and again in the
    # backward pass.
    rows = zip(outputs.logits.unbind(0), targets.unbind(0), strict=True)
    total = sum(checkpoint(_summed_loss, logits, target, use_reentrant=False) for logits, target in rows)
    return total / taken, outputs


class LabelledLoss(torch.autograd.Function):
    """Cross-entropy summed over the labelled positions, whose gradient is made along with it: softmax − one-hot.

    A float32 copy of all logits and its softmax would be the largest tensors of the whole step, so there is one row
    of a batch at a time. The gradient takes the place that the gradient of the logits has in any case.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor, scale: float) -> torch.Tensor:
        """Logits ``(b, positions, vocabulary)``, targets ``(b, positions)``; the sum times `scale`, in float32."""
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        gradient = torch.zeros_like(logits) if ctx.needs_input_grad[0] else None
        for number, target in enumerate(targets):
            places = (target != IGNORED).nonzero().squeeze(1)
            logp = functional.log_softmax(logits[number, places].float(), -1)
            named = target[places].unsqueeze(1)
            total -= logp.gather(1, named).sum()
            if gradient is not None:
                logp.exp_().scatter_add_(1, named, torch.full_like(named, -1, dtype=logp.dtype))
                gradient[number, places] = logp.mul_(scale).to(logits.dtype)
        ctx.gradient = gradient
        return total * scale

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        if ctx.gradient is None:
            raise RuntimeError("the gradient of this loss was taken already")
        gradient, ctx.gradient = ctx.gradient.mul_(gradients[0]), None
        return gradient, None, None


def head_loss(model: Any, inputs: Mapping[str, Any], count: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy per row of a model with a classification head.

    Args:
        inputs: what the model reads, and ``labels``, the class of each row, ``(b,)``.
        count: rows of the whole update, per process; those of this batch when ``None``.

    Returns:
        The loss, and the scores of the classes, ``(b, classes)``.
    """
    scores = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits.float()
    return _per_row(scores, inputs["labels"], count), scores


def label_word_loss(
    model: Any, inputs: Mapping[str, Any], label_ids: Sequence[int], count: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy per row over the words that stand for the classes; rows are padded on the left.

    Args:
        inputs: ``input_ids`` and ``attention_mask``, ``(b, t)``; ``labels``, the class of each row, ``(b,)``.
        label_ids: the token of each class.
        count: rows of the whole update, per process; those of this batch when ``None``.

    Returns:
        The loss, and the scores of the classes, ``(b, classes)``.
    """
    mask = inputs["attention_mask"]
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        logits_to_keep=1,
        use_cache=False,
    )
    scores = outputs.logits[:, -1, list(label_ids)].float()
    return _per_row(scores, inputs["labels"], count), scores


def _per_row(scores: torch.Tensor, labels: torch.Tensor, count: Any) -> torch.Tensor:
    rows = len(scores) if count is None else float(count)
    return functional.cross_entropy(scores, labels, reduction="sum") / (rows or 1)


def _summed_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over the labelled positions of one row, ``(length, vocabulary)`` and ``(length,)``."""
    kept = targets != IGNORED
    return functional.cross_entropy(logits[kept].float(), targets[kept], reduction="sum")
