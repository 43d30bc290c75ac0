"""Short dialogues of two people with a summary that follows from how they are made.

A dialogue has a topic, an opening with its details, perhaps small talk that matters to nobody, and one of three
endings: agreed, changed, or refused. The summary names what was wanted and how it ended. Speakers are called
#Person1# and #Person2#, as in DialogSum. What they say stands in ``dialogues.toml``.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from helpers.tasks.base import Row

_DATA = tomllib.loads(Path(__file__).with_name("dialogues.toml").read_text(encoding="utf-8"))
SCENES = _DATA["scenes"]
ENDINGS = ("agreed", "changed", "refused")


def dialogues(seed: int) -> Iterator[Row]:
    """Different dialogues, until nearly all have come. Row: id, dialogue, summary, topic, ending."""
    rng = random.Random(f"dialogsum-{seed}")
    seen: set[str] = set()
    misses = 0
    while misses < 2000:
        row = draw_dialogue(rng)
        if row["summary"] in seen:  # the same summary again, around other small talk: a near-copy
            misses += 1
            continue
        misses = 0
        yield {"id": f"gen-{seed}-{len(seen)}"} | row
        seen.add(row["summary"])


def draw_dialogue(rng: random.Random) -> Row:
    scene = rng.choice(SCENES)
    filled: dict[str, str] = {}
    for slot, values in _DATA["slots"].items():
        filled[slot], filled[f"{slot}2"] = rng.sample(values, 2)
    ending = rng.choice(ENDINGS)
    answer, reply, told = scene[ending]
    first, reported = scene["want"]
    before, behind = (rng.sample(_DATA[name], rng.choice((0, 1, 2))) for name in ("small_talk", "goodbyes"))
    lines = [*chain(*before), first, answer, reply, *chain(*behind)]
    spoken = [f"#Person{i % 2 + 1}#: {_capital(line.format(**filled))}" for i, line in enumerate(lines)]
    summary = f"#Person1# {reported} {told}.".format(**filled).replace("my ", "#Person1#'s ")
    return {"dialogue": "\n".join(spoken), "summary": summary, "topic": scene["topic"], "ending": ending}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
