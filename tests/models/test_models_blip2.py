"""BLIP-2: what it reads and learns from, to the token; answers; 4-bit layers; what a GPU or a checkpoint cannot do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blip2_cases import CAPTIONS, QUESTION, noise, talk, write_blip2
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments
from vision_cases import gradients

from helpers import models
from helpers.errors import DataError
from helpers.inference.vision import choice_scores, generate_vision
from helpers.models.audit import audit
from helpers.models.vision import LoadedVision, load_blip2, load_processor
from helpers.models.vision_inputs import IGNORED, answer_opening, collate_vision, encode_vision
from helpers.training import trainers
from tools.tiny import architectures_blip2, build

EXACT = 2e-5  # float32 logits of about 3
QUERIES = architectures_blip2.QUERIES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip2(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def blip2(folder: Path) -> LoadedVision:
    return load_blip2(str(folder), quant="none", dtype="float32")


@pytest.fixture(scope="module")
def newline(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the published checkpoints: captions end with a line break, which is not the tokenizer's own end token."""
    place = tmp_path_factory.mktemp("newline")
    shutil.copytree(folder, place, dirs_exist_ok=True)
    config = json.loads((place / "config.json").read_text())
    (end,) = models.load_tokenizer(str(folder))("\n", add_special_tokens=False)["input_ids"]
    config["text_config"]["eos_token_id"] = end
    (place / "config.json").write_text(json.dumps(config))
    return place


# ---------- the tiny architecture
def test_it_fits_into_the_repository(tmp_path: Path) -> None:
    tokenizer = build.train_tokenizer([f"{c} {i}" for i, c in enumerate(CAPTIONS * 30)], 800)
    processor = architectures_blip2.blip2_processor(tokenizer)
    done = build.save(architectures_blip2.blip2(processor.tokenizer), processor, [1.0], tmp_path)
    assert 850_000 < done["parameters"] < 950_000
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * 2**20
    parts = {part.name for part in audit(load_blip2(str(tmp_path), quant="none").model).parts}
    assert parts == {"Q-Former", "vision tower", "projection", "language model"}


def test_queries_start_apart_and_their_gradients_are_of_ordinary_size(blip2: LoadedVision) -> None:
    torch.manual_seed(0)
    model = architectures_blip2.blip2(blip2.tokenizer)
    batch = collate_vision(blip2.processor, [encode_vision(blip2.processor, talk(i, "", CAPTIONS[i])) for i in (0, 1)])
    norms = {}
    for start in ("drawn", "zero"):
        if start == "zero":
            torch.nn.init.zeros_(model.query_tokens)
        model.zero_grad()
        model(**batch).loss.backward()
        norms[start] = float(model.query_tokens.grad.norm())
    assert norms["zero"] > 1e3 * norms["drawn"] > 0  # the layer norm divides by a spread of nothing


# ---------- what it reads
def test_labels_are_the_caption_and_its_end_and_nothing_else(blip2: LoadedVision) -> None:
    items = [encode_vision(blip2.processor, talk(i, "", caption)) for i, caption in enumerate(CAPTIONS)]
    end = blip2.tokenizer.eos_token
    for side in ("right", "left"):
        batch = collate_vision(blip2.processor, items, side=side)
        ids, labels, mask = batch["input_ids"], batch["labels"], batch["attention_mask"]
        taught = labels != IGNORED
        for row, caption in enumerate(CAPTIONS):
            assert blip2.tokenizer.decode(labels[row][taught[row]]) == caption + end
        assert torch.equal(labels[taught], ids[taught])
        for never in (ids == blip2.processor.image_token_id, ids == blip2.tokenizer.bos_token_id, mask == 0):
            assert never.any() and not (taught & never).any()
        assert ((ids == blip2.processor.image_token_id).sum(1) == QUERIES).all()
        assert batch["pixel_values"].shape == (len(CAPTIONS), 3, 64, 64)


def test_a_prompt_is_written_as_the_processor_writes_it(blip2: LoadedVision) -> None:
    """Places for the picture first, even before the first token of the text."""
    for text in ("", QUESTION):
        picture = noise(1, 120, 50)
        asked = talk(1, text) | {"images": [picture]}
        own = blip2.processor(images=picture, text=blip2.tokenizer.bos_token + text, return_tensors="pt")
        item = encode_vision(blip2.processor, asked)
        assert item.prompt_ids == own["input_ids"][0].tolist() and item.completion_ids == []
        assert torch.equal(item.pixels["pixel_values"], own["pixel_values"])


def test_an_answer_follows_its_question_after_a_space(blip2: LoadedVision) -> None:
    for text in (QUESTION, QUESTION + " ", f" {QUESTION}\n"):
        item = encode_vision(blip2.processor, talk(0, text, "oxfords"))
        assert blip2.tokenizer.decode(item.completion_ids) == f" oxfords{blip2.tokenizer.eos_token}"
        assert blip2.tokenizer.decode(item.prompt_ids).endswith(f"{blip2.tokenizer.bos_token}{QUESTION}")
    assert answer_opening(blip2.processor, talk(0, QUESTION)["prompt"]) == " "
    assert answer_opening(blip2.processor, talk(0)["prompt"]) == ""
    turns = [
        *talk(0, "Is it red?")["prompt"],
        {"role": "assistant", "content": "no."},
        {"role": "user", "content": "why"},
    ]
    item = encode_vision(blip2.processor, {"prompt": turns, "images": [noise()]})
    assert blip2.tokenizer.decode(item.prompt_ids).endswith("Is it red? no. why")


