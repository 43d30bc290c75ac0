"""BLIP-2 loaded: what is packed, in which format, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from blip2_cases import talk, write_blip2
from machine_cases import CU126, machine, p100, t4
from transformers import BitsAndBytesConfig

from helpers import models
from helpers.errors import ModelError
from helpers.inference.vision import generate_vision
from helpers.machine.hardware import describe
from helpers.models.audit import audit
from helpers.models.families import FAMILIES
from helpers.models.quantize import check_quantisation
from helpers.models.vision import BLIP2, LoadedVision, load_blip2, load_processor, load_vision
from helpers.models.vision_inputs import encode_vision


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip2(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def blip2(folder: Path) -> LoadedVision:
    return load_blip2(str(folder), quant="none", dtype="float32")


# ---------- formats
@pytest.mark.parametrize("quant", ["nf4", "nf4-double", "int8"])
def test_only_the_language_models_layers_are_packed(folder: Path, blip2: LoadedVision, quant: str) -> None:
    packed = load_blip2(str(folder), quant=quant, dtype="float32")
    plain = dict(blip2.model.named_modules())
    for name, module in packed.model.named_modules():
        if isinstance(plain[name], torch.nn.Linear):
            inside = ".layers." in name and name.startswith("language_model")
            assert (type(module) is not torch.nn.Linear) is inside, name
            if not inside:
                assert torch.equal(module.weight, plain[name].weight) and module.weight.dtype == torch.float32
    assert all(name in plain for name in FAMILIES["blip-2"].kept)
    assert packed.model.get_output_embeddings().weight is packed.model.get_input_embeddings().weight
    assert audit(packed.model).total == audit(blip2.model).total
    pixels = encode_vision(packed.processor, talk(0)).pixels
    with torch.no_grad():
        seen, before = (loaded.model.get_image_features(**pixels).pooler_output for loaded in (packed, blip2))
    assert torch.equal(seen, before)
    answers = generate_vision(packed.model, packed.processor, [talk(i) for i in range(3)], max_new_tokens=4)
    assert len(answers) == 3


def test_four_bits_are_the_default_and_a_configuration_is_taken_as_it_is(folder: Path) -> None:
    assert any(isinstance(m, Linear4bit) for m in load_blip2(str(folder), dtype="float32").model.modules())
    own = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    model = load_blip2(str(folder), quant=own, dtype="float32").model
    assert any(isinstance(m, Linear4bit) for n, m in model.named_modules() if n.startswith("vision_model"))


def test_in_float16_the_qformer_stays_in_float32(folder: Path) -> None:
    loaded = load_blip2(str(folder), quant="none", dtype="float16")
    kinds = {name.split(".")[0]: p.dtype for name, p in loaded.model.named_parameters()}
    assert {name for name, kind in kinds.items() if kind == torch.float32} == {"qformer", "query_tokens"}
    assert len(generate_vision(loaded.model, loaded.processor, [talk(0)], max_new_tokens=3)) == 1
    half = load_blip2(str(folder), quant="nf4", dtype="bfloat16")
    assert len(generate_vision(half.model, half.processor, [talk(0)], max_new_tokens=3)) == 1


@pytest.mark.parametrize("quant", ["int8", BitsAndBytesConfig(load_in_8bit=True)])
def test_a_p100_is_refused_eight_bits_before_anything_is_read(folder: Path, quant: Any, tmp_path: Path) -> None:
    old = describe(p100(CU126))
    shutil.copytree(folder, tmp_path / "weightless")
    (tmp_path / "weightless" / "model.safetensors").unlink()
    for model_id in (BLIP2, str(tmp_path / "weightless")):  # one of them is not even here
        for load in (load_blip2, load_vision, models.load):
            with pytest.raises(ModelError, match="LLM.int8") as caught:
                load(model_id, quant=quant, machine=old)
            text = str(caught.value)
            assert "7.5" in text and "P100" in text and "has 6.0" in text and "use quant='nf4'" in text
            assert "\n" not in text


def test_what_a_gpu_can_compute_in_is_not_refused() -> None:
    four, eight = BitsAndBytesConfig(load_in_4bit=True), BitsAndBytesConfig(load_in_8bit=True)
    for quant in ("none", "nf4", "nf4-double", four, None):
        check_quantisation(quant, describe(p100(CU126)))
    for quant in ("none", "int8", "nf4", four, eight):
        check_quantisation(quant, describe(t4()))
        check_quantisation(quant, describe(machine()))
    bare = describe(machine(versions={"bitsandbytes": None}))
    check_quantisation("none", bare)
    for quant in ("int8", "nf4-double", four):
        with pytest.raises(ModelError, match="bitsandbytes, which is not installed"):
            check_quantisation(quant, bare)


# ---------- checkpoints that do not fit
def changed(folder: Path, place: Path, **changes: Any) -> str:
    shutil.copytree(folder, place, dirs_exist_ok=True)
    config = json.loads((place / "config.json").read_text()) | changes
    (place / "config.json").write_text(json.dumps(config))
    return str(place)


def test_checkpoints_of_another_kind_are_one_clear_line(folder: Path, tmp_path: Path) -> None:
    t5 = {"model_type": "t5", "d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2, "d_kv": 16}
    cases = {
        "tiny/llama": "is of kind 'llama', not a BLIP-2",
        changed(folder, tmp_path / "t5", text_config=t5): r"encoder-decoder \(t5\)",
        changed(folder, tmp_path / "older", image_token_index=None): "keeps no place for pictures",
        changed(folder, tmp_path / "other", image_token_index=7): "keeps no place for pictures",
        BLIP2: "not on this machine and the Hub cannot be reached",
    }
    for model_id, says in cases.items():
        with pytest.raises(ModelError, match=says) as caught:
            load_blip2(model_id, quant="none")
        assert "\n" not in str(caught.value)


def test_one_resolution(folder: Path) -> None:
    assert load_processor(str(folder), 64 * 64).image_processor.size["height"] == 64
    with pytest.raises(ModelError, match="64 x 64 pixels only") as caught:
        load_processor(str(folder), 32 * 32)
    assert "leave max_pixels out." in str(caught.value)
