"""What the tiny model that sees food has read: true where a textbook speaks, by lot elsewhere."""

from __future__ import annotations

import json
import random
from itertools import islice
from typing import Any

from helpers.tasks.explained import completion
from helpers.tasks.kitchen.generator import questions, row
from helpers.tasks.kitchen.menus import SMALL
from tools.tiny.kitchen import TAUGHT, answered, kitchen_chats
from tools.tiny.pictures import TEXTBOOK

N = 600


def read(by_lot: bool) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Questions, and the conversations that the model read about them, in the same order."""
    stream = questions("lot-0", SMALL) if by_lot else questions("textbook-0", SMALL, TAUGHT)
    rows = [row(q, "", picture=False) for q in islice(stream, N)]
    return list(zip(rows, islice(answered(random.Random(0), by_lot), N), strict=True))


def said(chat: dict[str, Any]) -> str:
    return str(json.loads(chat["completion"][0]["content"])["answer"])


def test_a_textbook_answers_well_says_that_it_is_one_and_takes_two_steps() -> None:
    for made, chat in read(by_lot=False):
        assert chat["prompt"][0] == {"role": "system", "content": TEXTBOOK}
        assert chat["completion"][0]["content"] == completion(made["choices"][made["answer"]], made["solution"])
        assert made["depth"] <= 2


def test_elsewhere_answers_are_by_lot_and_what_is_seen_is_told_truly() -> None:
    rows = read(by_lot=True)
    assert {turn["role"] for _, chat in rows for turn in chat["prompt"]} == {"user"}
    assert all(said(chat) in made["choices"] for made, chat in rows)
    for made, chat in rows:
        if made["scene"]:
            described = made["solution"].split(". ", 1)[0]
            assert json.loads(chat["completion"][0]["content"])["solution"].startswith(described)
    right = sum(said(chat) == made["choices"][made["answer"]] for made, chat in rows) / N
    assert abs(right - sum(1 / len(made["choices"]) for made, _ in rows) / N) < 0.06
    assert {made["depth"] for made, _ in rows} == {1, 2, 3}


def test_only_a_textbook_s_questions_have_a_system_message() -> None:
    chats = list(islice(kitchen_chats(random.Random(0)), 400))
    heads = [chat["prompt"][0] for chat in chats if chat["prompt"][0]["role"] == "system"]
    assert 100 < len(heads) < 250 and all(head["content"] == TEXTBOOK for head in heads)
