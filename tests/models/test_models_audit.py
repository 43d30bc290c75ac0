"""Parameter counts from the architecture alone: the published ones to the last parameter, and by hand."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from helpers import models
from helpers.errors import ModelError
from helpers.models import vision
from helpers.models.audit import Audit, audit, audit_shape
from helpers.models.skeletons import published, skeleton

BLIP2 = "blip2-opt-2.7b"
LORA = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.1, target_modules=["q_proj", "v_proj"])
HEAD = 50_272 * 2560


def parts(counted: Audit) -> dict[str, int]:
    return {part.name: part.total for part in counted.parts}


@pytest.fixture(scope="module")
def blip2() -> Audit:
    return audit_shape(BLIP2, LORA)


# ---------- Project C
def test_project_c_to_the_last_parameter(blip2: Audit) -> None:
    assert (blip2.total, blip2.trainable) == (3_749_922_816, 5_242_880)
    assert f"{blip2.trainable / blip2.total:.4%}" == "0.1398%"
    assert audit_shape(BLIP2).total == 3_744_679_936 == blip2.total - blip2.trainable
    for said in ("3,749,922,816", "5,242,880", "0.1398%", "128,696,320"):
        assert said in str(blip2)
    assert blip2.rows()[-1] == {"part": "all", "parameters": 3_749_922_816, "trainable": 5_242_880}
    assert sum(row["parameters"] for row in blip2.rows()[:-1]) == blip2.total


def test_the_head_is_the_embeddings_matrix(blip2: Audit) -> None:
    assert blip2.head_tied and blip2.head == HEAD == 128_696_320
    config = published(BLIP2)
    config.text_config.tie_word_embeddings = False
    untied = audit_shape(config, LORA)
    assert not untied.head_tied and untied.head == HEAD
    assert untied.total == blip2.total + 128_696_320 == blip2.total_untied == untied.total_untied
    assert parts(untied)["output head"] == HEAD and "output head" not in parts(blip2)


def test_todays_files_have_room_for_the_image_token(blip2: Audit) -> None:
    config = published(BLIP2)
    config.text_config.vocab_size = 50_304
    assert audit_shape(config, LORA).total == blip2.total + 32 * 2560 == blip2.total + 81_920


def test_lora_lands_in_the_language_model_only(blip2: Audit) -> None:
    """The tower has one matrix for query, key and value, and the Q-Former names its own query and value."""
    assert blip2.adapted == {"q_proj": 32, "v_proj": 32}
    trainable = {part.name: part.trainable for part in blip2.parts if part.trainable}
    assert trainable == {"adapters in the language model": 32 * 2 * 16 * (2560 + 2560)}
    other = audit_shape(BLIP2, LoraConfig(r=16, target_modules=["query", "value", "qkv"]))
    trainable = {part.name: part.trainable for part in other.parts if part.trainable}
    each = 12 * 2 * (768 + 768) + 6 * ((768 + 768) + (1408 + 768))  # itself, and the picture in every second layer
    assert trainable == {
        "adapters in the Q-Former": 16 * each,
        "adapters in the vision tower": 39 * 16 * (1408 + 3 * 1408),
    }
    assert other.adapted == {"qkv": 39, "query": 18, "value": 18}


def test_every_part_by_hand(blip2: Audit) -> None:
    def linear(given: int, made: int) -> int:
        return given * made + made

    d, wide = 1408, 6144
    layer = linear(d, 3 * d) + linear(d, d) + linear(d, wide) + linear(wide, d) + 2 * 2 * d
    tower = d + 257 * d + (3 * 14 * 14 * d + d) + 39 * layer + 2 * d
    q, wide = 768, 3072
    itself, picture = 4 * linear(q, q) + 2 * q, 2 * linear(q, q) + 2 * linear(d, q) + 2 * q
    qformer = 32 * q + 2 * q + 12 * (itself + linear(q, wide) + linear(wide, q) + 2 * q) + 6 * picture
    h, wide = 2560, 10240
    opt = 50_272 * h + 2050 * h + 32 * (4 * linear(h, h) + linear(h, wide) + linear(wide, h) + 4 * h) + 2 * h
    assert parts(blip2) == {
        "Q-Former": qformer,
        "vision tower": tower,
        "projection": linear(q, h),
        "language model": opt,
        "adapters in the language model": 5_242_880,
    }


# ---------- Project E
def test_project_e_to_the_last_parameter() -> None:
    options = {"kind": AutoModelForSequenceClassification, "num_labels": 3}
    plain, tuned = audit_shape("phi-2", **options), audit_shape("phi-2", LoraConfig(r=16), **options)
    assert plain.total == plain.trainable == 2_648_568_320
    assert (tuned.total, tuned.trainable) == (2_648_568_320 + 18_350_080, 18_350_080)
    assert tuned.adapted == dict.fromkeys(("q_proj", "v_proj", "fc1", "fc2"), 32)
    assert plain.head == 3 * 2560 == parts(plain)["output head"] and not plain.head_tied
    headed = audit_shape("phi-2", LoraConfig(r=16, task_type="SEQ_CLS"), **options)
    assert headed.trainable == 18_357_760  # with the head, which this task type trains and saves


# ---------- any model
@pytest.mark.parametrize("model_id", ["tiny/llama", "tiny/phi", "tiny/qwen2_vl"])
@pytest.mark.parametrize("quant", ["none", "nf4"])
def test_a_skeleton_counts_what_the_loaded_model_has(model_id: str, quant: str) -> None:
    loaded = vision.load_reader(model_id, quant=quant, dtype="float32").model
    shape, counted = audit_shape(model_id), models.count_parameters(loaded)
    assert shape.total == audit(loaded).total == counted.total
    assert audit(loaded).trainable == counted.trainable
    assert parts(shape) == parts(audit(loaded))
    assert shape.head_tied is (model_id != "tiny/phi") and audit(loaded).head_tied is shape.head_tied
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    wrapped = get_peft_model(loaded, adapter)
    assert audit(wrapped).rows() == audit_shape(model_id, adapter).rows()
    assert audit(wrapped).trainable == models.count_parameters(wrapped).trainable


def test_a_skeleton_has_no_numbers_in_it() -> None:
    built = skeleton(BLIP2)
    assert {p.device.type for p in built.parameters()} == {"meta"} and type(built).__name__.startswith("Blip2For")
    assert isinstance(built, torch.nn.Module) and built.config.text_config.vocab_size == 50_272


def test_unknown_sizes_are_one_clear_line() -> None:
    with pytest.raises(ModelError, match="known: blip2-opt-2.7b, clip-vit-b-32, codellama-34b, llama") as caught:
        published("blip3")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="not on this machine"):
        audit_shape("nobody/nothing-7b")


def test_settings_of_a_skeleton_leave_the_callers_configuration_alone() -> None:
    config = published("phi-2")
    before = config.to_dict()
    shape = audit_shape(config, kind=AutoModelForSequenceClassification, num_labels=5)
    assert shape.head == 5 * config.hidden_size and config.to_dict() == before
