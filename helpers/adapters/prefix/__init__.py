"""What is trained in place of a model's own weights: prefixes of three kinds, with one interface."""

from __future__ import annotations

from helpers.adapters.prefix.base import Prefix
from helpers.adapters.prefix.embedding import EmbeddingPrefix
from helpers.adapters.prefix.key_value import KeyValuePrefix
from helpers.adapters.prefix.load import PREFIXES, load_prefix, wrap_prefix
from helpers.adapters.prefix.peft import PeftPrefix
