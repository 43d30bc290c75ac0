"""Vision-language families: all that the code has to know about one stands in its record, one file a family.

To add a family, write a file with a subclass of ``VisionFamily`` and name the class in ``FAMILIES``. It has to say its
``model_type``, ``processor_class``, ``modules``, ``processor`` and ``picture_tokens``; and, only where it differs from
what stands in ``base.py``, how a conversation is written (``write``, ``look``, ``place``), which inputs its model wants
besides ids and pixels (``extras``), how it counts ``positions``, and what its ``pixels`` look like. Loading,
quantising, encoding, prefixes, parameter counts and memory plans read the record; there is nothing else to change. A
language model that reads text only needs no record. torch and transformers are imported on first use only.
"""

from __future__ import annotations

from typing import Any

from helpers.models.families.base import ChatFormat, Positions, VisionFamily
from helpers.models.families.blip2 import Blip2
from helpers.models.families.idefics3 import Idefics3
from helpers.models.families.paligemma import PaliGemma
from helpers.models.families.qwen2_vl import Qwen2VL

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
