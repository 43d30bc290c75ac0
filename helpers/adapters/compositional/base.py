"""What CSP and Troika have in common: a frozen CLIP, trained vectors for states and objects, scores for any pairs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPModel

from helpers.adapters.compositional.features import ImageFeatures
from helpers.adapters.compositional.measures import Pair
from helpers.adapters.compositional.prompts import SoftPrompt, word_vectors
from helpers.errors import DataError, ModelError
from helpers.files import write_atomic
from helpers.hints import closest

TEXT_BATCH = 256  # prompts per pass of the text tower


class CompositionalModel(nn.Module, ABC):
    """States and objects as trained vectors over a frozen CLIP.

    CLIP is frozen in place and kept out of `parameters` and `state_dict`, which hold what is trained and nothing else.

    Args:
        clip: any CLIPModel; its parameters stop requiring gradients, and it is put into evaluation mode.
        tokenizer: the model's own.
        states, objects: every word of the vocabulary, seen pairs or not.
        word_dropout: share of the words' numbers set to 0 in training.

    Raises:
        DataError: a list is empty or a word occurs twice. See also ``word_vectors``.
        ModelError: the tokenizer is not this model's.
    """

    needs_patches = False

    def __init__(
        self, clip: CLIPModel, tokenizer: Any, states: Sequence[str], objects: Sequence[str], word_dropout: float
    ) -> None:
        super().__init__()
        if not states or not objects:
            raise DataError(f"there are {len(states)} states and {len(objects)} objects", "give at least one of each")
        self._clip = (clip.requires_grad_(False).eval(),)  # in a tuple, so that its weights are not this module's
        self.states, self.objects = tuple(states), tuple(objects)
        start = torch.cat([word_vectors(clip, tokenizer, words) for words in (self.states, self.objects)])
        self.words = nn.Parameter(start)  # states, then objects
        self.word_dropout = nn.Dropout(word_dropout)

    @property
    def clip(self) -> CLIPModel:
        return self._clip[0]

    @property
    def scale(self) -> torch.Tensor:
        """CLIP's own factor from cosine to logit."""
        return self.clip.logit_scale.exp().float()

    def place(self, pairs: Iterable[Pair]) -> torch.Tensor:
        """Positions of each pair's words among the states and the objects, ``(k, 2)``.

        Raises:
            DataError: a word is not in the vocabulary.
        """
        tables = [{word: i for i, word in enumerate(words)} for words in (self.states, self.objects)]
        rows = []
        for pair in pairs:
            for word, table in zip(pair, tables, strict=True):
                if word not in table:
                    near = closest(word, table, cutoff=0.6)
                    cure = f"did you mean {near!r}" if near else f"it knows {', '.join(list(table)[:6])}"
                    raise DataError(f"{word!r} is not in the model's vocabulary", cure)
            rows.append([table[word] for word, table in zip(pair, tables, strict=True)])
        return torch.tensor(rows, dtype=torch.long, device=self.words.device).view(-1, 2)

    @abstractmethod
    def loss(self, images: ImageFeatures, pairs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch.

        Args:
            images: b pictures on the model's device.
            pairs: (k, 2) the seen pairs, from ``place``.
            target: (b,) which of them is true.
        """

    @abstractmethod
    def text_features(self, pairs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All of the model's prompts for these pairs, encoded; what ``score`` takes."""

    @abstractmethod
    def score(self, images: ImageFeatures, texts: tuple[torch.Tensor, ...], pairs: torch.Tensor) -> torch.Tensor:
        """Score of every picture for every pair, ``(b, k)``; higher is better."""

    def scores(self, images: ImageFeatures, pairs: Sequence[Pair], batch_size: int = 64) -> NDArray[np.float64]:
        """Scores of any pairs, seen or not, ``(n, k)``; texts are encoded once, pictures `batch_size` at a time.

        Raises:
            DataError: a word is not in the vocabulary, or patches are needed and missing.
        """
        places = self.place(pairs)
        result = np.empty((len(images), len(places)))
        with evaluating(self):
            texts = self.text_features(places)
            for start in range(0, len(images), batch_size):
                batch = self.ready(images[start : start + batch_size])
                result[start : start + len(batch)] = self.score(batch, texts, places).double().cpu().numpy()
        return result

    def ready(self, images: ImageFeatures) -> ImageFeatures:
        """Features in float32 on the model's device.

        Raises:
            DataError: patches are needed and missing, or the features are of another width.
        """
        if images.vectors.shape[-1] != self.clip.config.projection_dim:
            what = f"features of width {images.vectors.shape[-1]} for a CLIP of {self.clip.config.projection_dim}"
            raise DataError(what, "embed the pictures with the same model")
        if self.needs_patches and images.patches is None:
            raise DataError(f"{type(self).__name__} reads patch features", "embed the pictures with patches=True")
        return images.to(self.words.device)

    def trainable(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def save(self, file: Path | str) -> Path:
        """What was trained, as one safetensors file; CLIP itself is not in it."""
        from safetensors.torch import save

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        return write_atomic(Path(file), save(tensors, metadata=self._identity()))

    def restore(self, file: Path | str) -> None:
        """Take back what ``save`` wrote, into a model built with the same arguments.

        Raises:
            ModelError: the file cannot be read, or is of another kind of model or vocabulary.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(file), framework="pt") as saved:
                found, tensors = saved.metadata(), {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file} cannot be read ({error})", "train and save again") from error
        if found != self._identity():
            raise ModelError(f"{file} is of another model or vocabulary", "build the model with the same arguments")
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(f"{file} does not fit this model", "build the model with the same arguments") from error

    def _identity(self) -> dict[str, str]:
        words = json.dumps([self.states, self.objects], ensure_ascii=False)
        return {"model": type(self).__name__, "words": words}

    def _dropped_words(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors of the states ``(states, width)`` and of the objects, with dropout while training."""
        states, objects = self.word_dropout(self.words).split([len(self.states), len(self.objects)])
        return states, objects


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the former mode comes back."""
    before = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(before)


def in_batches(prompt: nn.Module, words: torch.Tensor) -> torch.Tensor:
    """``prompt(words)`` a batch of texts at a time."""
    return torch.cat([prompt(part) for part in words.split(TEXT_BATCH)])


def encode_pairs(prompt: SoftPrompt, states: torch.Tensor, objects: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Unit text features of pairs, ``(k, d)``, whichever of the two words the template has first.

    Args:
        states, objects: a vector for each word.
        pairs: (k, 2) positions among them.
    """
    words = {"state": states[pairs[:, 0]], "object": objects[pairs[:, 1]]}
    return in_batches(prompt, torch.stack([words[field] for field in prompt.fields], dim=1))
