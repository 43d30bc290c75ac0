"""Loading vision-language models: processors, resolution limits, 4-bit layers that leave the eyes alone, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import BitsAndBytesConfig
from vision_cases import gradients

from helpers import inference, models, tasks
from helpers.errors import DataError, ModelError
from helpers.inference.vision import choice_scores, generate_vision
from helpers.models.families import FAMILIES, family_of, format_of
from helpers.models.load import ModelSource, _from_pretrained
from helpers.models.vision import (
    LoadedVision,
    load_processor,
    load_reader,
    load_vision,
    reads_pictures,
)
from helpers.models.vision_inputs import collate_vision, encode_vision
from helpers.sources.hub_errors import GATED
from helpers.tasks.scienceqa import task as scienceqa

TASK = tasks.get("scienceqa")
assert isinstance(TASK, scienceqa.ScienceqaTask)
GEMMA = "google/paligemma-3b-pt-224"


def talks(questions: Any, count: int = 6) -> list[dict[str, Any]]:
    return [TASK.to_vision_messages(example) for example in TASK.examples(questions.select(range(count)))]


def tokens(processor: Any, width: int, height: int) -> int:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    item = encode_vision(processor, {"prompt": [{"role": "user", "content": [{"type": "image"}]}], "images": [picture]})
    return item.prompt_ids.count(processor.image_token_id)


def sees(name: str) -> bool:
    eyes = ("visual", "vision_tower", "multi_modal_projector", "vision_model", "connector")
    return any(part in name for part in eyes)


def reads(name: str) -> bool:
    return "language_model" in name or "text_model" in name


# ---------- loading
def test_loaded_as_saved(vision: LoadedVision, vision_folder: Path) -> None:
    assert not vision.model.training and vision.dtype == "float32"
    assert {p.dtype for p in vision.model.parameters()} == {torch.float32}
    assert vision.source.origin == "local" and vision.source.location == str(vision_folder)
    assert vision.tokenizer is vision.processor.tokenizer and vision.tokenizer.padding_side == "right"
    assert family_of(vision.model) is FAMILIES[vision.model.config.model_type] is format_of(vision.processor)
    again = load_vision(str(vision_folder), dtype="bfloat16")
    assert {p.dtype for p in again.model.parameters()} == {torch.bfloat16}
    assert models.fingerprint(again.model) != models.fingerprint(vision.model)


def test_a_saved_processor_is_the_same(vision: LoadedVision, questions: Any, tmp_path: Path) -> None:
    """As the trainer saves it beside its checkpoints."""
    vision.model.config.save_pretrained(tmp_path)
    vision.processor.save_pretrained(tmp_path)
    again = load_processor(str(tmp_path))
    assert type(again) is type(vision.processor)
    for talk in talks(questions, 4):
        one, other = encode_vision(vision.processor, talk), encode_vision(again, talk)
        assert (one.prompt_ids, one.completion_ids) == (other.prompt_ids, other.completion_ids)
        assert all(torch.equal(one.pixels[n], other.pixels[n]) for n in one.pixels)


def test_pictures_work_in_sixteen_bits(vision_folder: Path, questions: Any) -> None:
    loaded = load_vision(str(vision_folder), dtype="bfloat16")
    answers = generate_vision(loaded.model, loaded.processor, talks(questions), max_new_tokens=3)
    assert len(answers) == 6 and any(answers)


# ---------- resolution
def expected_tokens(width: int, height: int, most: int, token: int) -> int:
    """Whole tokens of the largest picture of the same shape within ``most`` pixels (Qwen2-VL, no enlargement)."""
    if round(height / token) * round(width / token) * token**2 <= most:
        return round(height / token) * round(width / token)
    scale = (most / (height * width)) ** 0.5
    return max(1, int(height * scale / token)) * max(1, int(width * scale / token))


def test_fewer_pixels_are_fewer_tokens(vision: LoadedVision, vision_folder: Path) -> None:
    if vision.model.config.model_type != "qwen2_vl":  # one resolution, whatever the picture's
        assert [tokens(vision.processor, *size) for size in ((192, 192), (300, 100), (5, 7))] == [16] * 3
        return
    token = vision.processor.image_processor.patch_size * 2
    limits = [token**2 * k for k in (1, 2, 4, 9, 16, 40, 144, 10_000)]
    for size in ((192, 192), (300, 100), (97, 211), (60, 90)):
        counts = [tokens(load_processor(str(vision_folder), most), *size) for most in limits]
        assert counts == [expected_tokens(*size, most, token) for most in limits]
        assert counts == sorted(counts) and counts[0] == 1 < counts[-1]
        assert all(count * token**2 <= most for count, most in zip(counts, limits, strict=True))
    for most in (1024, 4096, 5000, 20_000):  # small ones are enlarged, but not beyond the limit
        processor = load_processor(str(vision_folder), most)
        for size in ((16, 16), (20, 31), (48, 80), (17, 60), (5, 7), (1, 1)):
            assert tokens(processor, *size) * token**2 <= most


def test_impossible_resolutions_are_refused(vision: LoadedVision, vision_folder: Path) -> None:
    if vision.model.config.model_type == "qwen2_vl":
        for most in (255, 0, -1):
            with pytest.raises(ModelError, match="less than one token") as caught:
                load_processor(str(vision_folder), most)
            assert "at least 256 (16 pixels squared)" in str(caught.value)
        with pytest.raises(ModelError, match="less than one token"):
            load_vision(str(vision_folder), max_pixels=100)
    else:
        assert tokens(load_processor(str(vision_folder), 64 * 64), 192, 192) == 16
        for most in (32 * 32, 448 * 448):
            with pytest.raises(ModelError, match="64 x 64 pixels") as caught:
                load_processor(str(vision_folder), most)
            assert "leave max_pixels out" in str(caught.value)


# ---------- errors
def test_a_model_without_eyes_is_refused() -> None:
    for attempt in (load_processor, load_vision):
        with pytest.raises(ModelError, match="tiny/llama is of kind 'llama', which reads no pictures") as caught:
            attempt("tiny/llama")
        assert "qwen2_vl, paligemma, idefics3" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("model_id", [GEMMA, "Qwen/Qwen2-VL-2B-Instruct"])
def test_a_model_that_is_not_here_is_one_clear_line(model_id: str) -> None:
    with pytest.raises(ModelError, match="not on this machine and the Hub cannot be reached") as caught:
        load_vision(model_id)
    assert model_id in str(caught.value) and "\n" not in str(caught.value)


def test_a_gated_model_names_its_licence_page_and_a_stand_in() -> None:
    class Refusing:
        """Answers as transformers does when the Hub refuses."""

        @staticmethod
        def from_pretrained(place: str, **_: Any) -> None:
            raise OSError(
                f"You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/{place}."
                "\n401 Client Error."
            )

    with pytest.raises(ModelError, match="gated") as caught:
        _from_pretrained(Refusing, ModelSource(GEMMA, GEMMA, "local"))
    text = str(caught.value)
    assert f"https://huggingface.co/{GEMMA}" in text and "HF_TOKEN" in text and GATED[GEMMA] in text
    assert "\n" not in text


# ---------- 4 bits
@pytest.fixture(scope="module", params=["nf4", "nf4-double"])
def packed(request: pytest.FixtureRequest, vision_folder: Path) -> LoadedVision:
    return load_vision(str(vision_folder), quant=request.param, dtype="float32")


def test_the_eyes_and_the_head_are_not_packed(packed: LoadedVision, vision: LoadedVision) -> None:
    plain = dict(vision.model.named_modules())
    linear = {n: m for n, m in packed.model.named_modules() if isinstance(plain[n], torch.nn.Linear)}
    for name, module in linear.items():
        kept = sees(name) or name == "lm_head"
        assert isinstance(module, Linear4bit) is not kept, name
        if kept:
            assert torch.equal(module.weight, plain[name].weight) and module.weight.dtype == torch.float32
    assert sum(sees(n) for n in linear) > 12 and sum(reads(n) for n in linear) == 7 * 4
    assert all(n in plain for n in FAMILIES[vision.model.config.model_type].kept)
    count, whole = models.count_parameters(packed.model), models.count_parameters(vision.model)
    assert count.total == whole.total
    assert count.quantised == sum(m.weight.numel() for n, m in plain.items() if isinstance(linear.get(n), Linear4bit))


def test_packed_models_see_as_before_and_answer(packed: LoadedVision, vision: LoadedVision, questions: Any) -> None:
    asked = talks(questions)
    pixels = next(encode_vision(packed.processor, talk).pixels for talk in asked if talk["images"])
    with torch.no_grad():
        seen, before = (torch.cat(list(m.model.get_image_features(**pixels).pooler_output)) for m in (packed, vision))
    assert torch.equal(seen, before)
    answers = generate_vision(packed.model, packed.processor, asked, max_new_tokens=6)
    assert len(answers) == 6 and sum(map(bool, answers)) > 1  # a random model may end at once
    scores, plain = (choice_scores(m.model, m.processor, asked, [["A", "B"]] * 6) for m in (packed, vision))
    difference = np.abs(np.array(scores) - np.array(plain))
    assert 1e-3 < difference.mean() < 1  # 4 bits are not 32, and not noise


def test_eight_bits_leave_the_eyes_alone_too(vision_folder: Path) -> None:
    model = load_vision(str(vision_folder), quant="int8", dtype="float32").model
    for name, module in model.named_modules():
        if isinstance(module, Linear8bitLt):
            assert reads(name)
        elif isinstance(module, torch.nn.Linear):
            assert sees(name) or name == "lm_head"


def test_a_configuration_of_ones_own_is_taken_as_it_is(vision_folder: Path) -> None:
    own = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    model = load_vision(str(vision_folder), quant=own, dtype="float32").model
    assert any(sees(n) for n, m in model.named_modules() if isinstance(m, Linear4bit))


def test_a_plain_model_leaves_out_its_head_by_default() -> None:
    model = models.load("tiny/llama", quant="nf4", dtype="float32").model
    assert not isinstance(model.lm_head, Linear4bit) and isinstance(model.model.layers[0].mlp.up_proj, Linear4bit)


def tuned(vision_folder: Path) -> tuple[Any, Any]:
    loaded = load_vision(str(vision_folder), quant="nf4", dtype="float32")
    torch.manual_seed(0)
    model: Any = get_peft_model(loaded.model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model, loaded.processor


def test_gradients_after_an_evaluation_equal_those_before(vision_folder: Path, questions: Any) -> None:
    model, processor = tuned(vision_folder)
    asked = talks(questions)
    batch = collate_vision(processor, [encode_vision(processor, talk) for talk in asked])
    switches = [getattr(m, "support_avx512bf16_for_cpu", False) for m in model.modules()]
    assert not any(switches)  # on such a CPU the first pass without gradients would cost most of them
    before = gradients(model, batch)
    generate_vision(model, processor, asked, max_new_tokens=2)
    model.eval()
    with torch.no_grad():
        model(**batch)
    after = gradients(model, batch)
    assert before.keys() == after.keys()
    assert sum(reads(n) for n in before) == 2 * 7 * 4 and any(sees(n) for n in before)
    assert all(torch.equal(before[n], after[n]) and before[n].abs().sum() > 0 for n in before)


# ---------- models that read text only
def test_a_language_model_is_asked_like_one_that_sees() -> None:
    """The same calls; prompts, labels and answers as the text functions have them."""
    loaded = load_reader("tiny/llama", dtype="float32")
    assert not loaded.sees and reads_pictures("tiny/llama") is False
    talk = {
        "prompt": [{"role": "user", "content": [{"type": "text", "text": "Name them: rice"}]}],
        "completion": [{"role": "assistant", "content": "rice"}],
        "images": [],
    }
    plain = {"prompt": [{"role": "user", "content": "Name them: rice"}], "completion": talk["completion"]}
    item = encode_vision(loaded.processor, talk)
    assert (item.prompt_ids, item.completion_ids) == inference.batching.encode(loaded.tokenizer, plain)
    other = {"prompt": [{"role": "user", "content": "Name them: beans, milk"}]}
    expected = inference.generate(loaded.model, loaded.tokenizer, [plain["prompt"], other["prompt"]], max_new_tokens=8)
    assert generate_vision(loaded.model, loaded.processor, [talk, other], max_new_tokens=8) == expected
    with pytest.raises(DataError, match="reads no pictures"):
        encode_vision(loaded.processor, {"prompt": [{"role": "user", "content": [{"type": "image"}]}]})
    with pytest.raises(ModelError, match="reads no pictures"):
        load_reader("tiny/llama", max_pixels=4096)


def test_a_model_that_sees_is_loaded_as_such(vision_folder: Path) -> None:
    loaded = load_reader(str(vision_folder), dtype="float32")
    assert loaded.sees and reads_pictures(str(vision_folder))
