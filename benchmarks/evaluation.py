"""Answering: which ingredient is missing, and what are the steps; plain ways and the course's.

    python -m helpers bench evaluation [--rows N] [--new-tokens N] [--repeats N] [--dtype float32] [--keep]

Choosing between four options, 8 questions at a time, in the order of the data:

- ``generate and parse``: transformers' ``generate`` writes an answer, which is read.
- ``a forward pass an option``: the logits of question and option together, for each option.
- ``ours``: ``inference.score_options``: a question is read once for all its options, questions of similar length share
  a batch, each 4-bit weight is dequantised once. It has to choose as the forward passes do.

Writing: ``generate`` in the order of the data against ``inference.generate``; answers have to agree.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness

BATCH, SHORT, SHOTS = 8, 16, 3
AGREE = 0.9  # share of choices, or of answers, that two ways have to share: ties are broken by rounding


def main() -> None:
    options = harness.arguments(
        __doc__ or "", rows=(32, "questions"), new_tokens=(32, "longest answer that is written, in tokens")
    )
    from helpers import inference, models, tasks
    from helpers.sources import assets
    from helpers.tasks.answers import parse_choice

    machine = harness.machine_of(options)
    loaded = models.load(options.model, quant="nf4", machine=machine)
    model, tokenizer = loaded.model.eval(), loaded.tokenizer
    real = not options.model.startswith("tiny/") and assets.available("wikibooks-recipes")
    task = tasks.get("recipes")
    parts = task.load(10, options.rows, "wikibooks" if real else "generator", seed=0)
    test = parts["test"]
    quiz = list(task.examples(test, "missing", seed=0))
    questions = [task.to_messages(example)["prompt"] for example in quiz]
    choices = [example["options"] for example in quiz]
    texts = [task.to_messages(example)["prompt"] for example in task.examples(test, "steps", seed=0)]
    said: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        said[name] = work()
        return time.perf_counter() - began

    def parsed(solved: Sequence[Any]) -> list[int]:
        shown = turns(map(task.with_options, solved))
        asked = [[*shown, *task.with_options(example)["prompt"]] for example in quiz]
        written = generate_plain(model, tokenizer, asked, SHORT)
        return [parse_choice(text, row) for text, row in zip(written, choices, strict=True)]

    def passes(solved: Sequence[Any]) -> list[int]:
        shown = turns(map(task.to_messages, solved))
        return choose_plain(model, tokenizer, [[*shown, *question] for question in questions], choices)

    def ours(solved: Sequence[Any]) -> list[int]:
        shown = turns(map(task.to_messages, solved))
        scores, _ = inference.score_options(model, tokenizer, questions, choices, shots=shown)
        return [int(row.argmax()) for row in scores]

    def choosing(name: str, solved: Sequence[Any]) -> dict[str, Any]:
        """The three ways to choose, with these solved examples in front of every question."""
        ways = {
            "generate and parse": lambda: timed(f"parsed{name}", partial(parsed, solved)),
            "a forward pass an option": lambda: timed(f"passes{name}", partial(passes, solved)),
            harness.OURS: lambda: timed(f"ours{name}", partial(ours, solved)),
        }
        return harness.compared(harness.take_turns(ways, options.repeats), len(quiz), "questions")

    def write() -> list[str]:
        return inference.generate(model, tokenizer, texts, max_new_tokens=options.new_tokens, batch_size=BATCH)

    chosen = choosing("", [])
    shown = choosing(", shots", list(task.examples(parts["train"], "missing", seed=0))[:SHOTS])
    writing = {
        "generate, arrival order": lambda: timed(
            "plain", lambda: generate_plain(model, tokenizer, texts, options.new_tokens)
        ),
        harness.OURS: lambda: timed("written", write),
    }
    written = harness.compared(harness.take_turns(writing, options.repeats), len(texts), "answers")
    same = {
        "choices": _share(said["passes"], said["ours"]),
        "choices with examples": _share(said["passes, shots"], said["ours, shots"]),
        "answers": _share(said["plain"], said["written"]),
        "choices that could be read": round(sum(choice >= 0 for choice in said["parsed"]) / len(quiz), 3),
    }
    for name in ("choices", "choices with examples", "answers"):
        if same[name] < AGREE and loaded.dtype == "float32":
            raise SystemExit(f"only {same[name]:.0%} of the {name} agree: the times cannot be compared")
    for title, rows in {f"{SHOTS} examples": shown, "writing": written}.items():
        for name, row in rows.items():
            print(f"{f'{title}, {name}':<38} {row['median_s']:8.2f} s  {row['times_ours']:5.2f} x ours")
    print(", ".join(f"same {name} {share:.0%}" for name, share in list(same.items())[:-1]))
    harness.report(
        "evaluation", options, machine.dtype, rows=len(quiz), new_tokens=options.new_tokens, same=same,
        shots=shown, writing=written, ways=chosen,
    )  # fmt: skip


def turns(solved: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Questions and their answers as the turns of one conversation."""
    return [turn for talk in solved for turn in (*talk["prompt"], *talk["completion"])]


def _share(a: Sequence[Any], b: Sequence[Any]) -> float:
    return round(sum(x == y for x, y in zip(a, b, strict=True)) / len(a), 3)


def generate_plain(model: Any, tokenizer: Any, prompts: Sequence[Any], new_tokens: int) -> list[str]:
    """transformers' own way: batches in the order of the data, padded on the left."""
    import torch

    tokenizer.padding_side = "left"
    answers = []
    for start in range(0, len(prompts), BATCH):
        given = tokenizer.apply_chat_template(
            prompts[start : start + BATCH], add_generation_prompt=True, padding=True, return_tensors="pt",
            return_dict=True,
        )  # fmt: skip
        with torch.inference_mode():
            out = model.generate(**given.to(model.device), max_new_tokens=new_tokens, do_sample=False)
        answers += tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in answers]


def choose_plain(model: Any, tokenizer: Any, questions: Sequence[Any], options: Sequence[Sequence[str]]) -> list[int]:
    """Question and option together, 8 of them in a pass, in the order of the data: the option of the least loss."""
    import torch

    from helpers.inference.batching import encode

    rows = [
        (number, *encode(tokenizer, {"prompt": question, "completion": [{"role": "assistant", "content": option}]}))
        for number, (question, offered) in enumerate(zip(questions, options, strict=True))
        for option in offered
    ]
    scores: list[list[float]] = [[] for _ in questions]
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        width = max(len(prompt) + len(answer) for _, prompt, answer in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, (_, prompt, answer) in enumerate(batch):
            ids[place, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            mask[place, : len(prompt) + len(answer)] = 1
        with torch.inference_mode():
            logp = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits.float()
        for place, (number, prompt, answer) in enumerate(batch):
            row = logp[place, len(prompt) - 1 : len(prompt) + len(answer) - 1].log_softmax(-1)
            scores[number].append(float(row.gather(1, torch.tensor(answer, device=row.device)[:, None]).sum()))
    return [row.index(max(row)) for row in scores]


if __name__ == "__main__":
    main()
