"""Vision-language families: all that the code has to know about one stands in its record, one file a family.

To add a family, copy the file here that is most like it, and name the new class in ``FAMILIES``:

1. ``model_type`` (as in its ``config.json``), ``processor_class``, ``modules`` (what a picture goes through);
2. ``processor``: how its processor is built from a checkpoint's files, and ``picture_tokens``, for the memory plan;
3. where it differs from ``VisionFamily``: how a conversation is written (``write``, ``look``, ``place``), which inputs
   its model wants besides ids and pixels (``extras``), how it counts ``positions``, and what its ``pixels`` look like.

Loading, quantising, encoding, prefixes, parameter counts and memory plans read the record; there is nothing else to
change. A language model that reads text only needs no record. transformers is imported on first use only.
"""

from __future__ import annotations

from typing import Any

from helpers.models.families.base import ChatFormat, Positions, VisionFamily
from helpers.models.families.blip2 import Blip2
from helpers.models.families.idefics3 import Idefics3
from helpers.models.families.paligemma import PaliGemma
from helpers.models.families.qwen2_vl import Qwen2VL

__all__ = ["FAMILIES", "ChatFormat", "Positions", "VisionFamily", "family_of", "format_of"]

FAMILIES: dict[str, VisionFamily] = {  # by model_type
    family.model_type: family
    for family in (
        Qwen2VL(),
        PaliGemma(),
        Idefics3(),
        Blip2(),
    )
}
_FORMATS: dict[str, ChatFormat] = {family.processor_class: family for family in FAMILIES.values()}
_FORMATS["TextProcessor"] = ChatFormat()


def family_of(model: Any) -> VisionFamily | None:
    """The family of a model, adapted or not; ``None`` where it reads no pictures here."""
    return FAMILIES.get(model.config.model_type)


def format_of(processor: Any) -> ChatFormat:
    """How conversations are written for the model that this processor belongs to."""
    return _FORMATS[type(processor).__name__]
