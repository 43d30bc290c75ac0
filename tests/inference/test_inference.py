"""Generation, completion likelihoods and option scoring against plain one-row-at-a-time references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import inference, models
from helpers.errors import DataError
from helpers.inference import batching, generation, likelihood

QUESTIONS = [
    "Say something.",
    "Repeat:\n- the soup is warm.",
    "Choose one:\n- salt\n- red onion\n- cream",
    "Name them:\n- butter\n- flour\n- milk and a long list of other things that nobody needs here",
    "Hello",
]
ANSWERS = ["the pan is hot.", "1. the soup is warm.", "red onion", "butter, flour, milk", "x"]


@pytest.fixture(scope="module", params=["none", "nf4"])
def loaded(request: pytest.FixtureRequest) -> models.LoadedModel:
    return models.load("tiny/llama", quant=request.param, dtype="float32")


def _prompts() -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": q}] for q in QUESTIONS]


def _conversations() -> list[dict[str, list[dict[str, str]]]]:
    return [
        {"prompt": p, "completion": [{"role": "assistant", "content": a}]}
        for p, a in zip(_prompts(), ANSWERS, strict=True)
    ]


def _reference_nll(loaded: models.LoadedModel, conversation: dict[str, list[dict[str, str]]]) -> tuple[float, int]:
    prompt, completion = batching.encode(loaded.tokenizer, conversation)
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        logits = loaded.model(input_ids=ids).logits[0]
    logp = torch.log_softmax(logits.double(), -1)
    total = sum(-logp[i - 1, ids[0, i]].item() for i in range(len(prompt), ids.shape[1]))
    return total, len(completion)


def test_encoding_is_the_template_and_ends_with_the_end_of_turn(loaded: models.LoadedModel) -> None:
    for conversation, answer in zip(_conversations(), ANSWERS, strict=True):
        prompt, completion = batching.encode(loaded.tokenizer, conversation)
        text = loaded.tokenizer.apply_chat_template(conversation["prompt"] + conversation["completion"], tokenize=False)
        assert text.startswith(loaded.tokenizer.decode(prompt + completion))
        assert loaded.tokenizer.decode(completion) == answer + "<|im_end|>"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_completion_nll_equals_one_row_at_a_time(loaded: models.LoadedModel, batch_size: int) -> None:
    nll, tokens = inference.completion_nll(loaded.model, loaded.tokenizer, _conversations(), batch_size=batch_size)
    for i, conversation in enumerate(_conversations()):
        expected, count = _reference_nll(loaded, conversation)
        assert nll[i] == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert tokens[i] == count


def test_long_rows_get_smaller_batches() -> None:
    lengths = [3, 50, 7, 20, 20, 1]
    batches = list(batching.batches(lengths, lambda longest: min(4, 60 // longest)))
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 60 for b in batches)
    assert batches[0] == [1] and len(batches) == 3


def test_completion_nll_equals_the_models_own_loss(loaded: models.LoadedModel) -> None:
    conversation = _conversations()[3]
    prompt, completion = batching.encode(loaded.tokenizer, conversation)
    labels = torch.tensor([[-100] * len(prompt) + completion])
    with torch.no_grad():
        loss = loaded.model(input_ids=torch.tensor([prompt + completion]), labels=labels).loss.item()
    nll, tokens = inference.completion_nll(loaded.model, loaded.tokenizer, [conversation])
    assert nll[0] / tokens[0] == pytest.approx(loss, rel=1e-4)


def test_truncation_counts_what_is_left(loaded: models.LoadedModel) -> None:
    conversations = _conversations()
    lengths = [tuple(map(len, batching.encode(loaded.tokenizer, c))) for c in conversations]
    cut = lengths[3][0] + 2
    nll, tokens = inference.completion_nll(loaded.model, loaded.tokenizer, conversations, max_length=cut)
    assert tokens.tolist() == [max(0, min(c, cut - p)) for p, c in lengths]
    none, zero = inference.completion_nll(loaded.model, loaded.tokenizer, conversations[:1], max_length=1)
    assert none.tolist() == [0.0] and zero.tolist() == [0]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_option_scores_equal_full_forward_passes(loaded: models.LoadedModel, batch_size: int) -> None:
    options = [["salt", "red onion", "x"], ["1. the soup is warm."], ["cream", "a"], ["é"], ["b c d", "b"]]
    logp, tokens = inference.score_options(loaded.model, loaded.tokenizer, _prompts(), options, batch_size=batch_size)
    for row, (prompt, choices) in enumerate(zip(_prompts(), options, strict=True)):
        for column, choice in enumerate(choices):
            expected, count = _reference_nll(
                loaded, {"prompt": prompt, "completion": [{"role": "assistant", "content": choice}]}
            )
            assert logp[row][column] == pytest.approx(-expected, rel=1e-4, abs=1e-4)
            assert tokens[row][column] == count


def test_many_options_in_parts_equal_one_part(loaded: models.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [["salt", "red onion", "x", "cream and milk", "a"], ["b", "c d"]]
    whole, _ = inference.score_options(loaded.model, loaded.tokenizer, _prompts()[:2], options)
    monkeypatch.setattr(likelihood, "OPTION_ROWS", 2)
    parts, _ = inference.score_options(loaded.model, loaded.tokenizer, _prompts()[:2], options)
    for a, b in zip(whole, parts, strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_an_adapted_model_generates_with_its_update_and_the_last_logits_only() -> None:
    model = models.load("tiny/llama", quant="nf4", dtype="float32")
    plain = inference.generate(model.model, model.tokenizer, _prompts(), max_new_tokens=12)
    config = LoraConfig(r=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(0)
    adapted = get_peft_model(model.model, config)
    shapes = []
    hook = adapted.get_base_model().lm_head.register_forward_hook(lambda _m, _i, out: shapes.append(out.shape[1]))
    ours = inference.generate(adapted, model.tokenizer, _prompts(), max_new_tokens=12)
    hook.remove()
    assert set(shapes) == {1}
    ids = [
        model.tokenizer.apply_chat_template(p, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        for p in _prompts()
    ]
    adapted.eval()
    for answer, inputs in zip(ours, ids, strict=True):
        output = adapted.generate(**inputs, max_new_tokens=12, do_sample=False)
        new = output[0, inputs["input_ids"].shape[1] :]
        assert answer == model.tokenizer.decode(new, skip_special_tokens=True).strip()
    assert ours != plain


class LargestCopy(TorchDispatchMode):
    """Remembers the most numbers that any operation's result held."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.numbers = max(self.numbers, out.numel())
        return out


