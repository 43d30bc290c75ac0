"""BLIP-2 (Li et al., 2023, arXiv:2301.12597): a vision tower, a Q-Former that asks it, and an OPT that writes.

The tower's patches are read by a few learned queries; each becomes one token of the language model. Everything that
works for the other vision-language models works here too: ``encode_vision``, ``collate_vision``, ``generate_vision``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from helpers.errors import ModelError
from helpers.models.families.blip2 import Blip2
from helpers.models.load import _from_pretrained, resolve_model
from helpers.models.quantize import check_quantisation
from helpers.models.vision import LoadedVision, load_vision

if TYPE_CHECKING:
    from helpers.machine.hardware import Machine

BLIP2 = "Salesforce/blip2-opt-2.7b"


def load_blip2(
    model_id: str = BLIP2, *, quant: Any = "nf4", machine: Machine | None = None, dtype: str | None = None
) -> LoadedVision:
    """Load a BLIP-2 with an OPT, the OPT's linear layers in 4 bits unless told otherwise.

    Vision tower, Q-Former, projection and head (one matrix with the token embeddings) are not quantised: they stay in
    the compute dtype, but for the Q-Former and its queries, which transformers keeps in float32 beside float16. The
    2.7B model's weights then take about 4.1 GB, which leaves room for training on a 16 GB P100. LLM.int8, as published
    for Project C, needs a newer GPU and is refused on a P100 before anything is fetched. LoRA and prefix tuning work
    on it; PEFT's prompt tuning and p-tuning do not (a TypeError at the first batch).

    Args:
        quant: one of ``QUANTISATIONS``, or a ``BitsAndBytesConfig``.
        machine, dtype: see ``models.load``.

    Raises:
        ModelError: see ``load_vision``; or `model_id` is no BLIP-2.
    """
    from helpers.machine import hardware

    machine = machine or hardware.probe()
    check_quantisation(quant, machine)
    source = resolve_model(model_id)
    kind = _from_pretrained(AutoConfig, source).model_type
    if kind != Blip2.model_type:
        raise ModelError(f"{model_id} is of kind {kind!r}, not a BLIP-2", f"use model_id={BLIP2!r}, or load_vision")
    return load_vision(model_id, quant=quant, machine=machine, dtype=dtype)
