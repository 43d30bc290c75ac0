"""What the tiny checkpoints read: conversations without facts, and notes that say what follows from what."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

STANCES = ("Indeed", "Perhaps", "Wrong")  # how a note ends when the remark is entailed, open, contradicted


def generic_chats(sentences: list[str], rng: random.Random) -> Iterator[list[dict[str, str]]]:
    """Endless conversations that teach the chat format, repeating, listing and choosing, and no facts."""
    words = sorted({w.strip(".,").lower() for s in sentences for w in s.split() if len(w) > 3})
    kinds = [_say, _repeat, _use, _name, _choose, _find]
    while True:
        question, answer = rng.choice(kinds)(sentences, words, rng)
        yield [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _some(words: list[str], rng: random.Random, low: int, high: int) -> list[str]:
    return [" ".join(rng.sample(words, rng.choice((1, 1, 2)))) for _ in range(rng.randint(low, high))]


def _bullets(items: list[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _say(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    return "Say something.", " ".join(rng.sample(sentences, rng.randint(1, 3)))


def _repeat(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    some = rng.sample(sentences, rng.randint(1, 3))
    return "Repeat:\n" + _bullets(some), "\n".join(f"{i}. {s}" for i, s in enumerate(some, 1))


def _use(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    """Copy words of a list, one or two at a time, into a carrier sentence that says nothing about them."""
    things = _some(words, rng, 3, 6)
    lines: list[str] = []
    rest = list(things)
    while rest:
        taken = [rest.pop(0) for _ in range(min(len(rest), rng.choice((1, 1, 2))))]
        verb = rng.choice(("Take", "Look at", "Find", "Name"))
        lines.append(f"{len(lines) + 1}. {verb} the {' and the '.join(taken)}.")
    listed = [f"{rng.randint(1, 500)} {rng.choice(('of', 'x', 'g'))} {t}" if rng.random() < 0.5 else t for t in things]
    return "Use them:\n" + _bullets(listed), "\n".join(lines)


def _name(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    things = _some(words, rng, 3, 6)
    return "Name them:\n" + _bullets(things), ", ".join(things)


def _choose(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    """Any of the options: which one is drawn at random."""
    things = _some(words, rng, 2, 5)
    return (
        f"{rng.choice(sentences)}\nOptions: {'; '.join(things)}\nAnswer with one of the options.",
        rng.choice(things),
    )


def _find(sentences: list[str], words: list[str], rng: random.Random) -> tuple[str, str]:
    """The option that stands in the sentences, as a string: matching, not meaning."""
    listed = _some(words, rng, 3, 6)
    answer = rng.choice(listed)
    options = [answer, *(t for t in _some(words, rng, 3, 3) if t not in listed)]
    rng.shuffle(options)
    question = f"Which of these is listed?\n\n{', '.join(listed)}\nOptions: {'; '.join(options)}"
    return question + "\nAnswer with one of the options.", answer


def notes(seed: int) -> Iterator[tuple[str, str]]:
    """Endless captions with a remark, and the word that somebody adds; half of the captions say one thing only.

    No caption is the premise of a test pair in a lesson with one of the seeds 0 to 9 (and up to 600 test pairs).
    """
    from helpers.tasks.snli.generator import triples

    held_out = {row["premise"] for lesson in range(10) for triple in islice(triples(lesson), 200) for row in triple}
    number = 0
    while True:
        number += 1
        first = -1000 * (seed + 1) - 2 * number
        for pair in islice(zip(triples(first), triples(first - 1, (0, 1, 1)), strict=False), 200):
            for row in (row for triple in pair for row in triple):
                if row["premise"] not in held_out:
                    yield f"{row['premise']}\n{row['hypothesis']}", STANCES[row["label"]]
