"""Trainers of classifiers: one label a row, and an update whose loss is the mean over all of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from helpers.training.losses import IGNORED, head_loss, label_word_loss
from helpers.training.sharing import Shared


class _RowTrainer(Shared):
    """Counts an update's rows, so that its loss and gradients do not depend on how it is split into forward passes.

    ``Trainer`` counts what has a label after the shift of a language model, which drops a row of every pass where
    labels have one dimension; and a model with a classification head leaves the count out, while ``Trainer`` relies
    on it. Both make the loss too large under accumulation.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # the count comes to compute_loss, so nothing is divided afterwards

    def _get_num_items_in_batch(self, batch_samples: Sequence[Mapping[str, Any]], device: Any) -> Any:
        return self._per_process(sum(int((batch["labels"] != IGNORED).sum()) for batch in batch_samples))


class ClassifierTrainer(_RowTrainer):
    """``Trainer`` for a model with a classification head: cross-entropy, the mean over the rows of an update."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, scores = head_loss(model, inputs, num_items_in_batch)
        return (loss, {"logits": scores}) if return_outputs else loss


class LabelWordTrainer(_RowTrainer):
    """``Trainer`` for a language model that classifies by its own words; cross-entropy over the words alone.

    Batches are padded on the left, so that the last position of every row is where the answer starts.

    Args:
        label_ids: the token that stands for each class, from ``models.label_token_ids``.
    """

    def __init__(self, *args: Any, label_ids: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_ids = list(label_ids)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, scores = label_word_loss(model, inputs, self.label_ids, num_items_in_batch)
        return (loss, {"logits": scores}) if return_outputs else loss
