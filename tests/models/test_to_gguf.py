"""A GGUF file read back with transformers is the model it was made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from adapter_cases import some_ids
from safetensors.torch import load_file, save_file

from helpers import models
from helpers.errors import ModelError, RunError
from helpers.models.load import TINY
from helpers.models.to_gguf import write_gguf
from helpers.sources.gguf import bpe_kind, read_gguf

TEXT = "<|im_start|>user\nAdd 250 g of flour, it's 12.5 %.\n\n1. Heat\n<|im_end|>\n"


def folder_with(place: Path, dtype: str = "float16", **config: Any) -> Path:
    """The tiny Llama's checkpoint with weights in another format or a changed configuration."""
    place.mkdir()
    for path in (TINY / "llama").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    weights = {k: v.to(getattr(torch, dtype)) for k, v in load_file(place / "model.safetensors").items()}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    known = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(known | config))
    return place


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_file_computes_what_the_folder_does(tmp_path: Path, dtype: str) -> None:
    folder = folder_with(tmp_path / "model", dtype)
    file = write_gguf(folder, tmp_path / "model.gguf", "tiny")
    with torch.no_grad():
        expected = models.load(str(folder), dtype="float32").model(input_ids=some_ids()).logits
        found = read_gguf(file)(input_ids=some_ids()).logits
    assert torch.equal(found, expected)


def test_tokens_and_chat_template_survive(tmp_path: Path) -> None:
    write_gguf(folder_with(tmp_path / "model"), tmp_path / "model.gguf", "tiny")
    ours = models.load_tokenizer("tiny/llama")
    read = transformers.AutoTokenizer.from_pretrained(str(tmp_path), gguf_file="model.gguf")
    assert read(TEXT)["input_ids"] == ours(TEXT)["input_ids"]
    assert read.chat_template == ours.chat_template and read.eos_token_id == ours.eos_token_id


def sentencepiece_like(place: Path) -> Any:
    """A tokenizer as Llama 2's tokenizer.json describes it: spaces as ▁, unknown letters in bytes. Trained here."""
    from tokenizers import Tokenizer, decoders, normalizers, trainers
    from tokenizers.models import BPE

    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    whole = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    whole.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    whole.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    texts = ["Add the flour and the milk.", "Heat the oven, then bake the bread for an hour.", "Stir the soup again."]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, min_frequency=1, show_progress=False)
    whole.train_from_iterator(texts * 3, trainer)
    stored = json.loads(whole.to_str())
    stored["added_tokens"] = stored["added_tokens"][:3]  # bytes are ordinary tokens
    (place / "tokenizer.json").write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
    marks = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"} | marks))
    (place / "chat_template.jinja").unlink(missing_ok=True)
    return Tokenizer.from_str(json.dumps(stored))


@pytest.mark.parametrize(
    "text",
    ["Heat the milk and stir.", "the  bread ", "Crème brûlée: 250 °C", "味噌 soup\n\nAgain\t1", "a", "then then the"],
)
def test_a_tokenizer_of_llama_2_s_kind_survives(tmp_path: Path, text: str) -> None:
    import gguf

    folder = folder_with(tmp_path / "model")
    tokenizer = sentencepiece_like(folder)
    assert len(tokenizer.encode("Heat the milk and stir.").ids) < 12, "some letters have been merged"
    expected = tokenizer.encode(text).ids
    write_gguf(folder, tmp_path / "model.gguf", "tiny")
    facts = {n: f.contents() for n, f in gguf.GGUFReader(tmp_path / "model.gguf").fields.items()}
    assert facts["tokenizer.ggml.model"] == "llama"
    assert facts["tokenizer.ggml.token_type"].count(int(gguf.TokenType.BYTE)) == 256
    read = transformers.AutoTokenizer.from_pretrained(str(tmp_path), gguf_file="model.gguf")
    found = read(text, add_special_tokens=False)["input_ids"]
    assert found == expected
    assert read.decode(found, skip_special_tokens=True).strip() == text.strip()


def test_the_facts_that_llama_cpp_reads(tmp_path: Path) -> None:
    """Keys that the loader of llama.cpp wants for this architecture, read with ggml's own reader."""
    import gguf

    write_gguf(folder_with(tmp_path / "model"), tmp_path / "model.gguf", "tiny")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    facts = {name: field.contents() for name, field in reader.fields.items()}
    assert facts["general.architecture"] == "llama" and facts["tokenizer.ggml.model"] == "gpt2"
    assert facts["tokenizer.ggml.pre"] == "smollm"
    assert facts["llama.block_count"] == 4 and facts["llama.attention.head_count_kv"] == 2
    assert facts["llama.rope.dimension_count"] == 32 and facts["llama.vocab_size"] == 1024
    assert facts["tokenizer.ggml.eos_token_id"] == 2
    assert len(facts["tokenizer.ggml.tokens"]) == len(facts["tokenizer.ggml.token_type"]) == 1024
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.attn_norm.weight"] == "F32" and kinds["blk.0.attn_q.weight"] == "F16"
    assert "output.weight" not in kinds, "tied to the embeddings"


def test_queries_are_turned_as_llama_cpp_turns_them(tmp_path: Path) -> None:
    """Its rotation takes neighbouring rows for a pair, ours row i and row i + half of a head."""
    import gguf

    folder = folder_with(tmp_path / "model", "float32")
    write_gguf(folder, tmp_path / "model.gguf", "tiny")
    stored = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    for name, place, heads in (("q_proj", "attn_q", 4), ("k_proj", "attn_k", 2)):
        ours = load_file(folder / "model.safetensors")[f"model.layers.0.self_attn.{name}.weight"].numpy()
        for head in range(heads):
            for i in range(16):
                row = 32 * head
                assert (stored[f"blk.0.{place}.weight"][row + 2 * i] == ours[row + i]).all()
                assert (stored[f"blk.0.{place}.weight"][row + 2 * i + 1] == ours[row + 16 + i]).all()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "phi"}, "type 'phi', and GGUF is written for llama and mistral here"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "in the way 'llama3'"),
    ],
)
def test_models_it_does_not_know(tmp_path: Path, config: dict[str, Any], says: str) -> None:
    folder = folder_with(tmp_path / "model", **config)
    with pytest.raises(ModelError, match=says):
        write_gguf(folder, tmp_path / "model.gguf", "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing half-written stays"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("mine")
    with pytest.raises(RunError, match="nothing is overwritten"):
        write_gguf(folder_with(tmp_path / "model"), tmp_path / "model.gguf", "tiny")
    assert (tmp_path / "model.gguf").read_text() == "mine"


def test_a_tokenizer_that_has_no_name_here() -> None:
    assert bpe_kind({"model": {"type": "BPE", "byte_fallback": True}, "pre_tokenizer": None}) == "llama"
    with pytest.raises(ModelError, match="WordPiece after BertPreTokenizer.*neither"):
        bpe_kind({"model": {"type": "WordPiece"}, "pre_tokenizer": {"type": "BertPreTokenizer"}})
