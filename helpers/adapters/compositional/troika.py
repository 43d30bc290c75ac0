"""Troika: three branches for state, object and composition (Huang et al., 2024, arXiv:2303.15230)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPModel

from helpers.adapters.compositional.base import CompositionalModel, encode_pairs, in_batches
from helpers.adapters.compositional.features import ImageFeatures
from helpers.adapters.compositional.prompts import TEMPLATE, SoftPrompt


@dataclass(frozen=True)
class Branches:
    """One number for each branch."""

    composition: float = 1.0
    state: float = 1.0
    object: float = 1.0


class Disentangler(nn.Module):
    """The part of an image feature that one branch looks at: ``x + W₂ gelu(W₁ norm(x))``, ``x`` itself at first."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(functional.normalize(x, dim=-1))


class Traction(nn.Module):
    """Cross-modal traction: text features are pulled towards what a picture's patches show.

    Each layer is ``t += attention(t, patches)``, then ``t += MLP(norm(t))``; the result is ``t₀ + λ t`` with one
    learned λ a dimension. What attention and MLP add starts at 0, so untrained traction changes no direction.
    """

    def __init__(self, width: int, layers: int, heads: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True) for _ in range(layers)
        )
        self.mlp = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout),
                nn.Linear(4 * width, width),
            )
            for _ in range(layers)
        )  # fmt: skip
        self.scale = nn.Parameter(torch.full((width,), scale))
        for attention, mlp in self._layers():
            for last in (attention.out_proj, mlp[-1]):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, texts: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Unit features of k texts for each of b pictures.

        Args:
            texts: (k, d) unit features.
            patches: (b, p, d), not normalised.

        Returns:
            (b, k, d).
        """
        seen = self.norm(patches)
        pulled = texts.expand(len(patches), -1, -1)
        for attention, mlp in self._layers():
            pulled = pulled + attention(pulled, seen, seen, need_weights=False)[0]
            pulled = pulled + mlp(pulled)
        return functional.normalize(texts + self.scale * pulled, dim=-1)

    def _layers(self) -> Any:
        return zip(self.attention, self.mlp, strict=True)


class Troika(CompositionalModel):
    """Composition, state and object are recognised apart, then fused.

    Each branch has a prompt with its own trained prefix (“a photo of” at first); the vectors of states and objects are
    shared. The composition branch compares with the image feature, the others with what a disentangler makes of it.
    All texts pass through one cross-modal traction over the picture's patches. The loss is the weighted sum of the
    three cross-entropies (compositions among the seen pairs); the score of a pair is
    p(state, object) + p(state) · p(object), in 0…2. Until trained, each branch scores as CLIP does with its prompt.

    Differs from the paper:
        - No adapters in the image encoder: the tower runs once a picture, its features are cached, so training takes
          seconds; what the paper gains by adapters (its table of ablations) is not to be had here.
        - Disentanglers are residual and start as the identity; the published code has linear, batch norm, ReLU,
          dropout.
        - Traction's output layers start at 0; patches are normalised once, where the published code normalises them
          again for every branch.
        - Fusion adds probabilities, as the paper writes it; the published code adds the products to the *logits* of
          the compositions. p(state, object) is over the candidates given, so their number changes it.
        - AdamW at a constant rate in ``train_compositional`` in place of Adam with steps.

    Args:
        clip, tokenizer, states, objects, word_dropout: see ``CompositionalModel``.
        template: of the composition; the others are ``state_template`` and ``object_template``.
        layers: of cross-modal traction; 0 leaves it out, and no patches are needed.
        heads: attention heads; ``None`` gives each 64 dimensions, as in CLIP.
        dropout: inside disentanglers and traction.
        traction: what λ starts at.
        weights: of the three losses.
        seed: of the layers that start at random.

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
        state_template: str = "a photo of {state}",
        object_template: str = "a photo of {object}",
        layers: int = 2,
        heads: int | None = None,
        dropout: float = 0.1,
        word_dropout: float = 0.0,
        traction: float = 0.1,
        weights: Branches = Branches(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        super().__init__(clip, tokenizer, states, objects, word_dropout)
        width = clip.config.projection_dim
        self.needs_patches = layers > 0
        self.weights = weights
        self.prompt = SoftPrompt(clip, tokenizer, template, train_context=True).expecting("state", "object")
        self.state_prompt = SoftPrompt(clip, tokenizer, state_template, train_context=True).expecting("state")
        self.object_prompt = SoftPrompt(clip, tokenizer, object_template, train_context=True).expecting("object")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.disentanglers = nn.ModuleDict({name: Disentangler(width, dropout) for name in ("state", "object")})
            self.traction = Traction(width, layers, heads or max(1, width // 64), dropout, traction) if layers else None
        self.to(self.words.device)

    def text_features(self, pairs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states, objects = self._dropped_words()
        return (
            encode_pairs(self.prompt, states, objects, pairs),
            in_batches(self.state_prompt, states[:, None]),
            in_batches(self.object_prompt, objects[:, None]),
        )

    def logits(self, images: ImageFeatures, texts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Of compositions ``(b, k)``, states ``(b, states)`` and objects ``(b, objects)``."""
        x = images.vectors
        views = (x, self.disentanglers["state"](x), self.disentanglers["object"](x))
        result = []
        for view, text in zip(views, texts, strict=True):
            unit = functional.normalize(view, dim=-1)
            if self.traction is None:
                result.append(self.scale * unit @ text.T)
            else:
                pulled = self.traction(text, images.patches)
                result.append(self.scale * torch.einsum("bd,bkd->bk", unit, pulled))
        return tuple(result)

    def score(self, images: ImageFeatures, texts: tuple[torch.Tensor, ...], pairs: torch.Tensor) -> torch.Tensor:
        # In float64: probabilities of unlikely pairs must still differ, the calibration bias compares them.
        whole, state, thing = (logits.double().softmax(-1) for logits in self.logits(images, texts))
        return whole + state[:, pairs[:, 0]] * thing[:, pairs[:, 1]]

    def loss(self, images: ImageFeatures, pairs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        whole, state, thing = self.logits(images, self.text_features(pairs))
        states, things = pairs[target].T
        return (
            self.weights.composition * functional.cross_entropy(whole, target)
            + self.weights.state * functional.cross_entropy(state, states)
            + self.weights.object * functional.cross_entropy(thing, things)
        )
