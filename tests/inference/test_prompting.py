"""Few-shot prompts, the four rules, and the way of asking that validation questions choose."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import PrefixTuningConfig, get_peft_model

from helpers import inference, models, tasks
from helpers.evaluation import compare, score_nll
from helpers.inference import likelihood, shared
from helpers.inference.batching import render
from helpers.inference.prompting import RULES
from helpers.inference.shared import LEAST, Start, cache_bytes, common_start

RECIPES = tasks.get("recipes")
BARE = RECIPES.bare_prompt("missing")


@pytest.fixture(scope="module")
def loaded() -> models.LoadedModel:
    return models.load("tiny/llama", dtype="float32")


@pytest.fixture(scope="module")
def quiz() -> dict[str, Dataset]:
    parts = RECIPES.load(n_train=30, n_eval=12)
    return {part: RECIPES.examples(rows, "missing") for part, rows in parts.items()}


@pytest.fixture(scope="module")
def shots(quiz: dict[str, Dataset]) -> list[dict[str, str]]:
    talks = [RECIPES.to_messages(e) for e in quiz["train"].select(range(2))]
    return [turn for talk in talks for turn in talk["prompt"] + talk["completion"]]


def one_option(loaded: models.LoadedModel, messages: list[Any], option: str) -> tuple[float, int]:
    """Log-probability of the option and of the end of its turn after the messages, token by token, and their number."""
    tokenizer = loaded.tokenizer
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    before = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = tokenizer(text + option + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logp = torch.log_softmax(loaded.model(input_ids=torch.tensor([whole])).logits[0].double(), -1)
    return sum(logp[i - 1, whole[i]].item() for i in range(len(before), len(whole))), len(whole) - len(before)


def plain(loaded: models.LoadedModel, rows: Dataset, before: list[Any]) -> dict[str, list[int]]:
    """The choices of the four rules, each option of each question in a pass of its own."""
    chosen: dict[str, list[int]] = {rule: [] for rule in RULES}
    asked = [[*before, {"role": "user", "content": row["prompt"]}] for row in rows]
    measured = [[one_option(loaded, talk, o) for o in row["options"]] for talk, row in zip(asked, rows, strict=True)]
    everywhere: dict[str, list[float]] = {}
    bare = {o: one_option(loaded, [*before, *BARE], o)[0] for row in rows for o in row["options"]}
    for row, values in zip(rows, measured, strict=True):
        for option, (logp, _) in zip(row["options"], values, strict=True):
            everywhere.setdefault(option, []).append(logp)
    for row, values in zip(rows, measured, strict=True):
        scores = {
            "sum": [logp for logp, _ in values],
            "mean": [logp / n for logp, n in values],
            "contextual": [logp - bare[o] for o, (logp, _) in zip(row["options"], values, strict=True)],
            "batch": [logp - np.mean(everywhere[o]) for o, (logp, _) in zip(row["options"], values, strict=True)],
        }
        for rule, numbers in scores.items():
            chosen[rule].append(int(np.argmax(numbers)))
    return chosen


def test_every_way_equals_a_loop_over_single_options(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], shots: list[dict[str, str]]
) -> None:
    found = inference.try_prompts(loaded.model, loaded.tokenizer, quiz, BARE, n_shots=2, batch_size=7)
    assert list(found.chosen) == [f"{kind}, {rule}" for kind in ("zero-shot", "few-shot") for rule in RULES]
    assert found.shots == 2 and found.n_validation == len(quiz["validation"])
    for kind, before in (("zero-shot", []), ("few-shot", shots)):
        expected = {part: plain(loaded, quiz[part], before) for part in ("validation", "test")}
        for rule in RULES:
            assert found.chosen[f"{kind}, {rule}"] == expected["test"][rule]
            right = np.mean(np.array(expected["validation"][rule]) == quiz["validation"]["answer"])
            assert found.validation[f"{kind}, {rule}"] == pytest.approx(right)
    assert len({tuple(choices) for choices in found.chosen.values()}) > 2, "the ways are not all alike"
    assert found.validation[found.best] == max(found.validation.values())


def test_no_answer_of_a_test_question_is_read(loaded: models.LoadedModel, quiz: dict[str, Dataset]) -> None:
    def tried(questions: dict[str, Any]) -> Any:
        return inference.try_prompts(loaded.model, loaded.tokenizer, questions, BARE, n_shots=1)

    found, rng = tried(quiz), random.Random(0)
    for _ in range(2):
        answers = rng.sample(quiz["test"]["answer"][:], len(quiz["test"]))
        texts = [options[a] for options, a in zip(quiz["test"]["options"], answers, strict=True)]
        other = [row | {"answer": a, "completion": t} for row, a, t in zip(quiz["test"], answers, texts, strict=True)]
        again = tried(quiz | {"test": other})
        assert again == found and again.best == found.best
    without = [{k: row[k] for k in ("prompt", "options")} for row in quiz["test"]]
    assert tried(quiz | {"test": without}) == found
    turned = [row | {"answer": (row["answer"] + 1) % 4} for row in quiz["validation"]]
    assert tried(quiz | {"validation": turned}).validation != found.validation


def test_what_the_model_reads_is_the_shots_then_the_question(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call's tokens with the cached ones in front of them, decoded, are the whole prompt as it would be typed."""
    solved = [RECIPES.to_messages(e) for e in list(quiz["train"])[:2]]
    before = [turn for talk in solved for turn in talk["prompt"] + talk["completion"]]
    kept: dict[int, list[list[int]]] = {}
    read: list[str] = []
    own = loaded.model.forward

    def forward(input_ids: Any = None, past_key_values: Any = None, **more: Any) -> Any:
        mask = more.get("attention_mask")
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        start = kept.get(past, [[]])[0] if past else []
        for row, real in zip(input_ids.tolist(), mask if mask is not None else [None] * len(input_ids), strict=True):
            shown = row if real is None else [t for t, r in zip(row, real.tolist()[past:], strict=True) if r]
            read.append(loaded.tokenizer.decode([*start, *shown]))
        kept.setdefault(input_ids.shape[1], input_ids.tolist())
        return own(input_ids=input_ids, past_key_values=past_key_values, **more)

    monkeypatch.setattr(loaded.model, "forward", forward)
    prompts = [RECIPES.to_messages(e)["prompt"] for e in quiz["test"]]
    typed = [
        loaded.tokenizer.apply_chat_template([*before, *p], tokenize=False, add_generation_prompt=True) for p in prompts
    ]
    one_token = [[next(o for o in ("a", "b", "c"))]] * len(prompts)
    inference.score_options(loaded.model, loaded.tokenizer, prompts, one_token, shots=before, batch_size=5)
    assert sorted(set(typed) - set(read)) == []
    assert all(talk["completion"][0]["content"] in typed[0] for talk in solved)
    assert len(read[0]) < min(map(len, typed)) and all(text.startswith(read[0]) for text in typed), "read once"


