"""Training on cached features: the text side and the small modules learn, the image tower is not run again."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import math
import pickle
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from helpers.adapters.compositional.base import CompositionalModel
from helpers.adapters.compositional.features import LabelledImages
from helpers.adapters.compositional.measures import Candidates, compositional_measures
from helpers.errors import DataError, RunError, TrainingDiverged
from helpers.machine.out_of_memory import explained
from helpers.progress import Work
from helpers.progress.channel import TRAINING
from helpers.training.checkpoints import STATE, save_state


@explained("training")
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
    checkpoints: Path | None = None,
    resume_from: Path | None = None,
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
        checkpoints: folder that gets the state after each epoch, the latest only.
        resume_from: such a state, to be continued to the same numbers; ``None`` starts anew.

    Returns:
        One row an epoch from 0 on: epoch, loss (``None`` at 0), best_seen, best_unseen, harmonic_mean, auc and bias
        on validation, and whether it is the epoch kept.

    Raises:
        DataError: no training picture, one of an unseen pair, or validation without a seen or an unseen pair.
        TrainingDiverged: the loss was not a number; the model is back at the best epoch before.
        RunError: ``resume_from`` cannot be read or is of other data or arguments.
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

    of = _digest(model, train, validation, candidates, [epochs, learning_rate, batch_size, weight_decay, seed])
    order = torch.Generator().manual_seed(seed)
    devices = [model.words.device] if model.words.device.type == "cuda" else []
    updates = epochs * -(-len(train) // batch_size)
    with closing(Work(TRAINING, updates, bar=False)) as work, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        if resume_from is None:
            history = [measured(0, None)]
            best, kept = 0, copy.deepcopy(model.state_dict())
        else:
            state = _read(resume_from, of)
            history, best, kept = state["history"], state["best"], state["kept"]
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            order.set_state(state["order"])
            torch.set_rng_state(state["rng"])
            for device, rng in zip(devices, state["device_rng"], strict=False):
                torch.cuda.set_rng_state(rng, device)
        for epoch in range(len(history), epochs + 1):
            model.train()
            total = 0.0
            for rows in torch.randperm(len(train), generator=order).split(batch_size):
                loss = model.loss(model.ready(train.features[rows]), pairs, target[rows].to(pairs.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
                work.advance(loss=loss.item())
            if not math.isfinite(total):
                model.load_state_dict(kept)
                model.eval()
                what = f"the loss was not a number in epoch {epoch}; the model is back at epoch {best}"
                raise TrainingDiverged(what, "lower learning_rate")
            history.append(measured(epoch, total / len(train)))
            if history[-1]["harmonic_mean"] > history[best]["harmonic_mean"]:
                best, kept = epoch, copy.deepcopy(model.state_dict())
            if checkpoints is not None:
                state = {
                    "of": of, "history": history, "best": best, "kept": kept, "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(), "order": order.get_state(), "rng": torch.get_rng_state(),
                    "device_rng": [torch.cuda.get_rng_state(device) for device in devices],
                }  # fmt: skip
                written = io.BytesIO()
                torch.save(state, written)
                save_state(checkpoints, epoch, written.getvalue())
            if lines and (epoch == epochs or epoch * lines // epochs > (epoch - 1) * lines // epochs):
                row = history[-1]
                print(
                    f"epoch {epoch:>3} of {epochs}  loss {row['loss']:7.4f}  validation harmonic mean "
                    f"{row['harmonic_mean']:.3f}  AUC {row['auc']:.3f}"
                )
    model.load_state_dict(kept)
    model.eval()
    return [row | {"kept": row["epoch"] == best} for row in history]


def _read(checkpoint: Path, of: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise RunError(f"the checkpoint {checkpoint} cannot be read ({error})", "Remove it, then rerun") from None
    if state["of"] != of:
        what = f"the checkpoint {checkpoint} is of other data or of other arguments of the training"
        raise RunError(what, "Bring those back, or choose another run_name")
    return state


def _digest(
    model: CompositionalModel,
    train: LabelledImages,
    validation: LabelledImages,
    candidates: Candidates,
    arguments: list[float],
) -> str:
    """Tells trainings apart that must not be mixed."""
    found = hashlib.sha256(json.dumps([type(model).__name__, model.states, model.objects, arguments]).encode())
    found.update(repr((candidates.pairs, candidates.seen_pairs)).encode())
    for images in (train, validation):
        found.update(repr(list(images.pairs)).encode())
        found.update(images.features.vectors.detach().cpu().float().numpy().tobytes())
    return found.hexdigest()