def test_a_frozen_output_head_is_not_copied_for_every_row() -> None:
    model = models.load("tiny/llama", dtype="float32")
    model.model.requires_grad_(False)  # as get_peft_model does
    head = model.model.lm_head.weight.numel()
    prompts = [p for p in _prompts() for _ in range(8)]
    hidden = torch.randn(len(prompts), 6, model.model.config.hidden_size)
    with torch.no_grad(), LargestCopy() as gaps:
        model.model.lm_head(hidden[:, -1:])
    with torch.no_grad(), LargestCopy() as one_piece:
        model.model.lm_head(hidden[:, -1:].contiguous())
    assert gaps.numbers == len(prompts) * head, "torch no longer copies it: the guard can go"
    assert one_piece.numbers <= head
    seen = []
    hook = model.model.lm_head.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].is_contiguous()))
    inference.generate(model.model, model.tokenizer, prompts, max_new_tokens=2, batch_size=len(prompts))
    inference.score_options(model.model, model.tokenizer, prompts, [["x", "y z"]] * len(prompts), batch_size=40)
    inference.completion_nll(model.model, model.tokenizer, _conversations())
    hook.remove()
    assert len(seen) >= 4 and all(seen)
    assert not model.model.lm_head._forward_pre_hooks


def test_context_prior_scores_every_option_after_one_prompt(loaded: models.LoadedModel) -> None:
    options = [["salt", "red onion"], ["cream", "salt", "a"]]
    prior = inference.context_prior(loaded.model, loaded.tokenizer, _prompts()[0], options)
    whole, _ = inference.score_options(loaded.model, loaded.tokenizer, [_prompts()[0]] * 2, options)
    assert all(np.allclose(a, b, rtol=1e-5) for a, b in zip(prior, whole, strict=True))


