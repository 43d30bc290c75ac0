"""Which training rows moved an answer? Similarity of gradients, to first order.

A small step of gradient descent on a training row z changes the loss of a query q by −η ∇l(z)·∇l(q): rows whose
gradient points the way of the query's helped it (Pruthi et al., 2020, "TracIn", arXiv:2002.08484). Summed over all
steps that would be the whole training; here it is looked at once, at its end, and as a cosine, so that rows with a
large loss are not all that is found. What this leaves out, a retraining without the rows shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from helpers.errors import DataError
from helpers.progress import each
from helpers.training.losses import IGNORED, completion_loss

if TYPE_CHECKING:
    from torch import nn

Row = Mapping[str, Sequence[int]]  # input_ids and labels, as ``completion_row`` gives them


def gradient(model: nn.Module, row: Row) -> torch.Tensor:
    """Gradient of a row's loss by all trainable parameters in one vector, float32 ``(parameters,)``.

    The mean over its labelled tokens, dropout off. The model's own gradients are gone afterwards.

    Raises:
        DataError: no token of the row has a label, or nothing is trainable.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained or all(label == IGNORED for label in row["labels"][1:]):
        raise DataError("there is no gradient: no token has a label, or nothing is trained", "Give rows with answers")
    device, training = trained[0].device, model.training
    inputs = {name: torch.tensor([list(row[name])], device=device) for name in ("input_ids", "labels")}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    model.eval()
    model.zero_grad()
    try:
        loss: Any = completion_loss(model, inputs)[0]
        loss.backward()
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        return torch.cat([part.detach().float().flatten() for part in parts])
    finally:
        model.zero_grad()
        model.train(training)


def similarities(model: nn.Module, rows: Sequence[Row], queries: Sequence[Row]) -> np.ndarray:
    """Cosine of each query's gradient with each row's, ``(queries, rows)``; 0 where a gradient is 0.

    One backward pass for each of both. The queries' gradients are kept: as many times the trained weights.
    """
    asked = torch.stack([_unit(gradient(model, query)) for query in queries])
    found = [(asked @ _unit(gradient(model, row))).cpu().numpy() for row in each("gradients", list(rows))]
    return np.stack(found, axis=1).astype(np.float64)


def _unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm().clamp(min=1e-30)


def difference(row: Row, other: Row) -> dict[str, list[int]]:
    """The row with labels only where it differs from another: between their common beginning and their common end.

    Two answers that differ in a name give the row whose gradient is the name's.

    Raises:
        DataError: they do not differ.
    """
    mine, theirs = list(row["input_ids"]), list(other["input_ids"])
    if mine == theirs:
        raise DataError("the two rows are equal", "Give rows that differ in what is asked about")
    room = min(len(mine), len(theirs))
    start = next((i for i in range(room) if mine[i] != theirs[i]), room)
    end = next((i for i in range(room - start) if mine[-1 - i] != theirs[-1 - i]), room - start)
    inside = range(start, len(mine) - end)
    labels = [label if i in inside else IGNORED for i, label in enumerate(row["labels"])]
    return {"input_ids": mine, "labels": labels}
