"""Compositional soft prompting: words as trained vectors in a fixed template (Nayak et al., 2023, arXiv:2204.03574)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import CLIPModel

from helpers.adapters.compositional.base import CompositionalModel, encode_pairs
from helpers.adapters.compositional.features import ImageFeatures
from helpers.adapters.compositional.prompts import TEMPLATE, SoftPrompt


class CSP(CompositionalModel):
    """States and objects are learned on seen pairs; any pair of them makes a prompt. All else is frozen.

    A pair's prompt is the template with the state's and the object's vector in it; its logit for a picture is CLIP's
    cosine times CLIP's own scale, and the loss is cross-entropy over the seen pairs. Before training it scores as CLIP
    does with that template, where each word is one token.

    Differs from the paper: AdamW in ``train_compositional`` in place of Adam; weight decay and dropout, there searched
    per data set, are arguments.

    Args:
        clip, tokenizer, states, objects, word_dropout: see ``CompositionalModel``.
        template: has the fields state and object.

    Raises:
        DataError, ModelError: see ``CompositionalModel`` and ``SoftPrompt``.
    """

    def __init__(
        self,
        clip: CLIPModel,
        tokenizer: Any,
        states: Sequence[str],
        objects: Sequence[str],
        *,
        template: str = TEMPLATE,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__(clip, tokenizer, states, objects, word_dropout)
        self.prompt = SoftPrompt(clip, tokenizer, template).expecting("state", "object")

    def text_features(self, pairs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states, objects = self._dropped_words()
        return (encode_pairs(self.prompt, states, objects, pairs),)

    def score(self, images: ImageFeatures, texts: tuple[torch.Tensor, ...], pairs: torch.Tensor) -> torch.Tensor:
        return self.scale * functional.normalize(images.vectors, dim=-1) @ texts[0].T

    def loss(self, images: ImageFeatures, pairs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.score(images, self.text_features(pairs), pairs), target)
