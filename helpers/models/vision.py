"""Vision-language models and their processors: Qwen2-VL, PaliGemma, Idefics3 (SmolVLM) and BLIP-2 with an OPT.

A processor turns pictures into pixel tensors and reserves as many tokens for each as the model will put there.
All are loaded for pictures only: transformers' own Qwen2-VL processor also wants a video processor, which needs
torchvision, and no lesson shows a video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, Blip2Processor, Idefics3Processor, PaliGemmaProcessor, Qwen2VLProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from helpers.errors import DataError, ModelError
from helpers.models.load import ModelSource, _from_pretrained, load, load_tokenizer, load_with, resolve_model
from helpers.models.quantize import check_quantisation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from helpers.machine.hardware import Machine


class PictureProcessor(Qwen2VLProcessor):
    """Qwen2-VL's processor without its video part: the same tokens and pixels for pictures and text."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


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
        tokenizer: PreTrainedTokenizerBase = self.processor.tokenizer
        return tokenizer


def _qwen2_vl(source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
    images = _from_pretrained(Qwen2VLImageProcessorPil, source)
    if max_pixels is not None:
        least = (images.patch_size * images.merge_size) ** 2
        if max_pixels < least:
            raise ModelError(
                f"max_pixels={max_pixels:,} is less than one token of {source.model_id} shows",
                f"give at least {least:,} ({images.patch_size * images.merge_size} pixels squared)",
            )
        # A small picture is enlarged to shortest_edge pixels, then each side rounded up to whole tokens: at most
        # doubled. A quarter leaves room for that.
        fewest = max(least, min(images.size["shortest_edge"], max_pixels // 4))
        images.size = {"shortest_edge": fewest, "longest_edge": max_pixels}
    return PictureProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def _paligemma(source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
    images = _from_pretrained(SiglipImageProcessorPil, source)
    _check_pixels(source, images, max_pixels, "; PaliGemma has one checkpoint per resolution (224, 448, 896)")
    return PaliGemmaProcessor(images, tokenizer)


def _check_pixels(source: ModelSource, images: Any, max_pixels: int | None, more: str = "") -> None:
    """Refuse another resolution than the one that `images` are brought to."""
    if max_pixels is not None and max_pixels != images.size["height"] * images.size["width"]:
        raise ModelError(
            f"{source.model_id} reads pictures of {images.size['height']} x {images.size['width']} pixels only",
            f"leave max_pixels out{more}",
        )


class _ProcessorDict:
    """What a processor's files say, without making the processor."""

    @staticmethod
    def from_pretrained(place: str, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = Idefics3Processor.get_processor_dict(place, **options)[0]
        return found


def _idefics3(source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
    """One tile for each picture, which is squeezed into the square that the vision tower sees.

    The model can also read a picture cut into many tiles; each would take as many tokens as the whole picture here.
    """
    config = _from_pretrained(AutoConfig, source)
    tile = config.vision_config.image_size
    if max_pixels is not None and max_pixels != tile**2:
        raise ModelError(
            f"{source.model_id} reads each picture here as one tile of {tile} x {tile} pixels", "leave max_pixels out"
        )
    # Older checkpoints keep the chat format in a file that only processors read.
    template = tokenizer.chat_template or _from_pretrained(_ProcessorDict, source).get("chat_template")
    if template is None:
        raise ModelError(f"{source.model_id} has no chat format", "use an instruction-tuned checkpoint")
    images = _from_pretrained(Idefics3ImageProcessorPil, source)
    images.do_image_splitting = False
    images.size = images.max_image_size = {"longest_edge": tile}
    tokens = (tile // config.vision_config.patch_size // config.scale_factor) ** 2
    processor = Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=template)
    tokenizer.eos_token = processor.end_of_utterance_token  # the chat format ends each turn with it
    return processor


def _blip2(source: ModelSource, tokenizer: Any, max_pixels: int | None) -> Any:
    """Pictures as queries of the Q-Former, one token each; an answer ends with the token that the checkpoint names.

    The published OPT checkpoints end a caption with a line break, not with OPT's own end token.
    """
    config = _from_pretrained(AutoConfig, source)
    if not config.use_decoder_only_language_model:
        raise ModelError(
            f"{source.model_id} has an encoder-decoder ({config.text_config.model_type}), which answers in another way",
            "use a BLIP-2 with an OPT, such as Salesforce/blip2-opt-2.7b",
        )
    images = _from_pretrained(BlipImageProcessorPil, source)
    _check_pixels(source, images, max_pixels)
    processor = Blip2Processor(images, tokenizer, num_query_tokens=config.num_query_tokens)
    processor.image_token_id = tokenizer.convert_tokens_to_ids(str(processor.image_token))
    if processor.image_token_id != config.image_token_index:
        raise ModelError(
            f"{source.model_id} keeps no place for pictures among its tokens: its files are of before 2024",
            "fetch the checkpoint again",
        )
    end = config.text_config.eos_token_id
    if end is not None and end != tokenizer.eos_token_id:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    return processor


PROCESSORS: dict[str, Callable[[ModelSource, Any, int | None], Any]] = {
    "qwen2_vl": _qwen2_vl,
    "paligemma": _paligemma,
    "idefics3": _idefics3,
    "blip-2": _blip2,
}

# What never is quantised: all that a picture goes through, and the output head.
KEPT = {
    "qwen2_vl": ("model.visual", "lm_head"),
    "paligemma": ("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    "idefics3": ("model.vision_model", "model.connector", "lm_head"),
    "blip-2": ("vision_model", "qformer", "language_projection", "language_model.lm_head"),
}


def _kind(source: ModelSource) -> str:
    kind: str = _from_pretrained(AutoConfig, source).model_type
    if kind not in PROCESSORS:
        raise ModelError(
            f"{source.model_id} is of kind {kind!r}, which reads no pictures here",
            f"use a model of one of the kinds {', '.join(PROCESSORS)}",
        )
    return kind


def load_processor(model_id: str, max_pixels: int | None = None) -> Any:
    """Processor of a vision-language model; its tokenizer pads on the right.

    Args:
        max_pixels: most pixels a picture may have before it is shrunk (Qwen2-VL); fewer pixels, fewer tokens. A
            picture so long that a side would be less than one token keeps more. The other kinds have one resolution.

    Raises:
        ModelError: not found, gated, not a vision-language model known here, or ``max_pixels`` not possible.
    """
    source = resolve_model(model_id)
    return PROCESSORS[_kind(source)](source, load_tokenizer(model_id), max_pixels)


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
        kept=KEPT[_kind(resolve_model(model_id))],
    )  # fmt: skip
    return LoadedVision(loaded.model, processor, loaded.source, loaded.dtype)


def load_reader(
    model_id: str,
    *,
    quant: Any = "none",
    machine: Machine | None = None,
    dtype: str | None = None,
    max_pixels: int | None = None,
) -> LoadedVision:
    """``load_vision`` where the model reads pictures, else a language model; ``sees`` says which it is.

    Raises:
        ModelError: as in ``load_vision``; or ``max_pixels`` for a model that reads no pictures.
    """
    options = {"quant": quant, "machine": machine, "dtype": dtype}
    if reads_pictures(model_id):
        return load_vision(model_id, max_pixels=max_pixels, **options)
    if max_pixels is not None:
        raise ModelError(f"{model_id} reads no pictures", "leave max_pixels out")
    loaded = load(model_id, **options)
    return LoadedVision(loaded.model, TextProcessor(loaded.tokenizer), loaded.source, loaded.dtype)


def reads_pictures(model_id: str) -> bool:
    """Whether `model_id` is a vision-language model that can be loaded here; only its configuration is read."""
    return _from_pretrained(AutoConfig, resolve_model(model_id)).model_type in PROCESSORS
