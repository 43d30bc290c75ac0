"""A Llama checkpoint as one GGUF file, the format of llama.cpp and Ollama, written with ggml's own ``gguf`` package.

Names of tensors, kinds of tokens and the layout of the file are that package's. Here stands what it leaves to the
converter: which of a checkpoint's facts are needed, and the order of the rows of queries and keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import ModelError, RunError
from helpers.files import save_error
from helpers.sources.gguf import PRE_TOKENIZERS, bpe_kind

if TYPE_CHECKING:
    import numpy as np
    import torch

ARCHITECTURES = ("llama", "mistral")  # model types whose layers llama.cpp calls "llama"
_ELSEWHERE = "Convert the merged folder with llama.cpp's own convert_hf_to_gguf.py"


def write_gguf(folder: Path, file: Path, name: str) -> Path:
    """Write a checkpoint of transformers as a GGUF file of the same numbers; vectors become float32, as there.

    Args:
        folder: with config.json, model*.safetensors, tokenizer.json and the chat template.
        file: that is made.
        name: of the model, for programs that show one.

    Raises:
        ModelError: an architecture, a rotation of positions or a tokenizer that this writer does not know.
        RunError: ``file`` exists.
    """
    import gguf

    if file.exists():
        raise RunError(f"{file} exists, and nothing is overwritten", "Name another file, or remove this one")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _refuse_unknown(config, folder)
    parts = sorted(folder.glob("model*.safetensors"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    fresh = file.with_name(f".{file.name}.tmp")
    writer = gguf.GGUFWriter(fresh, "llama")
    try:
        writer.add_name(name)
        _add_shape(writer, config)
        _add_tokens(writer, folder, config["vocab_size"])
        gguf.SpecialVocab(folder, load_merges=True, n_vocab=config["vocab_size"]).add_to_gguf(writer, quiet=True)
        for stored, tensor in _tensors(parts, names, config):  # all names and sizes come before all numbers
            numbers, kind = _numbers(tensor)
            writer.add_tensor_info(stored, numbers.shape, numbers.dtype, numbers.nbytes, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, tensor in _tensors(parts, names, config):
            writer.write_tensor_data(_numbers(tensor)[0])
        writer.close()
        fresh.replace(file)
    except OSError as error:
        raise save_error(file, error) from None
    finally:
        writer.close()
        fresh.unlink(missing_ok=True)
    return file


def _tensors(parts: list[Path], names: Any, config: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor under its name in the file, one in memory at a time, rows in llama.cpp's order."""
    from safetensors import safe_open

    for part in parts:
        with safe_open(part, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue  # it is the matrix of the embeddings
                stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if stored is None:
                    raise ModelError(f"the weight {name} has no place in a GGUF file of a Llama", _ELSEWHERE)
                yield stored, _in_pairs(weights.get_tensor(name), name, config)


def _refuse_unknown(config: dict[str, Any], folder: Path) -> None:
    if (kind := config.get("model_type")) not in ARCHITECTURES:
        what = f"{folder} holds a model of type {kind!r}, and GGUF is written for {' and '.join(ARCHITECTURES)} here"
        raise ModelError(what, _ELSEWHERE)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", "default") != "default":
        raise ModelError(f"{folder} turns positions in the way {rope['rope_type']!r}, unknown here", _ELSEWHERE)


def _add_shape(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _add_tokens(writer: Any, folder: Path, size: int) -> None:
    """The vocabulary, in the order of its ids; what a checkpoint's matrix has beyond it is marked as unused."""
    import gguf

    whole = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    kind = bpe_kind(whole)
    texts = {number: text for text, number in whole["model"]["vocab"].items()}
    kinds = dict.fromkeys(texts, gguf.TokenType.NORMAL)
    for added in whole.get("added_tokens", []):
        texts[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    for number, text in texts.items():
        if kind == "llama" and len(text) == 6 and text.startswith("<0x"):
            kinds[number] = gguf.TokenType.BYTE
        if text == whole["model"].get("unk_token"):
            kinds[number] = gguf.TokenType.UNKNOWN
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(PRE_TOKENIZERS[kind])
    writer.add_token_list([texts.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types([kinds.get(number, gguf.TokenType.UNUSED) for number in range(size)])
    if kind == "llama":  # of two merges the one that makes the earlier token comes first, as in SentencePiece
        writer.add_token_scores([-float(number) for number in range(size)])


def _in_pairs(tensor: torch.Tensor, name: str, config: dict[str, Any]) -> torch.Tensor:
    """Rows of queries and keys with the two halves of each head interleaved, as llama.cpp turns them."""
    heads = config["num_attention_heads"]
    if name.endswith("k_proj.weight"):
        heads = config.get("num_key_value_heads", heads)
    elif not name.endswith("q_proj.weight"):
        return tensor
    halves = tensor.reshape(heads, 2, len(tensor) // heads // 2, -1)
    return halves.transpose(1, 2).reshape(tensor.shape)


def _numbers(tensor: torch.Tensor) -> tuple[np.ndarray, Any]:
    """A tensor as it is stored, and the name of its format where numpy has none."""
    import gguf
    import torch

    if tensor.ndim == 1 or tensor.dtype not in (torch.float16, torch.bfloat16):
        return tensor.float().numpy(), None
    if tensor.dtype == torch.float16:
        return tensor.contiguous().numpy(), None
    return tensor.contiguous().view(torch.uint8).numpy(), gguf.GGMLQuantizationType.BF16