def test_captions_of_the_published_kind_end_with_a_line_break(
    newline: Path, blip2: LoadedVision, tmp_path: Path
) -> None:
    loaded = load_blip2(str(newline), quant="none", dtype="float32")
    assert loaded.tokenizer.decode([loaded.tokenizer.eos_token_id]) == "\n" != blip2.tokenizer.eos_token
    loaded.processor.save_pretrained(tmp_path)
    loaded.model.config.save_pretrained(tmp_path)
    for processor in (loaded.processor, load_processor(str(tmp_path))):  # as a trainer saves it, too
        item = encode_vision(processor, talk(0, "", CAPTIONS[0]))
        assert processor.tokenizer.decode(item.completion_ids) == CAPTIONS[0] + "\n"
        assert item.completion_ids[-1] == processor.tokenizer.eos_token_id not in item.completion_ids[:-1]
        assert item.completion_ids[:-1] == encode_vision(blip2.processor, talk(0, "", CAPTIONS[0])).completion_ids[:-1]


@pytest.mark.parametrize(
    ("chat", "says"),
    [
        ({"prompt": [{"role": "user", "content": "Is it so?"}]}, "a picture with every prompt"),
        (talk(0) | {"images": []}, "1 places for pictures and 0 pictures"),
        (talk(0) | {"images": [noise(), noise()]}, "1 places for pictures and 2 pictures"),
        (talk(0, "", "see <image>"), "an answer holds a place"),
    ],
)
def test_conversations_that_do_not_fit_are_one_clear_line(blip2: LoadedVision, chat: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        encode_vision(blip2.processor, chat)
    assert "\n" not in str(caught.value)


# ---------- what it computes
def test_padding_changes_no_logits_and_rows_do_not_mix(blip2: LoadedVision) -> None:
    chats = [talk(0, "", CAPTIONS[0]), talk(1, QUESTION, CAPTIONS[5]), talk(2, "", "red"), talk(3, QUESTION, "red")]
    items = [encode_vision(blip2.processor, chat) for chat in chats]
    assert len({len(item) for item in items}) == 4
    with torch.no_grad():
        alone = [blip2.model(**collate_vision(blip2.processor, [item])).logits[0] for item in items]
        for side in ("right", "left"):
            batch = collate_vision(blip2.processor, items, side=side)
            logits = blip2.model(**batch).logits
            for row, expected in enumerate(alone):
                seen = logits[row][batch["attention_mask"][row].bool()]
                assert torch.allclose(seen, expected, atol=EXACT), (side, row, (seen - expected).abs().max())
        swapped = [encode_vision(blip2.processor, chat | {"images": [noise(9)]}) for chat in chats[:1]]
        other = blip2.model(**collate_vision(blip2.processor, swapped)).logits[0]
    assert (other - alone[0]).abs().max() > 100 * EXACT  # the picture is seen


def test_the_loss_is_that_of_the_caption(blip2: LoadedVision) -> None:
    items = [encode_vision(blip2.processor, talk(i, "", CAPTIONS[i])) for i in range(3)]
    batch = collate_vision(blip2.processor, items)
    with torch.no_grad():
        output = blip2.model(**batch)
    each = []
    for row, item in enumerate(items):
        said = output.logits[row].log_softmax(-1)
        start = len(item.prompt_ids)
        each += [-float(said[start + i - 1, token]) for i, token in enumerate(item.completion_ids)]
    assert float(output.loss) == pytest.approx(np.mean(each), rel=1e-5)


def greedy(loaded: LoadedVision, chat: dict[str, Any], most: int) -> list[int]:
    """One row, no padding, no cache: the whole sequence again for each token, until the end."""
    item, written = encode_vision(loaded.processor, chat), []
    while len(written) < most and loaded.tokenizer.eos_token_id not in written:
        ids = torch.tensor([item.prompt_ids + written])
        with torch.no_grad():
            logits = loaded.model(input_ids=ids, pixel_values=item.pixels["pixel_values"], use_cache=False).logits
        written.append(int(logits[0, -1].argmax()))
    return written


def test_answers_equal_a_plain_greedy_loop(blip2: LoadedVision, newline: Path) -> None:
    chats = [talk(i, QUESTION if i % 2 else "", "never read") for i in range(5)]
    for loaded in (blip2, load_blip2(str(newline), quant="none", dtype="float32")):
        expected = [greedy(loaded, {"prompt": c["prompt"], "images": c["images"]}, 6) for c in chats]
        texts = [t.strip() for t in loaded.tokenizer.batch_decode(expected, skip_special_tokens=True)]
        for size in (1, 4):
            assert generate_vision(loaded.model, loaded.processor, chats, max_new_tokens=6, batch_size=size) == texts
        assert len(set(texts)) > 2


def test_generation_ends_at_the_end_the_checkpoint_names(newline: Path) -> None:
    loaded = load_blip2(str(newline), quant="none", dtype="float32")
    with torch.no_grad():
        loaded.model.language_model.model.decoder.final_layer_norm.weight.zero_()
        rows = loaded.model.get_input_embeddings().weight
        loaded.model.language_model.model.decoder.final_layer_norm.bias.copy_(rows[loaded.tokenizer.eos_token_id])
        rows[loaded.tokenizer.eos_token_id] *= 5  # always the most likely
    seen: list[int] = []
    hook = loaded.model.language_model.lm_head.register_forward_hook(lambda *_: seen.append(1))
    assert generate_vision(loaded.model, loaded.processor, [talk(0)], max_new_tokens=8) == [""]
    hook.remove()
    assert len(seen) == 1


def test_options_score_as_one_row_at_a_time(blip2: LoadedVision) -> None:
    options = [["oxfords", "sandals", "ankle boots"], ["red", "black leather"]]
    chats = [talk(0, QUESTION), talk(1)]
    scores = choice_scores(blip2.model, blip2.processor, chats, options)
    for chat, texts, row in zip(chats, options, scores, strict=True):
        item, opening = encode_vision(blip2.processor, chat), answer_opening(blip2.processor, chat["prompt"])
        for text, score in zip(texts, row, strict=True):
            ids = blip2.tokenizer(opening + text, add_special_tokens=False)["input_ids"]
            whole = torch.tensor([item.prompt_ids + ids])
            with torch.no_grad():
                logits = blip2.model(input_ids=whole, pixel_values=item.pixels["pixel_values"]).logits[0]
            said = logits.log_softmax(-1)[len(item.prompt_ids) - 1 : -1]
            assert score == pytest.approx(float(said.gather(1, torch.tensor(ids)[:, None]).sum()), abs=1e-3)


# ---------- training
def tuned(folder: Path, quant: str, model_dtype: str = "float32") -> tuple[Any, Any]:
    loaded = load_blip2(str(folder), quant=quant, dtype=model_dtype)
    torch.manual_seed(0)
    settings = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"])
    return get_peft_model(loaded.model, settings), loaded.processor


def test_a_fresh_adapter_changes_nothing(folder: Path) -> None:
    loaded = load_blip2(str(folder), dtype="float32")
    batch = collate_vision(loaded.processor, [encode_vision(loaded.processor, talk(0, "", CAPTIONS[0]))])
    with torch.no_grad():
        before = loaded.model(**batch).logits
        model = get_peft_model(loaded.model, LoraConfig(r=16, target_modules=["q_proj", "v_proj"])).eval()
        assert torch.equal(model(**batch).logits, before)
    assert audit(model).adapted == {"q_proj": 4, "v_proj": 4}
    assert models.count_parameters(model).trainable == 4 * 2 * 16 * 2 * 96


def test_gradients_after_an_evaluation_equal_those_before(folder: Path) -> None:
    model, processor = tuned(folder, "nf4")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    batch = collate_vision(processor, [encode_vision(processor, talk(i, "", CAPTIONS[i])) for i in range(3)])
    before = gradients(model, batch)
    generate_vision(model, processor, [talk(0)], max_new_tokens=3)
    model.eval()
    with torch.no_grad():
        model(**batch)
    after = gradients(model, batch)
    assert before.keys() == after.keys() and len(before) == 4 * 2 * 2
    assert all(torch.equal(before[n], after[n]) and before[n].abs().sum() > 0 for n in before)


def test_a_plain_trainer_trains_and_evaluates(folder: Path, tmp_path: Path) -> None:
    model, processor = tuned(folder, "nf4")
    chats = [talk(i, "", CAPTIONS[i]) for i in range(6)]

    def collate(rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        return collate_vision(processor, [encode_vision(processor, chats[row["i"]]) for row in rows])

    arguments = TrainingArguments(
        str(tmp_path), max_steps=4, per_device_train_batch_size=3, gradient_accumulation_steps=2, learning_rate=5e-3,
        logging_steps=1, report_to="none", remove_unused_columns=False, use_cpu=True, save_strategy="no",
        eval_strategy="steps", eval_steps=4, prediction_loss_only=True, disable_tqdm=True,
    )  # fmt: skip
    rows: Any = [{"i": i} for i in range(6)]
    trainer = Trainer(model, arguments, data_collator=collate, train_dataset=rows, eval_dataset=rows)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    at_first = trainer.evaluate()["eval_loss"]
    history = trainers.train(trainer)
    # A loss of two accumulated batches is the mean over all of their tokens.
    first = next(row["loss"] for row in history if "loss" in row)
    assert first == pytest.approx(at_first, rel=1e-2)
    assert [row["eval_loss"] for row in history if "eval_loss" in row][-1] < 0.9 * at_first
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
