"""Texts on CLIP's side: hand-written templates, their ensembles, and prompts whose words are trained vectors.

CLIP reads a text's feature off the position of the end-of-text token, which transformers finds in the token ids, and
its text model takes no embeddings. So a soft prompt runs on ordinary token ids with placeholders, and the embedding
layer's output is replaced: positions, causal mask and pooling stay the model's own.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPModel

from helpers.adapters.compositional.features import ImageFeatures, cosine
from helpers.adapters.compositional.measures import Pair
from helpers.errors import DataError, ModelError
from helpers.models.clip import encode_ids, project_ids, unit

TEMPLATE = "a photo of {state} {object}"
LEGACY_EOS = 2  # CLIP configurations with this id pool at the highest token id instead; OpenAI's own have it


def encode_texts(clip: CLIPModel, tokenizer: Any, texts: Sequence[str], batch_size: int = 256) -> torch.Tensor:
    """Unit text features, ``(n, d)`` float32, without gradients.

    Raises:
        DataError: a text is longer than the model reads; it would be cut silently otherwise.
        ModelError: the tokenizer is not this model's.
    """
    return encode_ids(clip, [_token_ids(clip, tokenizer, text) for text in texts], batch_size)


def ensemble_texts(
    clip: CLIPModel, tokenizer: Any, templates: Sequence[str], fields: Sequence[Mapping[str, str]]
) -> torch.Tensor:
    """One unit feature per class from several templates, ``(n, d)``: the mean of their unit features, normalised.

    Prompt ensembling of Radford et al. (2021, arXiv:2103.00020, section 3.1.4); one template gives its own features.

    Args:
        templates: format strings, ``"a photo of {state} {object}"``.
        fields: what each class puts into the templates' fields.

    Raises:
        DataError: no template, or one names a field that a class lacks. As ``encode_texts``.
    """
    if not templates:
        raise DataError("there is no template", "give at least one, e.g. 'a photo of {object}'")
    try:
        texts = [template.format(**field) for template in templates for field in fields]
    except (KeyError, IndexError, ValueError) as error:
        given = ", ".join(fields[0]) if fields else "none"
        raise DataError(f"a template cannot be filled in ({error})", f"the fields given are: {given}") from error
    features = encode_texts(clip, tokenizer, texts).view(len(templates), len(fields), -1)
    return unit(features.mean(0))


def zero_shot_scores(
    clip: CLIPModel,
    tokenizer: Any,
    images: ImageFeatures,
    pairs: Sequence[Pair],
    templates: Sequence[str] = (TEMPLATE,),
) -> NDArray[np.float64]:
    """CLIP's own logits of every picture for every pair, ``(n, k)``: cosine times the model's logit scale."""
    fields = [{"state": state, "object": thing} for state, thing in pairs]
    texts = ensemble_texts(clip, tokenizer, templates, fields)
    return cosine(images.vectors, texts).astype(np.float64) * clip.logit_scale.exp().item()


def word_vectors(clip: CLIPModel, tokenizer: Any, words: Sequence[str]) -> torch.Tensor:
    """Input embedding of each word or phrase, ``(n, width)`` float32.

    Several tokens become one vector, their mean, as in the code published with CSP; so every prompt has one length.

    Raises:
        DataError: a word without tokens, with one the vocabulary lacks, or with the vector of another word.
        ModelError: the tokenizer is not this model's.
    """
    table = clip.text_model.embeddings.token_embedding.weight
    found: dict[tuple[int, ...], str] = {}
    for word in words:
        ids = tuple(_token_ids(clip, tokenizer, word)[1:-1])
        if not ids or tokenizer.unk_token_id in ids:
            raise DataError(f"{word!r} has tokens that the model's vocabulary lacks", "spell it in known words")
        if ids in found:
            raise DataError(f"{word!r} and {found[ids]!r} are the same tokens", "name each word once")
        found[ids] = word
    with torch.no_grad():
        rows = [table[torch.tensor(ids, device=table.device)].float().mean(0) for ids in found]
    return torch.stack(rows) if rows else table.new_zeros(0, table.shape[1]).float()


class SoftPrompt(nn.Module):
    """A template as embedding vectors: literal words may be trained, fields take vectors that are handed in.

    Args:
        clip: frozen by whoever trains; only read here.
        template: ``"a photo of {state} {object}"``; each field takes one vector.
        train_context: the vectors of the literal words are parameters, and start as those words.

    Raises:
        DataError: the template has no field, or more tokens than the model has positions.
        ModelError: the tokenizer is not this model's.
    """

    context: torch.Tensor
    ids: torch.Tensor

    def __init__(
        self, clip: CLIPModel, tokenizer: Any, template: str = TEMPLATE, *, train_context: bool = False
    ) -> None:
        super().__init__()
        self._clip = (clip,)  # in a tuple, so that its weights are not this module's
        self.fields: tuple[str, ...] = ()
        bos, *_, eos = _token_ids(clip, tokenizer, "")
        literal: list[int] = []
        order: list[int] = []  # position of each token between bos and eos in [literal words, fields]; fields negative
        for text, field, *_ in string.Formatter().parse(template):
            ids = _token_ids(clip, tokenizer, text)[1:-1]
            order += range(len(literal), len(literal) + len(ids))
            literal += ids
            if field is not None:
                self.fields += (field,)
                order.append(-len(self.fields))
        if not self.fields:
            raise DataError(f"template {template!r} has no field", "write e.g. 'a photo of {object}'")
        longest = clip.config.text_config.max_position_embeddings
        if len(order) + 2 > longest:
            raise DataError(f"template {template!r} has {len(order) + 2} tokens, CLIP reads {longest}", "shorten it")
        table = clip.text_model.embeddings.token_embedding.weight
        start = table.detach()[torch.tensor(literal, dtype=torch.long, device=table.device)].float().clone()
        if train_context:
            self.context = nn.Parameter(start)
        else:
            self.register_buffer("context", start, persistent=False)
        places = [len(literal) - 1 - place if place < 0 else place for place in order]
        self.register_buffer("order", torch.tensor(places, device=table.device), persistent=False)
        # Fields are held open by the beginning-of-text token: never taken for the end of the text.
        held = [bos, *(bos if place < 0 else literal[place] for place in order), eos]
        self.register_buffer("ids", torch.tensor(held, device=table.device), persistent=False)

    def expecting(self, *fields: str) -> SoftPrompt:
        """Itself, if its template has exactly these fields.

        Raises:
            DataError: it has others, or one of them twice.
        """
        if sorted(self.fields) != sorted(fields):
            wanted = " and ".join(f"{{{field}}}" for field in fields)
            raise DataError(f"a template has the fields {', '.join(self.fields)}", f"it needs {wanted}, each once")
        return self

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Unit text features of k prompts.

        Args:
            words: (k, fields, width) vectors for the template's fields, in the template's order.

        Returns:
            (k, d) float32.
        """
        clip = self._clip[0]
        parts = torch.cat([self.context.expand(len(words), -1, -1), words.to(self.context.dtype)], dim=1)

        def place(_table: nn.Module, _args: Any, embedded: torch.Tensor) -> torch.Tensor:
            inner = parts[:, self.order].to(embedded.dtype)
            return torch.cat([embedded[:, :1], inner, embedded[:, -1:]], dim=1)

        handle = clip.text_model.embeddings.token_embedding.register_forward_hook(place)
        try:
            return project_ids(clip, self.ids.expand(len(words), -1))
        finally:
            handle.remove()


