"""One-time conversions of fetched assets into the layout that transformers loads directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONTEXT_LENGTH = 8192  # tokens, as the model card says


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

    gguf = next(raw.glob("*.gguf")).name
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(raw), gguf_file=gguf)
    _restore_tokenizer(tokenizer)
    options: dict[str, Any] = {"gguf_file": gguf, "dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):  # older releases always unpack
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(raw), **options).to(torch.float16)
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
