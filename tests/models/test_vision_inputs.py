"""Pictures and text as tokens, pixels and labels: equal to the processors' own, and rows do not mix in a batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Trainer, TrainingArguments

from helpers import tasks
from helpers.errors import DataError
from helpers.models.vision import LoadedVision, load_processor, load_vision
from helpers.models.vision_inputs import IGNORED, VisionInput, collate_vision, encode_vision
from helpers.tasks.scienceqa import generator as scienceqa_generator
from helpers.tasks.scienceqa import task as scienceqa
from helpers.training import trainers

TASK = tasks.get("scienceqa")
assert isinstance(TASK, scienceqa.ScienceqaTask)
EXACT = 1e-5  # float32 logits of about 3
# On the left, padding moves a row's positions. Only their differences count, but rotary sines are rounded to float32.
LEFT_EXACT = 3e-5
SIZES = [(192, 192), (64, 64), (90, 130), (301, 77), (20, 31)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def asked(text: str, *pictures: Image.Image, answer: str | None = None) -> dict[str, Any]:
    content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": text}]
    talk: dict[str, Any] = {"prompt": [{"role": "user", "content": content}], "images": list(pictures)}
    if answer is not None:
        talk["completion"] = [{"role": "assistant", "content": answer}]
    return talk


def talks(rows: Any, form: str = "QTCH", blank: bool = False) -> list[dict[str, Any]]:
    return [TASK.to_vision_messages(example, blank) for example in TASK.examples(rows, form)]


def is_qwen(vision: LoadedVision) -> bool:
    return vision.model.config.model_type == "qwen2_vl"


def opening(vision: LoadedVision) -> str:
    """What SmolVLM writes before an answer: "Assistant: yes"."""
    return " " if vision.model.config.model_type == "idefics3" else ""


# ---------- labels
@pytest.fixture(scope="module")
def many() -> list[dict[str, Any]]:
    """200 random rows, the four settings of the prompt in turn."""
    rows = list(islice(scienceqa_generator.rows(5), 400))
    chosen = random.Random(0).sample(rows, 200)
    forms = list(TASK.forms)
    return [dict(example) for i, form in enumerate(forms) for example in TASK.examples(chosen[i::4], form)]


@pytest.fixture(scope="module")
def encoded(vision: LoadedVision, many: list[dict[str, Any]]) -> list[VisionInput]:
    return [encode_vision(vision.processor, TASK.to_vision_messages(example)) for example in many]


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_decode_to_exactly_the_answer_and_eos(
    vision: LoadedVision, many: list[dict[str, Any]], encoded: list[VisionInput], side: str
) -> None:
    tokenizer, seen = vision.tokenizer, 0
    order = random.Random(1).sample(range(len(many)), len(many))
    for start in range(0, len(order), 20):
        chunk = order[start : start + 20]
        batch = collate_vision(vision.processor, [encoded[i] for i in chunk], side=side)
        ids, labels, mask = batch["input_ids"], batch["labels"], batch["attention_mask"].bool()
        learned = labels != IGNORED
        assert torch.equal(labels[learned], ids[learned])
        assert not learned[ids == vision.processor.image_token_id].any()
        assert not learned[~mask].any()
        for row, i in enumerate(chunk):
            answer = opening(vision) + many[i]["completion"] + tokenizer.eos_token
            assert tokenizer.decode(labels[row][learned[row]]) == answer
            where = learned[row].nonzero().squeeze(1)
            assert where.diff().eq(1).all()  # one run, after all of the prompt
            assert where[-1] == mask[row].nonzero()[-1]
            before = tokenizer.decode(ids[row][mask[row] & ~learned[row]])
            assert many[i]["prompt"] in before and many[i]["completion"] not in before
            assert (many[i]["image"] is not None) == bool((ids[row] == vision.processor.image_token_id).any())
            assert mask[row].sum() == len(encoded[i]) and (ids[row][~mask[row]] == tokenizer.pad_token_id).all()
            assert mask[row, 0 if side == "right" else -1]
            seen += 1
    assert seen == 200
    assert 60 < sum(example["image"] is not None for example in many) < 140


def test_an_answer_may_hold_line_breaks_and_any_letters(vision: LoadedVision) -> None:
    for answer in ("no\nyes", " x ", 'é – 漢字 {"a": 1}', "<x>"):
        item = encode_vision(vision.processor, asked("Is it?", noise(64, 64), answer=answer))
        assert vision.tokenizer.decode(item.completion_ids) == opening(vision) + answer + vision.tokenizer.eos_token
    assert encode_vision(vision.processor, asked("Is it?")).completion_ids == []


def test_a_text_alone_is_a_list_of_one_part(vision: LoadedVision) -> None:
    """Some chat templates leave a content out that is not a list."""

    def turns(form: Callable[[str], Any]) -> dict[str, Any]:
        said = [("user", "Is it?"), ("assistant", "Yes."), ("user", "Sure?"), ("assistant", "It is.")]
        messages = [{"role": role, "content": form(text)} for role, text in said]
        return {"prompt": messages[:3], "completion": messages[3:]}

    one, other = (encode_vision(vision.processor, turns(f)) for f in (str, lambda t: [{"type": "text", "text": t}]))
    assert one == other
    answer = vision.tokenizer.decode(one.completion_ids)
    assert answer == f"{opening(vision)}It is.{vision.tokenizer.eos_token}"
    expected = {
        "qwen2_vl": (
            "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
            "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
        ),
        "paligemma": f"{vision.tokenizer.bos_token}Is it?\nYes.\nSure?\n",
        "idefics3": (
            "<|im_start|>User: Is it?<end_of_utterance>\nAssistant: Yes.<end_of_utterance>\n"
            "User: Sure?<end_of_utterance>\nAssistant:"
        ),
    }
    assert vision.tokenizer.decode(one.prompt_ids) == expected[vision.model.config.model_type]


def test_label_table_shows_the_whole_row(vision: LoadedVision, encoded: list[VisionInput]) -> None:
    short, long = sorted(encoded[:20], key=len)[::19]
    batch = collate_vision(vision.processor, [short, long])
    for ids, labels, item in zip(batch["input_ids"], batch["labels"], (short, long), strict=True):
        runs = trainers.label_table(vision.tokenizer, ids.tolist(), labels.tolist())
        assert [kind for kind, _ in runs] == ["context", "loss", "padding"][: 3 if item is short else 2]
        assert runs[0][1] == vision.tokenizer.decode(item.prompt_ids)
        assert runs[1][1] == vision.tokenizer.decode(item.completion_ids)


# ---------- the processors' own
@pytest.mark.parametrize("size", SIZES)
def test_prompt_equals_the_processors_own(vision: LoadedVision, vision_folder: Any, size: tuple[int, int]) -> None:
    """Token for token and pixel for pixel, also where pictures of other shapes take other numbers of tokens."""
    processor = load_processor(str(vision_folder), 150 * 150 if is_qwen(vision) else None)
    picture, question, answer = noise(*size), "Is it é?\nChoices: (A) yes (B) no ", '{"answer": "A"}'
    item = encode_vision(processor, asked(question, picture, answer=answer))
    batch = collate_vision(processor, [item])
    if processor.chat_template:
        text = processor.apply_chat_template(asked(question, picture)["prompt"], add_generation_prompt=True)
        own = processor(text=[text], images=[picture], return_tensors="pt")
        assert item.prompt_ids == own["input_ids"][0].tolist()
        for name in own.keys() - {"input_ids", "attention_mask"}:
            mine = batch[name][:, : len(item.prompt_ids)] if name == "mm_token_type_ids" else batch[name]
            assert torch.equal(mine, own[name]), name
        content = [{"type": "text", "text": answer}]
        turns = [*asked(question, picture)["prompt"], {"role": "assistant", "content": content}]
        whole = processor.apply_chat_template(turns)
        both = processor(text=[whole], images=[picture])["input_ids"][0]
        assert [*item.prompt_ids, *item.completion_ids] == both[: len(item)]
        assert processor.tokenizer.decode(both[len(item) :]).strip() == ""
    else:
        own = processor(text=f"<image>{question}", images=picture, suffix=answer, return_tensors="pt")
        for name in ("input_ids", "token_type_ids", "attention_mask", "labels"):
            assert torch.equal(batch[name], own[name]), name
        alone = processor(text=f"<image>{question}", images=picture)["input_ids"][0]
        assert item.prompt_ids == alone
    assert torch.equal(batch["pixel_values"], own["pixel_values"])
    assert batch.keys() - {"labels"} == own.keys() - {"labels"}


def test_two_pictures_equal_the_processors_own(vision: LoadedVision) -> None:
    processor, pictures = vision.processor, [noise(64, 64, 1), noise(90, 40, 2)]
    item = encode_vision(processor, asked("Alike?", *pictures))
    if processor.chat_template:
        text = processor.apply_chat_template(asked("Alike?", *pictures)["prompt"], add_generation_prompt=True)
        own = processor(text=[text], images=pictures, return_tensors="pt")
    else:
        own = processor(text="<image><image>Alike?", images=[pictures], return_tensors="pt")
    assert item.prompt_ids == own["input_ids"][0].tolist()
    for name, seen in item.pixels.items():
        assert torch.equal(seen, own[name].view_as(seen)), name


@pytest.mark.parametrize("size", SIZES)
def test_as_many_tokens_as_the_vision_tower_gives(
    vision: LoadedVision, vision_folder: Any, size: tuple[int, int]
) -> None:
    processor = load_processor(str(vision_folder), 150 * 150 if is_qwen(vision) else None)
    item = encode_vision(processor, asked("What?", noise(*size)))
    with torch.no_grad():
        given = vision.model.get_image_features(**item.pixels).pooler_output
    features = torch.cat(list(given))
    places = item.prompt_ids.count(processor.image_token_id)
    assert features.shape == (places, vision.model.config.text_config.hidden_size)


# ---------- batches
@pytest.fixture(scope="module")
def mixed(vision: LoadedVision, questions: Any) -> list[VisionInput]:
    """Rows of different length, with and without a picture, two pictures in one."""
    items = [encode_vision(vision.processor, talk) for talk in talks(questions.select(range(7)))]
    items.append(encode_vision(vision.processor, asked("Alike?", noise(64, 64, 1), noise(90, 40, 2), answer="no")))
    assert len({len(item) for item in items}) > 4
    assert 2 < sum(bool(item.pixels) for item in items) < len(items) - 2
    return items


def answers_logits(vision: LoadedVision, items: list[VisionInput], side: str) -> list[torch.Tensor]:
    batch = collate_vision(vision.processor, items, side=side)
    learned = batch["labels"] != IGNORED
    with torch.no_grad():
        logits = vision.model(**batch).logits
    return [row[:-1][keep[1:]] for row, keep in zip(logits, learned, strict=True)]


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_row_gets_the_same_logits_alone_and_in_a_batch(
    vision: LoadedVision, mixed: list[VisionInput], side: str
) -> None:
    together = answers_logits(vision, mixed, side)
    for item, inside in zip(mixed, together, strict=True):
        (alone,) = answers_logits(vision, [item], "right")
        assert alone.shape == inside.shape and len(alone) == len(item.completion_ids)
        assert torch.allclose(alone, inside, atol=LEFT_EXACT if side == "left" else EXACT, rtol=0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_picture_belongs_to_its_row(vision: LoadedVision, mixed: list[VisionInput], side: str) -> None:
    order = random.Random(3).sample(range(len(mixed)), len(mixed))
    straight, shuffled = (answers_logits(vision, rows, side) for rows in (mixed, [mixed[i] for i in order]))
    for place, i in enumerate(order):
        assert torch.allclose(straight[i], shuffled[place], atol=EXACT, rtol=0)
    # Another picture in one row changes that row, by far more than rounding, and no other.
    first = next(i for i, item in enumerate(mixed) if item.pixels)
    other = {n: -p if n == "pixel_values" else p for n, p in mixed[first].pixels.items()}
    changed = [VisionInput(i.prompt_ids, i.completion_ids, other if i is mixed[first] else i.pixels) for i in mixed]
    for i, (before, after) in enumerate(zip(straight, answers_logits(vision, changed, side), strict=True)):
        difference = (before - after).abs().max()
        assert difference > 0.1 if i == first else difference < 1e-5


def test_rows_without_any_picture_make_a_batch(vision: LoadedVision, mixed: list[VisionInput]) -> None:
    plain = [item for item in mixed if not item.pixels]
    assert "pixel_values" not in collate_vision(vision.processor, plain)
    for item, inside in zip(plain, answers_logits(vision, plain, "left"), strict=True):
        assert torch.allclose(answers_logits(vision, [item], "right")[0], inside, atol=LEFT_EXACT, rtol=0)


def test_a_blank_picture_is_a_picture(vision: LoadedVision, questions: Any) -> None:
    items = [encode_vision(vision.processor, talk) for talk in talks(questions.select(range(6)), blank=True)]
    assert all(item.pixels for item in items)
    assert len({item.prompt_ids.count(vision.processor.image_token_id) for item in items}) == 1


# ---------- errors
def test_pictures_and_places_for_them_have_to_match(vision: LoadedVision) -> None:
    picture = noise(64, 64)
    for talk, places, given in (
        (asked("What?") | {"images": [picture]}, 0, 1),
        (asked("What?", picture) | {"images": []}, 1, 0),
        (asked("What?", picture, picture) | {"images": [picture]}, 2, 1),
    ):
        with pytest.raises(DataError, match=f"{places} places for pictures and {given} pictures") as caught:
            encode_vision(vision.processor, talk)
        assert "\n" not in str(caught.value)


def test_answers_hold_no_pictures(vision: LoadedVision) -> None:
    place = vision.processor.image_token
    for answer in (f"see {place}", [{"type": "image"}, {"type": "text", "text": "this"}]):
        talk = asked("What?", noise(64, 64)) | {"completion": [{"role": "assistant", "content": answer}]}
        with pytest.raises(DataError, match="an answer holds a place for a picture"):
            encode_vision(vision.processor, talk)


def test_an_unreadable_picture_is_one_clear_line(vision: LoadedVision, tmp_path: Any) -> None:
    noise(64, 64).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    with Image.open(tmp_path / "cut.png") as cut, pytest.raises(DataError, match="64 x 64 pixels") as caught:
        encode_vision(vision.processor, asked("What?", cut))
    assert "\n" not in str(caught.value)
    if is_qwen(vision):
        with pytest.raises(DataError, match="1 x 300 pixels"):
            encode_vision(vision.processor, asked("What?", noise(1, 300)))


# ---------- training
def test_a_plain_trainer_trains_and_evaluates(vision_folder: Any, questions: Any, tmp_path: Any) -> None:
    loaded = load_vision(str(vision_folder), dtype="float32")
    rows = TASK.examples(questions.select(range(12)), "QTCH")

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        items = [encode_vision(loaded.processor, TASK.to_vision_messages(e)) for e in examples]
        return collate_vision(loaded.processor, items)

    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, per_device_eval_batch_size=3, learning_rate=1e-3,
        logging_steps=1, report_to="none", remove_unused_columns=False, use_cpu=True, save_strategy="no",
        eval_strategy="steps", eval_steps=1, prediction_loss_only=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        loaded.model, arguments, data_collator=collate, train_dataset=rows, eval_dataset=rows.select(range(6))
    )
    before = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    at_first = trainer.evaluate()["eval_loss"]
    with torch.no_grad():
        own = [float(loaded.model(**collate([rows[i] for i in part])).loss) for part in (range(3), range(3, 6))]
    assert at_first == pytest.approx(np.mean(own), rel=1e-4)
    history = trainers.train(trainer)
    assert [row["step"] for row in history if "loss" in row] == [1, 2]
    assert [row["eval_loss"] for row in history if "eval_loss" in row][-1] < at_first
    moved = {n for n, p in loaded.model.named_parameters() if not torch.equal(p, before[n])}
    assert any(part in n for part in ("visual", "vision_tower", "vision_model") for n in moved)
    assert any("language_model" in n or "text_model" in n for n in moved)
