"""Using a model without training it: batched generation and likelihoods."""

from __future__ import annotations

from helpers.inference.batching import encode
from helpers.inference.candidates import candidate_logp
from helpers.inference.classification import class_logits
from helpers.inference.generation import generate, last_hidden_states
from helpers.inference.likelihood import batch_prior, completion_nll, context_prior, score_options
from helpers.inference.prompting import rule_scores, try_prompts, worked_examples
