"""Models without numbers: layers and shapes on the ``meta`` device, from sizes kept here or a configuration at hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError
from helpers.models.load import _from_pretrained, resolve_model

if TYPE_CHECKING:
    from torch import nn

SHAPES = Path(__file__).parent / "shapes"  # sizes of published models, as their authors give them

# Hub ids whose sizes are kept, so that planning for them needs no network.
KEPT_SIZES = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2-135m",
    "NousResearch/Llama-2-7b-chat-hf": "llama-2-7b",
    "NousResearch/Llama-2-7b-hf": "llama-2-7b",
    "Qwen/Qwen2-VL-2B-Instruct": "qwen2-vl-2b",
    "Qwen/Qwen1.5-7B-Chat": "qwen1.5-7b",
    "Qwen/Qwen2.5-14B-Instruct": "qwen2.5-14b",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2.5-7b",
    "Salesforce/blip2-opt-2.7b": "blip2-opt-2.7b",
    "codellama/CodeLlama-34b-hf": "codellama-34b",
    "codellama/CodeLlama-34b-Instruct-hf": "codellama-34b",
    "google/paligemma-3b-pt-224": "paligemma-3b-224",
    "meta-llama/Llama-2-13b-chat-hf": "llama-2-13b",
    "meta-llama/Llama-2-13b-hf": "llama-2-13b",
    "meta-llama/Llama-2-70b-chat-hf": "llama-2-70b",
    "meta-llama/Llama-2-70b-hf": "llama-2-70b",
    "meta-llama/Llama-2-7b-chat-hf": "llama-2-7b",
    "meta-llama/Llama-2-7b-hf": "llama-2-7b",
    "meta-llama/Llama-3.2-3B": "llama-3.2-3b",
    "microsoft/phi-1_5": "phi-1.5",
    "microsoft/phi-2": "phi-2",
    "mistralai/Mistral-7B-v0.1": "mistral-7b",
    "openai/clip-vit-base-patch32": "clip-vit-b-32",
}


def published(name: str) -> Any:
    """Configuration of a published model, from the sizes kept here.

    ``mistral-7b`` is without its window of 4,096 tokens, which shorter texts do not reach. ``blip2-opt-2.7b`` is the
    model of 2023, with 50,272 rows of token embeddings. The Hub's files of today have 50,304 (room for the image
    token, rounded up), 81,920 parameters more.

    Raises:
        ModelError: its sizes are not kept here.
    """
    from transformers import AutoConfig

    file = SHAPES / f"{name}.json"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in SHAPES.glob("*.json")))
        raise ModelError(f"the sizes of {name!r} are not kept here", f"known: {known}")
    sizes = json.loads(file.read_text(encoding="utf-8"))
    return AutoConfig.for_model(sizes.pop("model_type"), **sizes)


def configuration(model: str) -> Any:
    """Configuration of a model: kept sizes by their name or by a Hub id, else the files that the id leads to.

    Raises:
        ModelError: not found.
    """
    from transformers import AutoConfig

    name = KEPT_SIZES.get(model, model)
    if (SHAPES / f"{name}.json").is_file():
        return published(name)
    return _from_pretrained(AutoConfig, resolve_model(model))


def skeleton(model: Any, kind: Any = None, **options: Any) -> nn.Module:
    """A model on the ``meta`` device: layers and shapes, shared weights shared, no numbers.

    Args:
        model: name of ``published`` sizes, a model id whose configuration is at hand, or a configuration.
        kind: one of transformers' auto classes, or a model class; ``None``: image and text to text where there is
            such a class for this configuration, else a causal language model.
        options: settings of the configuration, ``num_labels=3`` say.

    Raises:
        ModelError: not found.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    if isinstance(model, str):
        model = configuration(model)
    if options:
        model = copy.deepcopy(model)  # the caller's stays as it is
    for name, value in options.items():
        setattr(model, name, value)
    if kind is None:
        sees = type(model) in AutoModelForImageTextToText._model_mapping
        kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    with torch.device("meta"):
        built = kind.from_config(model) if hasattr(kind, "from_config") else kind(model)
    built.tie_weights()
    return built
