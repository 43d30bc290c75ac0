"""Sentence embeddings for cosine scores and maps of the data.

``minilm`` is all-MiniLM-L6-v2, which compares meanings. ``hashing`` needs no weights and compares
*spelling*: hashed character 3- to 5-grams, so it sees that "chopped onion" and "onions, chopped" are close
but not that "aubergine" is "eggplant". It serves where no weights may be loaded; its cosines must not be
compared with those of ``minilm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from helpers.errors import ModelError, ParameterError
from helpers.hints import nearest_and_all
from helpers.progress import each

FloatArray = NDArray[np.float32]

REMEMBERED = 20_000  # texts whose vectors are kept, some 30 MB at 384 numbers each


class Embedder(Protocol):
    """Maps n texts to an (n, d) float32 array of unit rows; a text without content gives a zero row."""

    @property
    def name(self) -> str: ...

    def __call__(self, texts: Sequence[str]) -> FloatArray: ...


class HashingEmbedder:
    """Lexical: signed hashed character n-grams inside word boundaries, d = 2048. Deterministic."""

    name = "hashing"
    dimension = 2048

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self._vectorizer = HashingVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), n_features=self.dimension, norm="l2", alternate_sign=True
        )

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        if not len(texts):
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.asarray(self._vectorizer.transform(list(texts)).toarray(), dtype=np.float32)


class SentenceEmbedder:
    """Semantic: a transformer encoder, mean-pooled over its tokens and scaled to unit length.

    Texts seen before are not run again.

    Args:
        folder: a folder that AutoModel and AutoTokenizer can read.
        name: what records call it.
        max_length: tokens read per text; the rest is cut (256 is what MiniLM was trained with).
        batch_size: texts per forward pass, grouped by length so that little is spent on padding.
        device: torch device to run on.
    """

    def __init__(
        self,
        folder: Path | str,
        name: str = "minilm",
        max_length: int = 256,
        batch_size: int = 32,
        device: str = "cpu",
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.name = name
        self._max_length, self._batch_size, self._device = max_length, batch_size, device
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype="float32")
        except (OSError, ValueError) as error:
            raise ModelError(
                f"The sentence embedder in {folder} cannot be loaded ({str(error).splitlines()[0]})",
                "Run python -m helpers assets",
            ) from error
        self._model: Any = model.eval().to(device)
        self._known: dict[str, FloatArray] = {}

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        # References come back with every system that is scored, and a page of text takes some 50 ms.
        if len(self._known) > REMEMBERED:
            self._known.clear()
        # An empty text still has its special tokens; pooling those would give it a meaning.
        new = {t for t in texts if t.strip() and t not in self._known}
        self._embed(sorted(new, key=lambda t: (len(t), t)))
        nothing = np.zeros(int(self._model.config.hidden_size), dtype=np.float32)
        return np.stack([self._known.get(t, nothing) for t in texts]) if len(texts) else nothing[None][:0]

    def _embed(self, texts: list[str]) -> None:
        import torch

        groups = [texts[start : start + self._batch_size] for start in range(0, len(texts), self._batch_size)]
        for chosen in each("embedding texts", groups, len(texts), len):
            batch = self._tokenizer(
                chosen,
                padding=True,
                truncation=True,
                max_length=self._max_length,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                hidden = self._model(**batch).last_hidden_state.float()
                mask = batch["attention_mask"].unsqueeze(-1).float()
                pooled = (hidden * mask).sum(1) / mask.sum(1)
                rows = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
            self._known.update(zip(chosen, rows, strict=True))


EMBEDDERS = ("minilm", "hashing")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"  # the Hub original of the asset


def _minilm_folder() -> Path:
    """The asset where it was fetched, else the Hub's copy; AssetError says how to get either."""
    from helpers.errors import AssetError
    from helpers.sources import assets, hub

    if not assets.available("minilm") and (hub.cached(MINILM) or hub.hub_reachable()):
        return hub.fetch(MINILM, hub.model_files, fail=AssetError).folder
    return assets.path("minilm")


@lru_cache(maxsize=4)
def get_embedder(name: str, device: str = "cpu") -> Embedder:
    """The embedder of that name, loaded once.

    Raises:
        ParameterError: unknown name.
        AssetError: the MiniLM weights were not fetched (``python -m helpers assets``) and the Hub has none to give.
        ModelError: the weights are there but cannot be loaded.
    """
    if name == "hashing":
        return HashingEmbedder()
    if name == "minilm":
        return SentenceEmbedder(_minilm_folder(), name="minilm", device=device)
    raise ParameterError(f"embedder = {name!r} is unknown", nearest_and_all(name, EMBEDDERS, "embedder"))
