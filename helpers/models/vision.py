"""Vision-language models and their processors, of the families in ``models.families``.

A processor turns pictures into pixel tensors and reserves as many tokens for each as the model will put there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from helpers.errors import DataError, ModelError
from helpers.models.families import FAMILIES, VisionFamily
from helpers.models.families.blip2 import Blip2
from helpers.models.load import ModelSource, _from_pretrained, load, load_tokenizer, load_with, resolve_model
from helpers.models.quantize import check_quantisation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from helpers.machine.hardware import Machine

BLIP2 = "Salesforce/blip2-opt-2.7b"


class TextProcessor:
    """Stands in for a processor where a model reads text only, so that both kinds are asked in the same way."""

    image_token = "<image>"  # in no text: a picture is refused

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """The tokenizer's, whose template takes texts, not lists of parts; DataError for a picture."""
        flat = []
        for message in messages:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if any(part["type"] == "image" for part in parts):
                raise DataError(
                    "this model reads no pictures", "leave questions with pictures out, or load one that sees"
                )
            flat.append({**message, "content": "".join(part["text"] for part in parts)})
        return self.tokenizer.apply_chat_template(flat, **options)

    def save_pretrained(self, folder: Any) -> None:
        self.tokenizer.save_pretrained(folder)


@dataclass(frozen=True)
class LoadedVision:
    """A vision-language model (or one that reads text only) with its processor, and what is worth recording."""

    model: PreTrainedModel
    processor: Any
    source: ModelSource
    dtype: str

    @property
    def sees(self) -> bool:
        """Whether the model reads pictures."""
        return not isinstance(self.processor, TextProcessor)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer


def _model_type(source: ModelSource) -> str:
    return _from_pretrained(AutoConfig, source).model_type


def _family(source: ModelSource) -> VisionFamily:
    kind = _model_type(source)
    if kind not in FAMILIES:
        raise ModelError(
            f"{source.model_id} is of kind {kind!r}, which reads no pictures here",
            f"use a model of one of the kinds {', '.join(FAMILIES)}",
        )
    return FAMILIES[kind]


def load_processor(model_id: str, max_pixels: int | None = None) -> Any:
    """Processor of a vision-language model; its tokenizer pads on the right.

    Args:
        max_pixels: most pixels a picture may have before it is shrunk (Qwen2-VL); fewer pixels, fewer tokens. A
            picture so long that a side would be less than one token keeps more. The other kinds have one resolution.

    Raises:
        ModelError: not found, gated, not a vision-language model known here, or ``max_pixels`` not possible.
    """
    source = resolve_model(model_id)
    return _family(source).processor(source, load_tokenizer(model_id), max_pixels)


def load_vision(
    model_id: str,
    *,
    quant: Any = "none",
    machine: Machine | None = None,
    dtype: str | None = None,
    max_pixels: int | None = None,
) -> LoadedVision:
    """Load a vision-language model for this machine; see ``models.load`` and ``load_processor``.

    With a named ``quant`` the vision tower, the projector and the head stay in the compute dtype: quantising them
    saves little and costs most of what the model sees. A ``BitsAndBytesConfig`` is taken as it is.

    Raises:
        ModelError: as in ``models.load`` and ``load_processor``.
    """
    from transformers import AutoModelForImageTextToText

    from helpers.machine import hardware

    check_quantisation(quant, machine or hardware.probe())
    processor = load_processor(model_id, max_pixels)
    loaded = load_with(
        AutoModelForImageTextToText, model_id, quant=quant, machine=machine, dtype=dtype,
        kept=_family(resolve_model(model_id)).kept,
    )  # fmt: skip
    return LoadedVision(loaded.model, processor, loaded.source, loaded.dtype)


def load_blip2(
    model_id: str = BLIP2, *, quant: Any = "nf4", machine: Machine | None = None, dtype: str | None = None
) -> LoadedVision:
    """Load a BLIP-2 with an OPT, the OPT's linear layers in 4 bits unless told otherwise; see ``load_vision``.

    Vision tower, Q-Former, projection and head (one matrix with the token embeddings) are not quantised: they stay in
    the compute dtype, but for the Q-Former and its queries, which transformers keeps in float32 beside float16. The
    2.7B model's weights then take about 4.1 GB, which leaves room for training on a 16 GB P100. LLM.int8, as published
    for Project C, needs a newer GPU and is refused on a P100 before anything is fetched. LoRA and prefix tuning work
    on it; PEFT's prompt tuning and p-tuning do not (a TypeError at the first batch).

    Raises:
        ModelError: see ``load_vision``; or `model_id` is no BLIP-2.
    """
    from helpers.machine import hardware

    machine = machine or hardware.probe()
    check_quantisation(quant, machine)
    kind = _model_type(resolve_model(model_id))
    if kind != Blip2.model_type:
        raise ModelError(f"{model_id} is of kind {kind!r}, not a BLIP-2", f"use model_id={BLIP2!r}, or load_vision")
    return load_vision(model_id, quant=quant, machine=machine, dtype=dtype)


def load_reader(model_id: str, *, max_pixels: int | None = None, **options: Any) -> LoadedVision:
    """``load_vision`` where the model reads pictures, else a language model; ``sees`` says which it is.

    Args:
        options: ``quant``, ``machine``, ``dtype``; see ``models.load``.

    Raises:
        ModelError: as in ``load_vision``; or ``max_pixels`` for a model that reads no pictures.
    """
    if reads_pictures(model_id):
        return load_vision(model_id, max_pixels=max_pixels, **options)
    if max_pixels is not None:
        raise ModelError(f"{model_id} reads no pictures", "leave max_pixels out")
    loaded = load(model_id, **options)
    return LoadedVision(loaded.model, TextProcessor(loaded.tokenizer), loaded.source, loaded.dtype)


def reads_pictures(model_id: str) -> bool:
    """Whether `model_id` is a vision-language model that can be loaded here; only its configuration is read."""
    return _model_type(resolve_model(model_id)) in FAMILIES
