"""Using a model without training it: batched generation and likelihoods."""

from __future__ import annotations

from helpers.inference.batching import Conversation, Message, encode
from helpers.inference.generation import generate, last_hidden_states
from helpers.inference.likelihood import completion_nll, option_prior, score_options

__all__ = [
    "Conversation",
    "Message",
    "completion_nll",
    "encode",
    "generate",
    "last_hidden_states",
    "option_prior",
    "score_options",
]
