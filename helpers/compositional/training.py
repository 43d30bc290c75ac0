"""Training on cached features: the text side and the small modules learn, the image tower is not run again."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from helpers.compositional.base import CompositionalModel
from helpers.compositional.features import LabelledImages
from helpers.compositional.measures import Candidates, compositional_measures
from helpers.errors import DataError, TrainingDiverged


def train_compositional(
    model: CompositionalModel,
    train: LabelledImages,
    validation: LabelledImages,
    candidates: Candidates,
    *,
    epochs: int = 15,
    learning_rate: float = 5e-4,
    batch_size: int = 128,
    weight_decay: float = 1e-5,
    seed: int = 0,
    lines: int = 5,
) -> list[dict[str, Any]]:
    """Train on seen pairs with AdamW; the epoch with the best harmonic mean on validation pictures is kept.

    Epoch 0 is the model before training, so that what comes back is never worse on validation. The earlier epoch is
    kept of two equal ones. Defaults are those of Troika's published configuration for UT-Zappos, which also halves the
    rate every five epochs and drops 0.3 of the words' numbers; small random models want a higher rate. On a CPU the
    same arguments give the same numbers.

    Args:
        model: changed in place.
        train: pictures of seen pairs.
        validation: pictures of seen and of unseen pairs; unseen ones serve only to choose the epoch.
        candidates: closed or open world for the validation; its seen pairs are the classes of training.
        seed: of the order of pictures and of dropout.
        lines: about how many progress lines to print; 0 prints none.

    Returns:
        One row an epoch from 0 on: epoch, loss (``None`` at 0), best_seen, best_unseen, harmonic_mean, auc and bias
        on validation, and whether it is the epoch kept.

    Raises:
        DataError: no training picture, one of an unseen pair, or validation without a seen or an unseen pair.
        TrainingDiverged: the loss was not a number.
    """
    if not len(train):
        raise DataError("there is no training picture", "check the split")
    unseen = sorted(set(train.pairs) - set(candidates.seen_pairs))
    if unseen:
        shown = ", ".join(" ".join(pair) for pair in unseen[:3])
        raise DataError(
            f"training pictures show {len(unseen)} pair(s) that are not seen pairs ({shown})", "correct the split"
        )
    truth = candidates.index(validation.pairs)
    pairs = model.place(candidates.seen_pairs)
    column = {pair: i for i, pair in enumerate(candidates.seen_pairs)}
    target = torch.tensor([column[pair] for pair in train.pairs])
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=learning_rate, weight_decay=weight_decay
    )

    def measured(epoch: int, loss: float | None) -> dict[str, Any]:
        found = compositional_measures(model.scores(validation.features, candidates.pairs), truth, candidates)
        names = ("best_seen", "best_unseen", "harmonic_mean", "auc", "bias")
        return {"epoch": epoch, "loss": loss} | {name: getattr(found, name) for name in names}

    history = [measured(0, None)]
    best, kept = 0, copy.deepcopy(model.state_dict())
    order = torch.Generator().manual_seed(seed)
    devices = [model.words.device] if model.words.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            model.train()
            total = 0.0
            for rows in torch.randperm(len(train), generator=order).split(batch_size):
                loss = model.loss(model.ready(train.features[rows]), pairs, target[rows].to(pairs.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            _stop_if_diverged(total, epoch)
            history.append(measured(epoch, total / len(train)))
            if history[-1]["harmonic_mean"] > history[best]["harmonic_mean"]:
                best, kept = epoch, copy.deepcopy(model.state_dict())
            if lines and (epoch == epochs or epoch * lines // epochs > (epoch - 1) * lines // epochs):
                row = history[-1]
                print(
                    f"epoch {epoch:>3} of {epochs}  loss {row['loss']:7.4f}  validation harmonic mean "
                    f"{row['harmonic_mean']:.3f}  AUC {row['auc']:.3f}"
                )
    model.load_state_dict(kept)
    model.eval()
    return [row | {"kept": row["epoch"] == best} for row in history]


def _stop_if_diverged(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingDiverged(f"the loss was not a number in epoch {epoch}", "lower learning_rate")
