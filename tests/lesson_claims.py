"""What a finished run of a lesson must show, whatever its profile and seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from helpers.runs.records import RunRecord

QLORA, NLI, SIDE_BY_SIDE = "04_qlora_instruct", "03_qlora_nli", "09_evaluation"
PREFIX, VLM = "05_prefix_tuning", "06_lora_vlm"
PROMPTS, CAPTIONS = "07_compositional_prompts", "08_blip2_captioning"


def nli(record: RunRecord) -> None:
    """The classifier learns."""
    tuned, before = (record.systems[name]["accuracy"] for name in ("qlora", "zero-shot"))
    assert tuned["n"] >= 300 and tuned["value"] >= 0.85
    assert before["low"] <= 1 / 3 <= before["high"], "nobody taught it these words"
    (test,) = (t for t in record.tests if (t["b"], t["metric"]) == ("zero-shot", "accuracy"))
    assert test["difference"] > 0 and test["p_value"] < 0.001 and "McNemar" in test["test"]


def prefix(record: RunRecord) -> None:
    """Prefixes learn; the published collator does not."""
    before, broken, *tuned = (
        record.systems[n] for n in ("zero-shot", "as published, higher rate", "prefix", "embedding")
    )
    assert before["accuracy"]["n"] >= 200
    for measured in tuned:
        assert measured["valid_rate"]["value"] >= 0.95, "it answers"
        assert measured["accuracy"]["value"] >= 0.60 and measured["accuracy"]["low"] > before["accuracy"]["high"]
    assert broken["valid_rate"]["value"] <= 0.7, "the published collator takes the answers away"


def vlm(record: RunRecord) -> None:
    """A model that sees learns, and looks."""
    before, gold, teacher = (record.systems[name] for name in ("zero-shot", "gold", "teacher"))
    assert gold["accuracy"]["n"] >= 200 and gold["accuracy"]["value"] >= 0.75
    assert min(gold["accuracy"]["low"], teacher["accuracy"]["low"]) > before["accuracy"]["high"]
    assert min(gold["valid_rate"]["value"], teacher["valid_rate"]["value"]) >= 0.95, "they answer"
    compared = {t["b"] for t in record.tests if t["a"] == "gold"}
    assert {"best prompt", "best classical"} <= compared, "what costs no training stands beside it"
    (blind,) = (t for t in record.tests if t["b"] == "gold, blind")
    assert blind["difference"] >= 0.25 and blind["p_value"] < 0.001


def prompts(record: RunRecord) -> None:
    """Words are found and recombined."""
    (mined,) = (t for t in record.tests if t["b"] == "bare words")
    assert mined["difference"] > 0 and mined["p_value"] < 0.01, "words in a sentence beat bare words"
    (gain,) = (t for t in record.tests if (t["a"], t["b"], t["metric"]) == ("Troika", "zero-shot", "harmonic_mean"))
    assert gain["difference"] > 0 and gain["p_value"] < 0.01
    assert record.systems["bare words"]["accuracy"]["n"] >= 200


def captions(record: RunRecord) -> None:
    """Captions get their slots right."""
    tuned = record.systems["repaired"]["slot_accuracy"]
    assert tuned["n"] >= 200 and tuned["value"] >= 0.80
    for other in ("zero-shot", "constant", "shuffled"):
        (test,) = (t for t in record.tests if (t["a"], t["b"]) == ("repaired", other))
        assert test["difference"] > 0 and test["p_value"] < 0.01, other
    constant = record.systems["constant"]
    assert constant["rougeL"]["value"] > 0.65 and constant["slot_accuracy"]["value"] < 0.3, "the frame gives it away"


def instruct(record: RunRecord) -> None:
    """Fine-tuning beats zero-shot."""
    for metric, better in (("perplexity", -1), ("rougeL", 1)):
        # Comparisons of a tuned system with the untouched one, turned so that the tuned one comes first.
        gains = [
            (test["p_value"], test["difference"] * (-1 if "zero" in test["a"] else 1))
            for test in record.tests
            if test["metric"] == metric and ("zero" in test["a"]) != ("zero" in test["b"])
        ]
        assert gains, f"no paired test on {metric} against zero-shot"
        assert any(p < 0.01 and gain * better > 0 for p, gain in gains), gains


CLAIMS: dict[str, Callable[[RunRecord], None]] = {
    NLI: nli, PREFIX: prefix, VLM: vlm, PROMPTS: prompts, CAPTIONS: captions
}  # fmt: skip


def shown(folder: Path) -> str:
    """What an executed notebook printed and showed, as text; not its source."""
    cells = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join("".join(text) for text in texts)
