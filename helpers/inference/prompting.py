"""What prompting alone achieves: every way of asking an untrained model by likelihood, and the best of them.

The bar for a tuned model is the best of the cheap ways. Which one that is depends on the model and the task, so it is
chosen, on validation questions: chosen on the test questions it would look better than it is (Perez et al., 2021,
"True few-shot learning with language models", arXiv:2105.11447).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import DataError
from helpers.inference.batching import Message, render
from helpers.inference.likelihood import batch_prior, context_prior, score_options
from helpers.tasks.base import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RULES = ("sum", "mean", "contextual", "batch")
Questions = Sequence[Mapping[str, Any]]  # examples of a choice form: prompt, completion, options, answer


def rule_scores(
    logp: Sequence[np.ndarray],
    tokens: Sequence[np.ndarray],
    contextual: Sequence[np.ndarray],
    options: Sequence[Sequence[str]],
) -> dict[str, list[np.ndarray]]:
    """The four rules by which options are compared, from one scoring.

    Args:
        logp, tokens: from ``score_options``.
        contextual: from ``context_prior``.
        options: of each question.

    Returns:
        Rule → one array of scores a question; the option with the highest is chosen. ``batch`` is left out where the
        options do not come back in several questions, and a line says so.
    """
    found = {
        "sum": list(logp),
        "mean": [row / n for row, n in zip(logp, tokens, strict=True)],
        "contextual": [row - prior for row, prior in zip(logp, contextual, strict=True)],
    }
    try:
        usual = batch_prior(logp, options)
    except DataError as error:
        print(f"batch calibration is left out: {error}")
        return found
    return found | {"batch": [row - prior for row, prior in zip(logp, usual, strict=True)]}


def worked_examples(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    solved: Iterable[Mapping[str, Any]],
    prompts: Sequence[Sequence[Message]],
    answer_tokens: int,
) -> list[Message]:
    """The turns of solved examples, as many of the first as the model's context has room for before every prompt.

    Args:
        solved: examples of the training split (prompt, completion).
        prompts: the questions that they will stand in front of.
        answer_tokens: room that the longest answer takes.

    Returns:
        Messages to give to ``score_options``, ``generate`` or ``completion_nll`` as ``shots``. Where the context has
        no room for all of them, the last ones are left out, and a line says so.
    """
    talks = [Task.to_messages(example) for example in solved]
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def size(messages: Sequence[Message]) -> int:
        return len(render(tokenizer, list(messages), add_generation_prompt=True))

    def turns(n: int) -> list[Message]:
        return [turn for talk in talks[:n] for turn in (*talk["prompt"], *talk["completion"])]

    def length(n: int) -> int:
        return size([*turns(n), *longest]) + answer_tokens

    longest = max(prompts, key=size)
    kept = len(talks)
    while kept and room is not None and length(kept) > room:
        kept -= 1
    if kept < len(talks):
        print(
            f"{kept} of {len(talks)} worked examples are shown: with all, the longest prompt and its answer would take "
            f"{length(len(talks)):,} tokens, and the model reads {room:,}"
        )
    return turns(kept)


@dataclass(frozen=True)
class Prompting:
    """The ways of asking a model, measured on validation questions and taken to the test questions.

    Attributes:
        validation: way → share of right choices among the validation questions.
        n_validation: how many these are.
        chosen: way → the option chosen for each test question.
        shots: worked examples shown in the few-shot ways.
    """

    validation: dict[str, float]
    n_validation: int
    chosen: dict[str, list[int]]
    shots: int

    @property
    def best(self) -> str:
        """The way that is right most often on the validation questions; among equals the first."""
        return max(self.validation, key=lambda way: self.validation[way])


def try_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Mapping[str, Questions],
    bare_prompt: Sequence[Message],
    *,
    n_shots: int = 3,
    batch_size: int = 8,
) -> Prompting:
    """Ask without and with worked examples, under each of the four rules; no answer of a test question is read.

    Args:
        questions: "train", "validation" and "test"; the first ``n_shots`` of train are the worked examples.
        bare_prompt: the question without its subject, see ``Task.bare_prompt``; with worked examples it follows them.
        n_shots: worked examples, the same for every question; with 0 there are no few-shot ways.
        batch_size: questions in one forward pass; fewer where worked examples would take too much memory.

    Returns:
        Ways named "zero-shot, RULE" and "few-shot, RULE".
    """
    examples = {part: [dict(e) for e in questions[part]] for part in ("validation", "test")}
    prompts = {
        part: [Task.to_messages({"completion": "", **e})["prompt"] for e in rows] for part, rows in examples.items()
    }
    options = {part: [list(e["options"]) for e in rows] for part, rows in examples.items()}
    answers = [text for part in options.values() for texts in part for text in texts]
    longest = max(len(ids) for ids in tokenizer(answers, add_special_tokens=False)["input_ids"]) + 1
    solved = [questions["train"][i] for i in range(min(n_shots, len(questions["train"])))]
    shots = worked_examples(model, tokenizer, solved, [*prompts["validation"], *prompts["test"]], longest)
    n = sum(turn["role"] == "assistant" for turn in shots)
    scores: dict[str, dict[str, list[np.ndarray]]] = {part: {} for part in examples}
    for kind, before in {"zero-shot": [], **({"few-shot": shots} if shots else {})}.items():
        for part, offered in options.items():
            logp, tokens = score_options(model, tokenizer, prompts[part], offered, batch_size=batch_size, shots=before)
            contextual = context_prior(model, tokenizer, bare_prompt, offered, shots=before)
            ruled = rule_scores(logp, tokens, contextual, offered)
            scores[part] |= {f"{kind}, {rule}": values for rule, values in ruled.items()}
    picked = {
        part: {way: [int(row.argmax()) for row in values] for way, values in ways.items()}
        for part, ways in scores.items()
    }
    gold = [int(e["answer"]) for e in examples["validation"]]
    validation = {
        way: float(np.mean([c == g for c, g in zip(choices, gold, strict=True)]))
        for way, choices in picked["validation"].items()
        if way in picked["test"]
    }
    return Prompting(validation, len(gold), {way: picked["test"][way] for way in validation}, n)