@pytest.mark.parametrize("size", [1, 4])
def test_a_shared_start_changes_nothing(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], shots: list[dict[str, str]], size: int
) -> None:
    model, tokenizer = loaded.model, loaded.tokenizer
    talks = [RECIPES.to_messages(e) for e in quiz["test"]]
    prompts, options = [t["prompt"] for t in talks], quiz["test"]["options"][:]
    longer = [[*shots, *p] for p in prompts]
    together, counts = inference.score_options(model, tokenizer, prompts, options, shots=shots, batch_size=size)
    apart, same = inference.score_options(model, tokenizer, longer, options, batch_size=size)
    assert all(
        np.allclose(a, b, atol=1e-3) and (m == n).all()
        for a, b, m, n in zip(together, apart, counts, same, strict=True)
    )
    written = inference.generate(model, tokenizer, prompts, max_new_tokens=12, shots=shots, batch_size=size)
    assert written == inference.generate(model, tokenizer, longer, max_new_tokens=12, batch_size=size)
    nll, tokens = inference.completion_nll(model, tokenizer, talks, shots=shots, batch_size=size)
    whole = [{"prompt": p, "completion": t["completion"]} for p, t in zip(longer, talks, strict=True)]
    expected, same_tokens = inference.completion_nll(model, tokenizer, whole, batch_size=size)
    assert np.allclose(nll, expected, atol=1e-3) and (tokens == same_tokens).all()


