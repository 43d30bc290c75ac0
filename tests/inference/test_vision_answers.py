"""Generated answers and choices by likelihood against plain loops over one row at a time, without any cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from helpers import tasks
from helpers.errors import DataError
from helpers.inference.vision import choice_scores, completion_losses, generate_vision
from helpers.models.vision import LoadedVision, load_vision
from helpers.models.vision_inputs import VisionInput, collate_vision, encode_vision
from helpers.tasks import explained
from helpers.tasks.scienceqa import task as scienceqa

TASK = tasks.get("scienceqa")
assert isinstance(TASK, scienceqa.ScienceqaTask)
NEW = 10


def prompts(questions: Any, count: int = 9) -> list[dict[str, Any]]:
    """Prompts of different length, with and without pictures; their gold completions are left in."""
    forms = ["QTCH", "QTCHLS", "QTCHL"]
    talks = [
        TASK.to_vision_messages(TASK.examples(questions.select([i]), forms[i % 3])[0]) for i in range(count)
    ]  # fmt: skip
    assert 1 < sum(bool(talk["images"]) for talk in talks) < count - 1
    return talks


def wrapped(vision_folder: Path, target: str = r".*(language|text)_model.*\.(q_proj|v_proj|down_proj)") -> LoadedVision:
    """A second copy of the model under LoRA whose update is not zero."""
    loaded = load_vision(str(vision_folder), dtype="float32")
    torch.manual_seed(1)
    model = get_peft_model(loaded.model, LoraConfig(r=4, lora_alpha=8, target_modules=target))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return LoadedVision(model.eval(), loaded.processor, loaded.source, loaded.dtype)


def next_logits(vision: LoadedVision, talk: dict[str, Any], written: list[int]) -> torch.Tensor:
    item = encode_vision(vision.processor, {"prompt": talk["prompt"], "images": talk["images"]})
    batch = collate_vision(vision.processor, [VisionInput(item.prompt_ids, written, item.pixels)])
    del batch["labels"]
    with torch.no_grad():
        return vision.model(**batch, use_cache=False).logits[0, -1]


def greedy(vision: LoadedVision, talk: dict[str, Any], most: int) -> list[int]:
    """One row, no padding, no cache: the whole sequence again for each token, until eos."""
    written: list[int] = []
    while len(written) < most and vision.tokenizer.eos_token_id not in written:
        written.append(int(next_logits(vision, talk, written).argmax()))
    return written


@pytest.fixture(scope="module")
def expected(vision: LoadedVision, questions: Any) -> list[list[int]]:
    """What each of twenty prompts is answered by the plain loop."""
    return [greedy(vision, talk, NEW) for talk in prompts(questions, 20)]


def decoded(vision: LoadedVision, rows: list[list[int]]) -> list[str]:
    return [text.strip() for text in vision.tokenizer.batch_decode(rows, skip_special_tokens=True)]


# ---------- generation
def test_answers_equal_a_plain_greedy_loop(vision: LoadedVision, questions: Any, expected: list[list[int]]) -> None:
    talks, expected = prompts(questions), expected[:9]
    assert len({tuple(row) for row in expected}) > 5  # rows mixed up would show
    for batch_size in (4, 1, 16):
        answers = generate_vision(vision.model, vision.processor, talks, max_new_tokens=NEW, batch_size=batch_size)
        assert answers == decoded(vision, expected)
    back = generate_vision(vision.model, vision.processor, talks[::-1], max_new_tokens=NEW, batch_size=4)
    assert back == answers[::-1]


def test_answers_end_at_eos_and_at_the_limit(vision: LoadedVision, questions: Any, expected: list[list[int]]) -> None:
    talks = prompts(questions, 20)
    lengths = {len(row) for row in expected}
    assert len(lengths) > 1 and max(lengths) == NEW
    assert any(row[-1] == vision.tokenizer.eos_token_id and len(row) < NEW for row in expected)
    assert generate_vision(vision.model, vision.processor, talks, max_new_tokens=NEW) == decoded(vision, expected)
    first = generate_vision(vision.model, vision.processor, talks, max_new_tokens=1)
    assert first == decoded(vision, [row[:1] for row in expected])


def test_the_end_of_turn_counts_where_the_checkpoint_names_none(
    vision_folder: Path, questions: Any, expected: list[list[int]]
) -> None:
    loaded = load_vision(str(vision_folder), dtype="float32")
    loaded.model.generation_config.eos_token_id = None
    answers = generate_vision(loaded.model, loaded.processor, prompts(questions, 20), max_new_tokens=NEW)
    assert answers == decoded(loaded, expected)


def test_what_was_answered_before_changes_nothing(vision: LoadedVision, questions: Any) -> None:
    """Qwen2-VL remembers the positions of its last pictures; a later batch must not use them."""
    talks = prompts(questions)
    plain = [talk for talk in talks if not talk["images"]]
    first = generate_vision(vision.model, vision.processor, plain, max_new_tokens=NEW)
    generate_vision(vision.model, vision.processor, talks, max_new_tokens=NEW)
    assert generate_vision(vision.model, vision.processor, plain, max_new_tokens=NEW) == first


def test_no_prompts_no_answers(vision: LoadedVision) -> None:
    assert generate_vision(vision.model, vision.processor, [], max_new_tokens=NEW) == []
    assert choice_scores(vision.model, vision.processor, [], []) == []


@pytest.mark.parametrize("target", ["text", "all"])
def test_answers_under_lora_equal_a_plain_greedy_loop(
    vision: LoadedVision, vision_folder: Path, questions: Any, target: str
) -> None:
    talks = prompts(questions, 6)
    tuned = wrapped(vision_folder, "all-linear") if target == "all" else wrapped(vision_folder)
    if target == "all":
        names = [n for n, _ in tuned.model.named_parameters() if "lora_B" in n]
        assert any(part in n for part in ("visual", "vision_tower", "vision_model") for n in names)
    answers = generate_vision(tuned.model, tuned.processor, talks, max_new_tokens=NEW, batch_size=4)
    assert answers == decoded(tuned, [greedy(tuned, talk, NEW) for talk in talks])
    base = generate_vision(vision.model, vision.processor, talks, max_new_tokens=NEW)
    assert sum(a != b for a, b in zip(answers, base, strict=True)) > 3
    with tuned.model.disable_adapter():
        assert generate_vision(tuned.model, tuned.processor, talks, max_new_tokens=NEW) == base
    trainable = [p.requires_grad for n, p in tuned.model.named_parameters() if "lora_" in n]
    assert all(trainable) and not tuned.model.training


def test_only_one_batch_of_pictures_is_held_at_a_time(
    vision: LoadedVision, questions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures are encoded between forward passes, batch by batch, each once."""
    talks = prompts(questions, 12)
    kind, events = type(vision.processor.image_processor), []
    preprocess = kind.preprocess

    def watched(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        events.extend("picture" for _ in images)
        return preprocess(self, images, *args, **kwargs)

    monkeypatch.setattr(kind, "preprocess", watched)
    hook = vision.model.register_forward_pre_hook(lambda *_: events.append("pass"))
    try:
        generate_vision(vision.model, vision.processor, talks, max_new_tokens=2, batch_size=2)
        generated = events.copy()
        events.clear()
        choice_scores(vision.model, vision.processor, talks, [["A", "B"]] * 12, batch_size=2)
    finally:
        hook.remove()
    for seen in (generated, events):
        between = "".join(event[1] for event in seen).split("a")  # "i" for a picture, "a" for a pass
        assert max(map(len, between)) <= 2 and between[-1] == ""
        assert sum(map(len, between)) == sum(len(talk["images"]) for talk in talks) > 2
    assert events.count("pass") == 6


# ---------- choices
def options(talks: list[dict[str, Any]], questions: Any) -> list[list[str]]:
    written = '{"solution": "So it is.", "answer": "red"}'
    return [explained.answers_after(written, questions[i]["choices"]) for i in range(len(talks))]


def whole(model: LoadedVision, talk: dict[str, Any], text: str) -> float:
    """Log-likelihood of a text after a prompt, from the logits of both, read once, without padding."""
    text = " " + text if model.model.config.model_type == "idefics3" else text  # "Assistant: red"
    item = encode_vision(model.processor, {"prompt": talk["prompt"], "images": talk["images"]})
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    batch = collate_vision(model.processor, [VisionInput(item.prompt_ids, ids, item.pixels)])
    with torch.no_grad():
        logits = model.model(**batch).logits[0, len(item.prompt_ids) - 1 : -1].double().log_softmax(-1)
    return sum(logits[position, token].item() for position, token in enumerate(ids))


def test_scores_are_the_log_likelihoods_of_whole_options(
    vision: LoadedVision, vision_folder: Path, questions: Any
) -> None:
    talks = prompts(questions, 6)
    given = options(talks, questions)
    given[0] = [*given[0], "A much longer option than the others"]
    assert len({len(row) for row in given}) > 1
    for model in (vision, wrapped(vision_folder)):
        for batch_size in (4, 1):
            scores = choice_scores(model.model, model.processor, talks, given, batch_size=batch_size)
            for talk, texts, found in zip(talks, given, scores, strict=True):
                expected = np.array([whole(model, talk, text) for text in texts])
                assert found.dtype == np.float64 and found.shape == (len(texts),)
                assert found == pytest.approx(expected, abs=5e-4)
                assert np.ptp(expected) > 1e-2


@pytest.mark.parametrize("texts", [["red", "red"], ["yes", "no", "yes"], ["(A)"], []])
def test_options_that_cannot_be_told_apart_are_refused(vision: LoadedVision, questions: Any, texts: list[str]) -> None:
    talks = prompts(questions, 4)
    with pytest.raises(DataError, match="cannot be told apart") as caught:
        choice_scores(vision.model, vision.processor, talks, [["A", "B"], ["A", "B"], texts, ["A", "B"]])
    assert "\n" not in str(caught.value)


def test_options_for_every_prompt(vision: LoadedVision, questions: Any) -> None:
    with pytest.raises(DataError, match="4 prompts and 3 lists"):
        choice_scores(vision.model, vision.processor, prompts(questions, 4), [["A", "B"]] * 3)


# ---------- losses of single tokens
def test_losses_are_those_of_the_next_token_after_each_beginning(vision: LoadedVision, questions: Any) -> None:
    talks = prompts(questions, 4)
    for talk, losses in zip(talks, completion_losses(vision.model, vision.processor, talks), strict=True):
        written = encode_vision(vision.processor, talk).completion_ids
        assert losses.shape == (len(written),) and losses.dtype == np.float64
        for k in (0, len(written) // 2, len(written) - 1):
            logp = next_logits(vision, talk, written[:k]).log_softmax(-1)
            assert losses[k] == pytest.approx(-logp[written[k]].item(), abs=1e-4)
