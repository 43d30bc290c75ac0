"""The tiny checkpoints are what their script makes, small, and know nothing of the tasks."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from helpers import tasks
from helpers.models.load import TINY
from helpers.models.tiny.build import build
from helpers.models.tiny.texts import STANCES, notes
from helpers.tasks.snli import QUESTION, VERBALISERS

NAMES = sorted(p.parent.name for p in TINY.glob("*/config.json"))


def test_there_are_checkpoints() -> None:
    assert {"llama", "phi"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_is_small(name: str) -> None:
    assert sum(f.stat().st_size for f in (TINY / name).iterdir()) <= 2 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_a_rebuild_goes_the_same_way(name: str, tmp_path: Path) -> None:
    """Ten steps of the full schedule: same tokenizer to the byte, same losses to rounding."""
    done = build(name, tmp_path, stop=10)
    recorded = json.loads((TINY / name / "training.json").read_text())
    assert done["parameters"] == recorded["parameters"]
    assert done["first_losses"] == pytest.approx(recorded["first_losses"], abs=2e-3)
    assert (tmp_path / "tokenizer.json").read_text() == (TINY / name / "tokenizer.json").read_text()
    assert recorded["last_loss"] < 0.25 * recorded["first_losses"][0]


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
