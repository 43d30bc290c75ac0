"""The GGUF conversion, on a GGUF written here: weights against the gguf package, tokens against the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.sources import assets
from helpers.sources import gguf as conversion

WIDTH, HEADS, LAYERS, INNER = 32, 2, 1, 64
MERGES = [("Ċ", "Ċ"), ("Ġ", "a"), ("e", "r")]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
TEMPLATE = "{% for m in messages %}" + TURN + "{% endfor %}"


def vocabulary() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return [*SPECIAL, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]


def write_gguf(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    """A one-layer Llama in the format of the real file (Q8_0 embedding, Q4_1 matrices); its weights."""
    import gguf
    from gguf.quants import dequantize, quantize

    tokens = vocabulary()
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH)}
    shapes |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH)}
    shapes |= {"ffn_down": (WIDTH, INNER)}
    random = np.random.default_rng(0)
    said = {}

    def add(name: str, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> None:
        packed = quantize(random.normal(0, 0.1, shape).astype(np.float32), kind)
        said[name] = dequantize(packed, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)

    add("token_embd", (len(tokens), WIDTH), gguf.GGMLQuantizationType.Q8_0)
    for name, shape in shapes.items():
        add(f"blk.0.{name}", shape, gguf.GGMLQuantizationType.Q4_1)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return said


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray[Any, Any]]]:
    raw, folder = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("folder")
    said = write_gguf(raw / "tiny.gguf")
    conversion.smollm2_from_gguf(raw, folder)
    return folder, said


def test_weights_are_those_of_the_gguf_up_to_the_cast(
    converted: tuple[Path, dict[str, np.ndarray[Any, Any]]],
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder, said = converted
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float16 and (folder / "model.safetensors").is_file()
    state = {name: value.float().numpy() for name, value in model.state_dict().items()}
    names = {"attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj"}
    names |= {f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
    expected = {f"model.layers.0.{new}.weight": said[f"blk.0.{old}"] for old, new in names.items()}
    expected["model.embed_tokens.weight"] = said["token_embd"]
    for name, value in expected.items():
        np.testing.assert_allclose(state[name], value, rtol=2**-11, atol=2**-24, err_msg=name)
    # GGUF interleaves the two rotary halves of every query and key head.
    query = said["blk.0.attn_q"].reshape(HEADS, WIDTH // HEADS // 2, 2, WIDTH).swapaxes(1, 2)
    np.testing.assert_allclose(
        state["model.layers.0.self_attn.q_proj.weight"], query.reshape(WIDTH, WIDTH), rtol=2**-11, atol=2**-24
    )
    assert model.config.tie_word_embeddings
    assert "_model_name_or_path" not in (folder / "config.json").read_text()


def test_tokenizer_splits_digits_first(converted: tuple[Path, dict[str, np.ndarray[Any, Any]]]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(converted[0])
    assert tokenizer.tokenize("\n\n1. a") == ["ĊĊ", "1", ".", "Ġa"]
    assert tokenizer.tokenize("350") == ["3", "5", "0"]
    text = "  ½ cup crème\n\n12 eggs, over-beaten "
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer("<|im_start|>").input_ids == [1]
    assert tokenizer.model_max_length == 8192
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == "<|im_start|>user\nhi<|im_end|>\n"


@pytest.mark.skipif(not assets.available("smollm2-135m-instruct"), reason="SmolLM2 is not fetched")
def test_the_real_model_answers() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = assets.path("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**inputs, max_new_tokens=16, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(out) == "The capital of France is Paris.<|im_end|>"
