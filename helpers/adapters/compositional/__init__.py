"""Compositional zero-shot recognition with CLIP: states and objects in combinations that training never showed."""

from __future__ import annotations

from helpers.adapters.compositional.csp import CSP
from helpers.adapters.compositional.embeddings import embed_images
from helpers.adapters.compositional.features import LabelledImages, cosine
from helpers.adapters.compositional.measures import (
    accuracy_at,
    bootstrap_measures,
    closed_world,
    compositional_measures,
    open_world,
)
from helpers.adapters.compositional.prompts import encode_texts, ensemble_texts, zero_shot_scores
from helpers.adapters.compositional.scores import (
    CompositionalScores,
    compare_compositional,
    estimates_at,
    score_compositional,
)
from helpers.adapters.compositional.training import train_compositional
from helpers.adapters.compositional.troika import Troika
