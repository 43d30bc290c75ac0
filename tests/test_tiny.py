"""The tiny checkpoints are what their script makes, small, and know nothing of the tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.models.load import TINY
from helpers.models.tiny.build import build

NAMES = sorted(p.parent.name for p in TINY.glob("*/config.json"))


def test_there_are_checkpoints() -> None:
    assert "llama" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_is_small(name: str) -> None:
    assert sum(f.stat().st_size for f in (TINY / name).iterdir()) <= 2 * 2**20


def test_a_rebuild_goes_the_same_way(tmp_path: Path) -> None:
    """Ten steps of the full schedule: same tokenizer to the byte, same losses to rounding."""
    done = build("llama", tmp_path, stop=10)
    recorded = json.loads((TINY / "llama" / "training.json").read_text())
    assert done["parameters"] == recorded["parameters"]
    assert done["first_losses"] == pytest.approx(recorded["first_losses"], abs=2e-3)
    assert (tmp_path / "tokenizer.json").read_text() == (TINY / "llama" / "tokenizer.json").read_text()
    assert recorded["last_loss"] < 0.25 * recorded["first_losses"][0]
