"""Compositional zero-shot recognition with CLIP: states and objects in combinations that training never showed."""

from __future__ import annotations

from helpers.adapters.compositional.base import CompositionalModel
from helpers.adapters.compositional.csp import CSP
from helpers.adapters.compositional.embeddings import ImageEmbeddings, embed_images
from helpers.adapters.compositional.features import ImageFeatures, LabelledImages, cosine, image_features
from helpers.adapters.compositional.measures import (
    Accuracy,
    Candidates,
    Measures,
    accuracy_at,
    bootstrap_measures,
    closed_world,
    compositional_measures,
    open_world,
)
from helpers.adapters.compositional.prompts import (
    TEMPLATE,
    SoftPrompt,
    encode_texts,
    ensemble_texts,
    word_vectors,
    zero_shot_scores,
)
from helpers.adapters.compositional.scores import (
    CompositionalScores,
    compare_compositional,
    score_compositional,
)
from helpers.adapters.compositional.training import train_compositional
from helpers.adapters.compositional.troika import Branches, Troika

__all__ = [
    "CSP",
    "TEMPLATE",
    "Accuracy",
    "Branches",
    "Candidates",
    "CompositionalModel",
    "CompositionalScores",
    "ImageEmbeddings",
    "ImageFeatures",
    "LabelledImages",
    "Measures",
    "SoftPrompt",
    "Troika",
    "accuracy_at",
    "bootstrap_measures",
    "closed_world",
    "compare_compositional",
    "compositional_measures",
    "cosine",
    "embed_images",
    "encode_texts",
    "ensemble_texts",
    "image_features",
    "open_world",
    "score_compositional",
    "train_compositional",
    "word_vectors",
    "zero_shot_scores",
]
