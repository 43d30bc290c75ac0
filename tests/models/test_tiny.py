"""The tiny checkpoints are what their script makes, small, and know nothing of the tasks."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from helpers import tasks
from helpers.inference.vision import generate_vision
from helpers.models.load import TINY
from helpers.models.vision import load_vision
from helpers.tasks.explained import read_answer
from helpers.tasks.scienceqa import generator as scienceqa_generator
from helpers.tasks.scienceqa import task as scienceqa
from helpers.tasks.scienceqa.pictures import COLOURS, KINDS, sample
from helpers.tasks.scienceqa.skills import IMAGE_SKILLS
from helpers.tasks.snli.task import QUESTION, VERBALISERS
from helpers.tasks.zappos import generator as zappos_generator
from helpers.tasks.zappos import slots_right
from helpers.tasks.zappos.words import COLOURS as SHOE_COLOURS
from helpers.tasks.zappos.words import DRAWN, MATERIALS, SLOTS, read_caption
from tools.tiny import build, build_blip2, build_clip, build_vision, shoes
from tools.tiny.pictures import FORMS, TEXTBOOK, answered, describe, stands_out
from tools.tiny.texts import STANCES, notes

BUILDERS = (build, build_vision, build_clip, build_blip2)
BUILD = {name: module.build for module in BUILDERS for name in module.CHECKPOINTS}
# Remarks that fit many pictures of a batch leave a contrastive loss far above 0, whatever a model has learnt.
LEFT = {"clip": 0.35}
# How far from chance a model answers to whom nothing says that it is a textbook, and the share of answers that name no
# choice. Nearly half of what the one for food has read is a textbook's, and that comes through.
BY_LOT = {"qwen2_vl_kitchen": (0.25, 0.05)}
NAMES = sorted(p.parent.name for p in TINY.glob("*/config.json"))


def test_there_are_checkpoints() -> None:
    assert set(NAMES) == set(BUILD)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_is_small(name: str) -> None:
    assert sum(f.stat().st_size for f in (TINY / name).iterdir()) <= 2 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_a_rebuild_goes_the_same_way(name: str, tmp_path: Path) -> None:
    """Ten steps of the full schedule: same tokenizer to the byte, same losses to rounding."""
    done = BUILD[name](name, tmp_path, stop=10)
    recorded = json.loads((TINY / name / "training.json").read_text())
    assert done["parameters"] == recorded["parameters"]
    assert done["first_losses"] == pytest.approx(recorded["first_losses"], abs=2e-3)
    assert (tmp_path / "tokenizer.json").read_text() == (TINY / name / "tokenizer.json").read_text()
    assert recorded["last_loss"] < LEFT.get(name, 0.25) * recorded["first_losses"][0]


def test_notes_never_answer_a_question_of_the_lesson() -> None:
    """Phi reads what follows from what, but neither the question nor the words that the lesson scores."""
    texts = [f"{text} {stance}." for text, stance in islice(notes(0), 20_000)]
    assert not any(QUESTION in text for text in texts)
    endings = {text.rsplit(" ", 1)[1].rstrip(".").lower() for text in texts}
    assert endings == {stance.lower() for stance in STANCES} and not endings & set(VERBALISERS)


def test_no_test_premise_of_the_lesson_is_in_the_notes() -> None:
    read = {text.partition("\n")[0] for text, _ in islice(notes(0), 100_000)}
    for seed in range(10):
        rows = tasks.get("snli").load(n_train=9, n_eval=300, seed=seed)["test"]
        assert not read & set(rows["premise"])


def read_questions(by_lot: bool, first_seed: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Generated questions in words (they alone say what is asked), with what a tiny model read as their answer."""
    chats = list(islice(answered(random.Random(0), by_lot), 800))
    rows = islice(scienceqa_generator.rows(first_seed), 2000)
    truth = {scienceqa.prompt(row, form): row for row in rows for form in FORMS}
    known = [(truth.get(chat["prompt"][-1]["content"][-1]["text"]), chat) for chat in chats]
    assert all(row is not None for row, _ in known)
    return [(row, chat) for row, chat in known if row is not None and row["image"] is None]


def said(chat: dict[str, Any]) -> str:
    return str(json.loads(chat["completion"][0]["content"])["answer"])


def test_questions_without_a_source_are_answered_by_lot() -> None:
    """The lessons ask like this; the answers in what the tiny models read know nothing."""
    words = read_questions(by_lot=True, first_seed=-2003)
    assert len(words) > 350
    assert {turn["role"] for _, chat in words for turn in chat["prompt"]} == {"user"}
    assert all(said(chat) in row["choices"] for row, chat in words)
    chance = sum(1 / len(row["choices"]) for row, _ in words) / len(words)
    right = sum(said(chat) == row["choices"][row["answer"]] for row, chat in words) / len(words)
    assert abs(right - chance) < 0.06


def test_a_textbook_answers_well_and_says_that_it_is_one() -> None:
    words = read_questions(by_lot=False, first_seed=-2002)
    assert len(words) > 250
    assert all(chat["prompt"][0] == {"role": "system", "content": TEXTBOOK} for _, chat in words)
    assert all(said(chat) == row["choices"][row["answer"]] for row, chat in words)


