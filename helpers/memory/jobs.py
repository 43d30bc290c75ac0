"""What a job is: one model, one way to adapt it, one batch. Everything that decides how much memory it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from helpers.config.parameters import QUANTISATIONS
from helpers.errors import ParameterError
from helpers.hints import did_you_mean

# What is done: learning completions with the course's own loss, any text with the loss that transformers' models take
# themselves, a new classification head, classes as words, a vision-language model's answers, words of CLIP's prompts;
# or, without learning, answering, and rating answers that are given.
STEPS = ("completion", "causal", "classify", "label_words", "vision", "contrast", "generate", "rate")
METHODS = ("lora", "key_value", "embedding", "peft", "soft", "full", "none")
OPTIMIZERS = {  # name in TrainingArguments -> bytes an adapted number's state takes on the device
    "adamw_torch": 8.0,
    "adamw_bnb_8bit": 2.0 + 2 * 4 / 256,  # two 8-bit moments, each with a float32 scale for 256 numbers
    "paged_adamw_32bit": 0.0,  # in the machine's memory, brought over while it is used
    "paged_adamw_8bit": 0.0,
}
DTYPES = ("float16", "bfloat16", "float32")
SMALL_STATE = 4096  # bitsandbytes keeps float32 moments for a tensor of fewer numbers
UNPAGED = 100_000  # and on the device for one of fewer than this


@dataclass(frozen=True)
class Job:
    """One training or generation, as a plan needs it.

    Attributes:
        model: a Hub id or sizes whose configuration is kept, ``tiny/NAME``, or a local folder.
        step: one of ``STEPS``.
        method: one of ``METHODS``; "none" for the model as it is.
        quant: storage of the base weights, one of nf4-double, nf4, int8, none.
        dtype: what is computed in, and what the weights that are not quantised are stored in.
        mixed: a half-precision training runs under autocast, with what is trained in float32; without it a model that
            is trained itself stays in `dtype`, adapters are in float32 as PEFT makes them.
        uniform: everything is computed in `dtype`, adapters too, as under FSDP's mixed precision. ``shards`` sets it.
        device: "cuda" or "cpu".
        capability: compute capability of the GPU; decides which attention kernel runs.
        prepared: all but the packed weights is in float32, as after PEFT's ``prepare_model_for_kbit_training``.
        batch_size: rows in one forward pass.
        length: tokens of the longest row, picture tokens included; of the prompt when generating.
        labelled: tokens with loss in the row that has most of them; of the longest answer when rating.
        new_tokens: tokens written behind the prompt when generating.
        padded: the rows of a batch differ in length.
        accumulation: forward passes per update.
        checkpointing: activations are computed again in the backward pass.
        optimizer: one of ``OPTIMIZERS``.
        targets: layers with a LoRA update: "all-linear", or names joined by +; "" leaves it to PEFT.
        language_only: of a vision-language model only the language model's layers get an update.
        lora_dropout: share of its input that an update does not see in training.
        classes: rows of a new head.
        faster: on a CPU, the training stands in ``training.faster_on_cpu``.
        kept_weights: and it keeps 4-bit weights dequantised.
        pixels: most pixels of a picture, for Qwen2-VL, which reads any number; ``None`` plans 1,280 tokens a picture.
    """

    model: str
    step: str = "completion"
    method: str = "lora"
    quant: str = "nf4-double"
    dtype: str = "float16"
    mixed: bool = True
    uniform: bool = False
    prepared: bool = False
    device: str = "cuda"
    capability: tuple[int, int] = (7, 5)
    batch_size: int = 4
    length: int = 512
    labelled: int = 128
    new_tokens: int = 64
    padded: bool = True
    accumulation: int = 1
    checkpointing: bool = False
    optimizer: str = "adamw_torch"
    lora_r: int = 16
    targets: str = "all-linear"
    language_only: bool = False
    lora_dropout: float = 0.0
    head_trained: bool = True
    classes: int = 3
    prefix_tokens: int = 20
    prefix_hidden: int = 0
    pixels: int | None = None
    faster: bool = False
    kept_weights: bool = False

    def __post_init__(self) -> None:
        allowed = {
            "step": STEPS, "method": METHODS, "quant": QUANTISATIONS, "dtype": DTYPES, "device": ("cuda", "cpu"),
            "optimizer": tuple(OPTIMIZERS),
        }  # fmt: skip
        for name, values in allowed.items():
            value = getattr(self, name)
            if value not in values:
                near = did_you_mean(value, values)
                raise ParameterError(f"{name} = {value!r} is not known{near}", f"Allowed: {', '.join(values)}")
        for name in ("batch_size", "length", "accumulation", "lora_r", "new_tokens", "classes", "prefix_tokens"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ParameterError(f"{name} = {value!r} is not allowed", "It is a whole number, at least 1")
        if self.trains and (self.method == "none" or (self.method == "soft") != (self.step == "contrast")):
            what = f"method = {self.method!r} trains nothing in step {self.step!r}"
            raise ParameterError(what, "Use method='lora', or 'soft' with step='contrast'")
        if self.method == "full" and self.quant != "none":
            what = f"weights stored as {self.quant} cannot be trained themselves"
            raise ParameterError(what, "Use quant='none', or method='lora'")
        if self.method in ("key_value", "peft") and self.checkpointing:
            what = "a prefix of keys and values lives in the cache, which gradient checkpointing drops"
            raise ParameterError(what, "Leave checkpointing off, or use method='embedding'")

    def but(self, **changes: Any) -> Job:
        """The same job with other values."""
        return replace(self, **changes)

    @property
    def trains(self) -> bool:
        return self.step not in ("generate", "rate")