def test_batch_prior_is_the_mean_over_the_questions_that_offer_an_option() -> None:
    logp = [np.array([-1.0, -2.0]), np.array([-3.0, -4.0]), np.array([-5.0, -8.0])]
    options = [["a", "b"], ["b", "a"], ["a", "b"]]
    prior = inference.batch_prior(logp, options)
    a, b = (-1 - 4 - 5) / 3, (-2 - 3 - 8) / 3
    assert np.allclose(prior, [[a, b], [b, a], [a, b]])
    with pytest.raises(DataError, match="different"):
        inference.batch_prior(logp, [["a", "b"], ["c", "d"], ["e", "f"]])


def test_batch_calibration_ignores_what_a_model_thinks_of_an_option_everywhere() -> None:
    rng = np.random.default_rng(0)
    options = [list(rng.permutation(list("abcdef"))[:4]) for _ in range(60)]
    logp = [rng.normal(size=4) for _ in options]
    taste = dict(zip("abcdef", rng.normal(scale=9, size=6), strict=True))
    biased = [row + [taste[o] for o in choices] for row, choices in zip(logp, options, strict=True)]
    chosen = [
        [int((row - p).argmax()) for row, p in zip(scores, inference.batch_prior(scores, options), strict=True)]
        for scores in (logp, biased)
    ]
    assert chosen[0] == chosen[1] != [int(row.argmax()) for row in biased]


def test_last_hidden_states_are_the_models(loaded: models.LoadedModel) -> None:
    states = inference.last_hidden_states(loaded.model, loaded.tokenizer, _prompts(), batch_size=2)
    for prompt, state in zip(_prompts(), states, strict=True):
        text = loaded.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        ids = loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1]
        assert np.allclose(state, expected.numpy(), atol=1e-4)


def test_a_prompt_without_options_is_refused(loaded: models.LoadedModel) -> None:
    with pytest.raises(DataError, match="no options"):
        inference.score_options(loaded.model, loaded.tokenizer, _prompts()[:1], [[]])


def _greedy(loaded: models.LoadedModel, prompt: list[dict[str, str]], most: int) -> list[int]:
    """The likeliest next token, again and again, the whole text read each time; the end-of-turn token is the last."""
    text = loaded.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    start = len(ids)
    while len(ids) < start + most and ids[-1] != loaded.tokenizer.eos_token_id or len(ids) == start:
        with torch.no_grad():
            ids = [*ids, int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[start:]


@pytest.mark.parametrize("stage", [1, 3, 12, 16])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_batched_generation_equals_a_greedy_loop(
    loaded: models.LoadedModel, batch_size: int, stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "STAGE", stage)
    answers = inference.generate(loaded.model, loaded.tokenizer, _prompts(), max_new_tokens=12, batch_size=batch_size)
    for prompt, answer in zip(_prompts(), answers, strict=True):
        ids = _greedy(loaded, prompt, 12)
        assert answer == loaded.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_rows_that_have_ended_are_not_computed_any_more(
    loaded: models.LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "STAGE", 2)
    lengths = sorted(len(_greedy(loaded, prompt, 40)) for prompt in _prompts())
    assert lengths[0] + 4 < lengths[-1], "the answers differ in length"
    rows: list[int] = []
    hook = loaded.model.lm_head.register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    inference.generate(loaded.model, loaded.tokenizer, _prompts(), max_new_tokens=40, batch_size=5)
    hook.remove()
    if rows[0] == 1:
        rows = rows[1:]  # what all prompts begin with
    assert rows == sorted(rows, reverse=True) and len(rows) == lengths[-1]
    computed = [sum(2 * -(-length // 2) > step for length in lengths) for step in range(len(rows))]
    assert rows == computed


def test_mode_and_gradients_are_put_back(loaded: models.LoadedModel) -> None:
    loaded.model.train()
    inference.generate(loaded.model, loaded.tokenizer, _prompts()[:1], max_new_tokens=2)
    assert loaded.model.training and torch.is_grad_enabled()
    loaded.model.eval()


def test_perplexity_of_uniform_model_is_the_vocabulary_size(loaded: models.LoadedModel) -> None:
    model = models.load("tiny/llama", dtype="float32").model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    nll, tokens = inference.completion_nll(model, loaded.tokenizer, _conversations())
    assert float(np.exp(nll.sum() / tokens.sum())) == pytest.approx(model.config.vocab_size, rel=1e-4)
