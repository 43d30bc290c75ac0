"""A deep model's record from two shallow ones, against the deep model recorded whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from helpers.memory import recording
from helpers.memory.depth import canonical, deepened
from helpers.memory.jobs import Job
from helpers.memory.ledger import Ledger
from helpers.memory.planner import plan

CPU: dict[str, Any] = {"device": "cpu", "dtype": "bfloat16"}
PHI = Job("phi-2", step="classify", quant="nf4", targets="q_proj+v_proj+fc1+fc2", length=40, batch_size=2)
SEES = Job("qwen2-vl-2b", step="vision", quant="nf4", targets="q_proj+v_proj", length=100, pixels=56 * 56, batch_size=2)
SMOL = Job("smollm2-135m", length=48, labelled=16, batch_size=2)
JOBS = {
    "QLoRA": SMOL,
    "checkpointing, dropout, passes": SMOL.but(checkpointing=True, lora_dropout=0.1, accumulation=3),
    "prepared, no autocast": SMOL.but(prepared=True, mixed=False, quant="nf4", dtype="bfloat16", capability=(8, 0)),
    "8 bits": SMOL.but(quant="int8", checkpointing=True),
    "all weights": SMOL.but(method="full", quant="none"),
    "prefix of keys and values": SMOL.but(method="key_value", quant="none"),
    "prefix of vectors": SMOL.but(method="embedding", quant="none", prefix_hidden=16),
    "PEFT's prefix": SMOL.but(method="peft", quant="none"),
    "flash attention": SMOL.but(step="causal", padded=False, capability=(8, 0), dtype="bfloat16"),
    "on a CPU": dataclasses.replace(SMOL, **CPU),
    "on a CPU, faster": dataclasses.replace(SMOL, faster=True, kept_weights=True, **CPU),
    "answers": SMOL.but(step="generate", new_tokens=20),
    "answers on a CPU": dataclasses.replace(SMOL, step="generate", new_tokens=20, **CPU),
    "ratings": SMOL.but(step="rate"),
    "a classifier": PHI,
    "a classifier, checkpointing": PHI.but(checkpointing=True, mixed=False, capability=(6, 0)),
    "words": PHI.but(step="label_words"),
    "pictures": SEES,
    "pictures and a prefix": SEES.but(method="key_value"),
    "CLIP's words": Job("clip-vit-b-32", step="contrast", method="soft", quant="none", batch_size=8, length=12),
}


@pytest.mark.parametrize("name", JOBS)
def test_two_shallow_models_give_the_record_of_a_deep_one(name: str) -> None:
    """Every birth and every death, in order, with what it was for."""
    job, layers = JOBS[name], 7
    short, longer, whole = (recording._recorded(job, n)[0] for n in (recording.SHALLOW, recording.SHALLOW + 1, layers))
    found = deepened(short, longer, layers - recording.SHALLOW)
    assert found is not None
    assert canonical(found) == canonical(whole) and found.peak() == _ordered(whole).peak()
    _, index = found.peak()
    assert sorted(_held(found, index)) == sorted(_held(_ordered(whole), index))


def _ordered(ledger: Ledger) -> Ledger:
    """The same record, numbered and ordered as ``canonical`` does it."""
    names = dict(enumerate(dict.fromkeys(key for key, _ in ledger.events)))
    causes, shapes = ({key: of[name] for key, name in names.items()} for of in (ledger.causes, ledger.shapes))
    return Ledger(canonical(ledger), causes, shapes)  # type: ignore[arg-type]


def _held(ledger: Ledger, index: int) -> list[str]:
    return [f"{size} {ledger.causes[key]} {ledger.shapes[key]}" for key, size in ledger.live(index).items()]


@pytest.mark.parametrize(
    "job", [SMOL.but(checkpointing=True, optimizer="adamw_bnb_8bit"), SMOL.but(step="generate", length=100)]
)
def test_a_plan_of_all_layers_is_that_of_the_model_recorded_whole(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int | None] = []
    own = recording._recorded

    def counted(job: Job, layers: int | None, prepare: Any = None) -> Any:
        calls.append(layers)
        return own(job, layers)

    monkeypatch.setattr(recording, "_recorded", counted)
    short = plan.__wrapped__(job)
    assert calls == [recording.SHALLOW, recording.SHALLOW + 1], "else nothing is tested"
    monkeypatch.setattr(recording, "DEEP", 1000)
    whole = plan.__wrapped__(job)
    assert calls[2:] == [None]
    for name in ("tensors", "parts", "extra", "allocated", "needed", "total"):
        assert getattr(short, name) == getattr(whole, name), name
    assert short.cards() == whole.cards() and short.rows() == whole.rows()
    assert sorted(map(repr, short.largest)) == sorted(map(repr, whole.largest))


def test_layers_that_differ_are_recorded_whole() -> None:
    """Gemma 2 alternates windows with full attention, which three layers and four do not tell."""
    from transformers import AutoConfig

    from helpers.memory import build

    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1,
             "head_dim": 32, "vocab_size": 100, "num_hidden_layers": 12}  # fmt: skip
    mixed, alike = (AutoConfig.for_model(kind, **sizes) for kind in ("gemma2", "llama"))
    job = Job("tiny/llama", quant="none")
    assert len({recording._described(layer) for layer in build.bare(job, alike).model.layers}) == 1
    assert len({recording._described(layer) for layer in build.bare(job, mixed).model.layers}) > 1


def test_records_of_different_steps_say_nothing_about_depth() -> None:
    """No answer rather than a wrong one."""
    three, four = (recording._recorded(SMOL, n)[0] for n in (3, 4))
    longer = recording._recorded(SMOL.but(length=60), 4)[0]
    other = recording._recorded(SMOL.but(checkpointing=True), 4)[0]
    assert deepened(three, four, 1) is not None
    assert deepened(three, longer, 5) is None and deepened(three, other, 5) is None
    assert deepened(four, three, 5) is None
