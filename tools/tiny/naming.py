"""A lesson in naming: vectors of pictures have to tell the words for a shoe apart. The heads are thrown away after."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from helpers.tasks.zappos.shoes import Shoe
from helpers.tasks.zappos.words import COLOURS, DRAWN, MATERIALS, SLOTS

WORDS = dict(zip(SLOTS, (tuple(DRAWN), COLOURS, MATERIALS), strict=True))


class Naming(nn.Module):
    """A linear head for type, colour and material each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, len(words)) for words in WORDS.values())

    def forward(self, vectors: torch.Tensor, shoes: Sequence[Shoe]) -> torch.Tensor:
        """Mean cross-entropy of the three, in nats; vectors ``(n, width)`` of n shoes."""
        losses = []
        for (slot, words), head in zip(WORDS.items(), self.heads, strict=True):
            truth = torch.tensor([words.index(getattr(shoe, slot)) for shoe in shoes])
            losses.append(functional.cross_entropy(head(vectors), truth))
        return torch.stack(losses).mean()