def _token_ids(clip: CLIPModel, tokenizer: Any, text: str) -> list[int]:
    """Ids from beginning to end of text, where the model will look for the feature."""
    ids = list(tokenizer(text)["input_ids"])
    bos, eos, wanted = tokenizer.bos_token_id, tokenizer.eos_token_id, clip.config.text_config.eos_token_id
    if len(ids) < 2 or ids[0] != bos or ids[-1] != eos:
        raise ModelError("the tokenizer does not enclose a text in begin and end tokens", "use the model's own")
    # Either rule of transformers must find the last position, or features of another token come back unnoticed.
    if (max(ids) != eos) if wanted == LEGACY_EOS else (wanted != eos):
        raise ModelError(
            f"the tokenizer ends a text with token {eos}, and this CLIP model would read its feature elsewhere",
            "use the model's own tokenizer; a model whose eos_token_id is 2 needs an end token with the highest id",
        )
    if eos in ids[:-1]:
        raise DataError(f"the text {text[:40]!r} holds the end token or a word unknown to the tokenizer", "reword it")
    if len(ids) > clip.config.text_config.max_position_embeddings:
        longest = clip.config.text_config.max_position_embeddings
        raise DataError(f"the text {text[:40]!r}… has {len(ids)} tokens, CLIP reads {longest}", "shorten it")
    return ids