def test_what_prompts_begin_with_is_read_once_without_examples_too(
    loaded: models.LoadedModel, quiz: dict[str, Dataset]
) -> None:
    prompts = [RECIPES.to_messages(e)["prompt"] for e in quiz["test"]]
    encoded = [render(loaded.tokenizer, list(p), add_generation_prompt=True) for p in prompts]
    read = []
    hook = loaded.model.get_input_embeddings().register_forward_hook(lambda _m, ids, _o: read.append(ids[0].numel()))
    rows = inference.class_logits(loaded.model, loaded.tokenizer, encoded, label_ids=[5, 6], batch_size=4)
    hook.remove()
    common = common_start(encoded)
    assert common >= LEAST and read[0] == common and len(read) == 1 + -(-len(encoded) // 4)
    assert sum(read) < sum(map(len, encoded)) * 0.8
    for ids, row in zip(encoded, rows, strict=True):
        with torch.no_grad():
            alone = loaded.model(input_ids=torch.tensor([ids])).logits[0, -1, [5, 6]]
        assert np.allclose(row, alone.numpy(), atol=1e-4)


def test_a_start_takes_rows_from_a_batch_only_where_memory_is_short(
    loaded: models.LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = list(range(40, 70))
    with torch.no_grad():
        start = Start(loaded.model, [[*prompt, 1], [*prompt, 2]], torch.device("cpu"))
    assert start.length == 30 and start.rows(8)(40) == 8
    cache = start.cache(2)["past_key_values"]
    a_token = cache_bytes(cache) // 60
    monkeypatch.setattr(shared, "CACHE", a_token * 40 * 5)
    assert start.rows(8)(40) == 5, "five rows of 40 tokens take that much"
    assert start.rows(8, new=10)(40) == 4, "and four of 50"
    monkeypatch.setattr(shared, "CACHE", 0)
    assert start.rows(8)(40) == 2, "eight rows without the start have 80 tokens, as two with it"
    assert Start(loaded.model, [[1, 2], [3, 4]], torch.device("cpu")).rows(8)(4000) == 8, "nothing is shared"


def test_with_examples_the_same_tokens_are_scored(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], shots: list[dict[str, str]]
) -> None:
    talks = [RECIPES.to_messages(e) for e in quiz["test"]]
    length = min(len(render(loaded.tokenizer, t["prompt"], add_generation_prompt=True)) for t in talks) + 2
    plain_nll = inference.completion_nll(loaded.model, loaded.tokenizer, talks, max_length=length)
    shown = inference.completion_nll(loaded.model, loaded.tokenizer, talks, max_length=length, shots=shots)
    assert (plain_nll[1] == shown[1]).all() and 0 < plain_nll[1].sum() < 3 * len(talks)
    (test,) = compare(score_nll(*shown), score_nll(*plain_nll), "few-shot", "zero-shot")
    assert test.metric == "perplexity" and test.difference != 0


def test_behind_a_learned_prefix_nothing_is_shared(quiz: dict[str, Dataset], shots: list[dict[str, str]]) -> None:
    loaded = models.load("tiny/llama", dtype="float32")
    torch.manual_seed(0)
    model = get_peft_model(loaded.model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    prompts = [RECIPES.to_messages(e)["prompt"] for e in quiz["test"]]
    options = quiz["test"]["options"][:]
    together, _ = inference.score_options(model, loaded.tokenizer, prompts, options, shots=shots)
    apart, _ = inference.score_options(model, loaded.tokenizer, [[*shots, *p] for p in prompts], options)
    assert all(np.allclose(a, b, atol=1e-3) for a, b in zip(together, apart, strict=True))


@pytest.mark.parametrize(
    ("rows", "length"),
    [([], 0), ([[1, 2, 3]], 2), ([[1, 2], [1, 2]], 1), ([[1, 2, 3], [1, 2, 4]], 2), ([[1], [1, 2]], 0), ([[5], [6]], 0),
     ([[1, 2, 9, 9], [1, 2, 8], [1, 2, 9]], 2)],
)  # fmt: skip
def test_a_common_start_leaves_every_row_something(rows: list[list[int]], length: int) -> None:
    assert common_start(rows) == length


def test_examples_that_the_context_cannot_hold_are_left_out_and_said(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [RECIPES.to_messages(e)["prompt"] for e in quiz["test"]]
    solved = list(quiz["train"])
    shots = inference.worked_examples(loaded.model, loaded.tokenizer, solved, prompts, answer_tokens=20)
    n, context = len(shots) // 2, loaded.model.config.max_position_embeddings
    said = capsys.readouterr().out
    assert 0 < n < len(solved) and said.startswith(f"{n} of {len(solved)} worked examples are shown")
    assert f"{context} " in said.replace("\n", " ") or f"reads {context}" in said
    sizes = [len(render(loaded.tokenizer, [*shots, *p], add_generation_prompt=True)) + 20 for p in prompts]
    assert max(sizes) <= context
    more = [*shots, *RECIPES.to_messages(solved[n])["prompt"], *RECIPES.to_messages(solved[n])["completion"]]
    assert max(len(render(loaded.tokenizer, [*more, *p], add_generation_prompt=True)) + 20 for p in prompts) > context
    few = inference.worked_examples(loaded.model, loaded.tokenizer, solved[:1], prompts, answer_tokens=20)
    assert len(few) == 2 and not capsys.readouterr().out


def test_without_examples_there_are_no_few_shot_ways(loaded: models.LoadedModel, quiz: dict[str, Dataset]) -> None:
    found = inference.try_prompts(loaded.model, loaded.tokenizer, quiz, BARE, n_shots=0)
    assert list(found.chosen) == [f"zero-shot, {rule}" for rule in RULES] and found.shots == 0


def test_options_that_never_come_back_have_no_batch_rule(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    single = quiz | {"validation": quiz["validation"].select(range(1))}
    found = inference.try_prompts(loaded.model, loaded.tokenizer, single, BARE, n_shots=1)
    assert "batch calibration is left out" in capsys.readouterr().out
    assert set(found.chosen) == set(found.validation) and not any("batch" in way for way in found.chosen)


def test_few_cached_options_at_once_equal_all(
    loaded: models.LoadedModel, quiz: dict[str, Dataset], shots: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [RECIPES.to_messages(e)["prompt"] for e in quiz["test"]]
    options = quiz["test"]["options"][:]
    whole, _ = inference.score_options(loaded.model, loaded.tokenizer, prompts, options, shots=shots)
    monkeypatch.setattr(likelihood, "OPTION_CACHE", 2**21)
    parts, _ = inference.score_options(loaded.model, loaded.tokenizer, prompts, options, shots=shots)
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(whole, parts, strict=True))
