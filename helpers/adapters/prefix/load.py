"""Prefixes by name: wrap a model in one of three kinds, and load one that was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from helpers.adapters.prefix.base import CONFIG, WEIGHTS, Prefix, describe
from helpers.adapters.prefix.embedding import EmbeddingPrefix
from helpers.adapters.prefix.key_value import KeyValuePrefix
from helpers.adapters.prefix.peft import PeftPrefix
from helpers.errors import ModelError

PREFIXES: dict[str, Any] = {kind.kind: kind for kind in (EmbeddingPrefix, KeyValuePrefix, PeftPrefix)}


def wrap_prefix(model: PreTrainedModel, kind: str, **settings: Any) -> Prefix:
    """Put a prefix before `model`, which is frozen.

    Args:
        kind: ``"embedding"``, ``"key_value"`` or ``"peft"``.
        settings: ``n_tokens``, ``hidden`` and ``init``, as the class of that kind explains them.

    Raises:
        ModelError: the kind is not known, or the model cannot take it.
    """
    if kind not in PREFIXES:
        raise ModelError(f"there is no prefix of kind {kind!r}", f"use one of {', '.join(PREFIXES)}")
    return PREFIXES[kind](model, **settings)


def load_prefix(model: PreTrainedModel, folder: Path | str) -> Prefix:
    """Put the prefix that was saved in `folder` before `model`.

    Raises:
        ModelError: no prefix there, or it was trained on a model of another architecture or size.
    """
    from safetensors.torch import load_file

    source = Path(folder)
    missing = [name for name in (CONFIG, WEIGHTS) if not (source / name).is_file()]
    if missing:
        raise ModelError(
            f"there is no prefix in {source}: {', '.join(missing)} missing", "give the folder of a saved one"
        )
    saved = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    here = describe(model)
    differ = [
        f"{name} {saved['base'].get(name)} ≠ {here[name]}" for name in here if saved["base"].get(name) != here[name]
    ]
    if differ:
        raise ModelError(
            f"the prefix in {source} was trained on another model: {', '.join(differ)}",
            "load the model it was trained on",
        )
    wrapped = wrap_prefix(model, saved["kind"], init="zeros", **saved["settings"])
    wrapped.load_state_dict(load_file(source / WEIGHTS))
    return wrapped