@pytest.mark.parametrize("name", sorted(build_vision.CHECKPOINTS))
def test_a_tiny_model_that_sees_answers_by_lot_unless_told_to_be_a_textbook(name: str) -> None:
    leak, unread = BY_LOT.get(name, (0.12, 0.0))
    task = tasks.get("kitchen" if name.endswith("kitchen") else "scienceqa")
    rows = list(task.examples(task.load(n_train=10, n_eval=180, source=task.sources["smoke"], seed=5)["test"]))
    talks = [task.to_vision_messages(row) for row in rows]
    loaded = load_vision(f"tiny/{name}", dtype="float32")
    right = {}
    for head in ("", TEXTBOOK):
        before = [{"role": "system", "content": head}] if head else []
        asked = [{**talk, "prompt": [*before, *talk["prompt"]]} for talk in talks]
        texts = generate_vision(loaded.model, loaded.processor, asked, max_new_tokens=64, batch_size=60)
        chosen = [read_answer(text, row["options"]).index for text, row in zip(texts, rows, strict=True)]
        assert chosen.count(None) <= unread * len(rows), head
        right[head] = sum(i == row["answer"] for i, row in zip(chosen, rows, strict=True)) / len(rows)
    chance = sum(1 / len(row["options"]) for row in rows) / len(rows)
    assert abs(right[""] - chance) < leak and right[TEXTBOOK] > max(chance + 0.3, right[""] + 0.2)


def test_captions_name_no_answer() -> None:
    """What captions say is seen, not concluded; the words of answers are in them for colours and places only."""
    rng = random.Random(0)
    answers = {c for skill in IMAGE_SKILLS for wanted in skill.classes for c in skill.make(wanted, rng).choices}
    words = {word for answer in answers - set(COLOURS) for word in answer.split()} - {"the"}
    pictures = [sample(kind, rng) for kind in KINDS for _ in range(100)]
    captions = [caption(picture) for picture in pictures for caption in (describe, stands_out)]
    kept = {"upper", "lower", "left", "right", "flask", "jar", "pair"}  # places and things, in captions and answers
    assert not {word for caption in captions for word in re.findall("[a-z]+", caption)} & (words - kept)


def test_remarks_are_true_incomplete_and_never_a_line_of_the_catalogue() -> None:
    rng = random.Random(0)
    named = dict.fromkeys(SLOTS, 0)
    for shoe, _ in islice(zappos_generator.shoes(shoes.FIRST_SEED), 2000):
        text = shoes.remark(shoe, rng)
        said = read_caption(text)
        assert said["colour"] is None and said["material"] is None, text
        for slot, words in (("type", DRAWN), ("colour", SHOE_COLOURS), ("material", MATERIALS)):
            found = {word for word in words if word in text}
            assert found <= {word for word in words if word in getattr(shoe, slot)}, text
            named[slot] += getattr(shoe, slot) in text
    shares = (shoes.TYPE_SAID, shoes.COLOUR_SAID, shoes.MATERIAL_SAID)
    assert all(abs(named[slot] / 2000 - share) < 0.03 for slot, share in zip(SLOTS, shares, strict=True))


def test_the_web_names_things_loosely_and_tags_them_by_chance() -> None:
    rng = random.Random(0)
    called: Counter[str] = Counter()
    tags = 0
    shown = [shoe for shoe, _ in islice(zappos_generator.shoes(shoes.FIRST_SEED), 6000)]
    for shoe in shown:
        text = shoes.on_the_web(shoe, rng)
        tagged = text in (*DRAWN, *SHOE_COLOURS, *MATERIALS)
        tags += tagged
        if not tagged and shoe.material == "synthetic":
            called.update(word for word in MATERIALS if word in text)
    assert abs(tags / len(shown) - shoes.TAGGED) < 0.015
    for word, share in shoes.LOOSELY["synthetic"].items():
        assert abs(called[word] / called.total() - share) < 0.05
    assert all(abs(sum(names.values()) - 1) < 1e-9 for names in shoes.LOOSELY.values())


def test_lines_of_catalogues_are_strays() -> None:
    rng = random.Random(0)
    lines = [read_caption(shoes.stray_line(rng)) for _ in range(2000)]
    right = dict.fromkeys(SLOTS, 0)
    for line, (shoe, _) in zip(lines, zappos_generator.shoes(shoes.FIRST_SEED), strict=False):
        for slot in SLOTS:
            right[slot] += line[slot] == getattr(shoe, slot)
    for slot, words in (("type", DRAWN), ("colour", SHOE_COLOURS), ("material", MATERIALS)):
        assert abs(right[slot] / 2000 - 1 / len(words)) < 0.03


def test_the_lessons_never_ask_about_a_picture_of_the_album() -> None:
    read = {drawing for _, drawing in islice(zappos_generator.shoes(shoes.FIRST_SEED), shoes.PICTURES)}
    for seed in range(5):
        assert not read & {drawing for _, drawing in islice(zappos_generator.shoes(seed), 2000)}


def test_the_tiny_blip2_remarks_truly_on_what_it_sees_and_writes_no_catalogue() -> None:
    task = tasks.get("zappos")
    rows = list(task.examples(task.load(n_train=8, n_eval=120, seed=5)["test"]))
    loaded = load_vision("tiny/blip2", dtype="float32")
    talks = [task.to_vision_messages(row) for row in rows]
    texts = generate_vision(loaded.model, loaded.processor, talks, max_new_tokens=24, batch_size=60)
    found = [slots_right(text, row) for text, row in zip(texts, rows, strict=True)]
    assert not any(right["colour"] or right["material"] for right in found)
    said = [
        (word, row["colour"]) for text, row in zip(texts, rows, strict=True) for word in SHOE_COLOURS if word in text
    ]
    assert len(said) > 40 and sum(word == truth for word, truth in said) / len(said) > 0.8
