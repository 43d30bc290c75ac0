"""GGUF files read with transformers, and the kinds of tokenizers that the format knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.errors import ModelError

CONTEXT_LENGTH = 8192  # tokens, as the model card says
# What the format calls a tokenizer → how it calls the rule that cuts a text before tokens are merged.
PRE_TOKENIZERS = {"gpt2": "smollm", "llama": "default"}


def bpe_kind(tokenizer: Mapping[str, Any]) -> str:
    """The name that GGUF has for a tokenizer: "gpt2" (bytes, digits one by one) or "llama" (SentencePiece's).

    Args:
        tokenizer: the content of tokenizer.json.

    Raises:
        ModelError: it is another one. A wrong name would let other programs cut texts in another way, unsaid.
    """
    model, rule = tokenizer["model"], tokenizer.get("pre_tokenizer") or {}
    rules = [part["type"] for part in rule.get("pretokenizers", [rule] if rule else [])]
    if model["type"] == "BPE" and model.get("byte_fallback"):
        return "llama"
    if model["type"] == "BPE" and rules == ["Digits", "ByteLevel"]:
        return "gpt2"
    told = f"{model['type']} after {', '.join(rules) or 'no rule'}"
    raise ModelError(
        f"this tokenizer ({told}) is neither SmolLM2's nor Llama 2's, and GGUF names each one",
        "Convert the merged folder with llama.cpp's own convert_hf_to_gguf.py",
    )


def read_gguf(file: Path) -> Any:
    """The language model in a GGUF file, unpacked to float32, in evaluation mode; it can be trained and saved."""
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": file.name, "dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):  # older releases always unpack
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return transformers.AutoModelForCausalLM.from_pretrained(str(file.parent), **options).eval()


def smollm2_from_gguf(raw: Path, folder: Path) -> None:
    """Unpack the 4-bit GGUF of SmolLM2-135M-Instruct into ``folder`` (float16 safetensors and tokenizer).

    A model loaded straight from GGUF can neither be saved nor trained, and GGUF does not combine with
    bitsandbytes; unpacked once it is an ordinary checkpoint. float16 rather than bfloat16, because the values
    to store are (4-bit integer x scale + offset), not bfloat16 numbers: the cast changes the weights by
    0.02 % (root mean square) in float16 and 0.14 % in bfloat16, against several per cent that Q4_1 itself
    cost. The largest weight is 9.25, far from float16's limit. 269 MB: the two embeddings are one.
    """
    import torch
    import transformers

    file = next(raw.glob("*.gguf"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(raw), gguf_file=file.name)
    _restore_tokenizer(tokenizer)
    model = read_gguf(file).to(torch.float16)
    if hasattr(model.config, "_model_name_or_path"):
        del model.config._model_name_or_path  # the GGUF's working title
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _restore_tokenizer(tokenizer: Any) -> None:
    """Undo what the GGUF reader loses: digits are split one by one *before* the byte-level rule.

    Without it a blank line followed by a number ("\\n\\n1. Heat") becomes two newline tokens that the model
    has never seen in that place, instead of one.
    """
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.model_max_length = CONTEXT_LENGTH
