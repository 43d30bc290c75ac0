"""What a finished run of a lesson must show, whatever its profile and seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.adapters.combining import METHODS
from helpers.inference.prompting import RULES
from helpers.runs.records import RunRecord

BASELINES, QLORA, NLI, SIDE_BY_SIDE = "02_zero_shot_baselines", "04_qlora_instruct", "03_qlora_nli", "09_evaluation"
PREFIX, VLM = "05_prefix_tuning", "06_lora_vlm"
ADAPTERS = "10_adapters"
PROMPTS, CAPTIONS = "07_compositional_prompts", "08_blip2_captioning"
LOW_RANK = "11_low_rank"
SCALE_OUT = "12_scale_out"
LLM_ADAPTER = "13_llm_as_adapter"


def nli(record: RunRecord) -> None:
    """The classifier learns, more than what is cheaper does."""
    tuned, before = (record.systems[name]["accuracy"] for name in ("qlora", "zero-shot"))
    assert tuned["n"] >= 300 and tuned["value"] >= 0.85
    assert before["low"] <= 1 / 3 <= before["high"], "nobody taught it these words"
    for baseline in ("zero-shot", "few-shot", "classical", "untrained"):
        (test,) = (t for t in record.tests if (t["b"], t["metric"]) == (baseline, "accuracy"))
        assert test["difference"] > 0 and test["p_value"] < 0.001 and "sign flips" in test["test"]
    assert 50 < tuned["groups"] < tuned["n"] / 2, "pairs of a triple are one group"
    found = risks(record, "overfitting")
    amounts = sorted({int(m.split("with ")[1].split()[0]) for m in found if m.startswith("test loss with")})
    assert len(amounts) == 2 and len(found) == 6
    few = found[f"test loss with {amounts[0]} training pairs (nats)"]
    assert few["change"]["difference"] < 0 and few["change"]["p_value"] < 0.01, "stopped early it is better"
    starts = [
        next(v for m, v in found.items() if m.startswith("lowest validation loss") and m.endswith(f"with {n} pairs"))
        for n in amounts
    ]
    first, second = (row["values"]["measured"]["value"] for row in starts)
    assert first <= second, "more pairs, later"


def risks(record: RunRecord, risk: str) -> dict[str, Any]:
    """Measure → row, of one risk; every number has its interval, and every change its test."""
    rows = [row for row in record.metrics["risks"] if row["risk"] == risk]
    for row in rows:
        for entry in row["values"].values():
            assert entry["low"] <= entry["value"] <= entry["high"] and entry["n"] > 0, row
        assert len(row["values"]) == (1 if row["change"] is None else 2)
        assert row["change"] is None or 0 <= row["change"]["p_value"] <= 1
    return {row["measure"]: row for row in rows}


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


def adapters(record: RunRecord) -> None:
    """Adapters mix exactly, each is the best for its task, and a file that others read says the same."""
    names = ("recipes", "dialogsum", "snli")
    for name in names:
        own = record.systems[f"{name}: {name}"]["perplexity"]
        for other in ("base", *names):
            if other != name:
                assert own["high"] < record.systems[f"{other}: {name}"]["perplexity"]["low"], (name, other)
    rows = record.notes["data"]["snli"]["sizes"]["test"]
    assert record.notes["groups"]["snli"] < rows, "pairs that share a sentence are one group"
    assert record.notes["mixed"]["whole batches"] == 0
    combined = [t for t in record.tests if t["b"] in {f"{name}: {name}" for name in names} and "base" not in t["a"]]
    assert {t["a"] for t in combined} >= {f"{method}: {name}" for method in METHODS for name in names}
    drift = record.notes["merging"]
    assert drift["merged in memory"]["largest"] < 1e-3 and drift["merged, 16-bit file"]["relative"] < 1e-3
    assert drift["merged into 4 bits"]["relative"] > 0.005, "a merge into 4 bits moves the logits"
    checked = risks(record, "misalignment")
    assert len(checked) == 3 and {row["values"]["base"]["n"] for row in checked.values()} == {26}
    gguf = record.notes["gguf"]
    assert gguf["same"] == gguf["of"] >= 20 and abs(gguf["perplexity"][1] / gguf["perplexity"][0] - 1) < 0.01


def low_rank(record: RunRecord) -> None:
    """Each system has its own rate, and the penalty lowers the rank of the update whatever the seed."""
    sweep = record.notes["sweep"]
    assert set(sweep) == {"rank 1", "rank 8", "rank 64", "full"} == set(record.notes["rates"])
    for name in sweep:
        (learned,) = (t for t in record.tests if (t["a"], t["b"]) == (name, "zero-shot"))
        assert learned["difference"] < 0 and learned["p_value"] < 0.01
    assert float(sweep["rank 1"]["learning rate"]) > float(sweep["rank 64"]["learning rate"])
    ranks = record.notes["penalties"]["effective_rank"]["nuclear"]
    assert len(ranks) == 4 and ranks == sorted(set(ranks), reverse=True) and ranks[-1] < 0.95 * ranks[0]
    found = risks(record, "opacity")
    assert found["rows with the name under a summary, found by (AUC)"]["values"]["gradient"]["low"] > 0.5
    assert any(measure.startswith("preference") for measure in found)
    assert {name: on["float32"] for name, on in record.notes["variants_run"].items()} == dict.fromkeys(
        ("LoRA", "rsLoRA", "DoRA", "PiSSA", "LoRA+", "AdaLoRA", "VeRA"), "runs"
    )


def scale_out(record: RunRecord) -> None:
    """What is counted is what is planned; two processes train what one does, unless they do it as published."""
    wire = {(row["strategy"], row["kind"]): row["equal"] for row in record.notes["wire"]}
    assert {name for name, _ in wire} == {"ddp", "fsdp", "grad-op", "offload"}
    assert {("ddp", "all-reduce"), ("fsdp", "all-gather"), ("fsdp", "reduce-scatter")} <= set(wire)
    assert {kind for (_, kind), equal in wire.items() if equal is not True} == {"to the GPU", "to the RAM"}
    assert len(record.notes["held"]) == 8 and all(row["equal"] for row in record.notes["held"])
    same = record.notes["same"]
    assert len(same) == 8
    for name, found in same.items():
        apart = found["adapter apart"]
        assert apart < 1e-4 and not found["other rows"] if name.startswith("repaired") else apart > 1e-3, (name, found)
    (learned,) = (t for t in record.tests if (t["a"], t["b"]) == ("two processes", "untrained"))
    assert learned["difference"] < 0 and learned["p_value"] < 0.01
    (equal,) = (t for t in record.tests if (t["a"], t["b"]) == ("two processes", "one process"))
    assert abs(equal["difference"]) < 0.01
    assert record.notes["cards"]["70B"]["ddp"]["spread"]["count"] == 1, "one card of 80 GB"
    assert record.notes["cards"]["70B"]["fsdp"]["spread"]["count"] > 1


def llm_adapter(record: RunRecord) -> None:
    """Each half learns, the picture is used, and every wrong answer is put down to a half."""
    ends = record.systems["end to end"]["accuracy"]
    assert ends["n"] >= 200
    for other in ("zero-shot, end to end", "end to end, blind"):
        (test,) = (t for t in record.tests if (t["a"], t["b"]) == ("end to end", other))
        # In profile full the same tiny weights are rounded to 4 bits.
        least = 0.2 if record.info["settings"]["quant"] == "none" else 0.1
        assert test["difference"] >= least and test["p_value"] < 0.001
    for name in ("two stages", "two stages + facts", "gold scene", "gold scene + facts"):
        found = record.systems[name]
        assert found["valid_rate"]["value"] >= 0.95 and found["accuracy"]["n"] == ends["n"]
    for name, counts in record.notes["repairs"].items():
        wrong = round(ends["n"] * (1 - record.systems[name]["accuracy"]["value"]))
        assert sum(counts.values()) == wrong and len(counts) == 4
    tested = {(t["a"], t["b"]) for t in record.tests}
    assert ("end to end", "zero-shot, end to end, words in front") in tested, "a better prompt stands beside it"
    for kind, names in {
        "deeper": ("end to end", "gold scene"),
        "unseen pairs": ("gold scene", "gold scene + facts"),
    }.items():
        assert {(f"{name}, held out: {kind}", f"{name}: {kind}") for name in names} <= tested


PROMPTED = {f"{shots}, {rule}" for shots in ("zero-shot", "few-shot") for rule in RULES}


def baselines(record: RunRecord) -> None:
    """Every way of asking and the best classical model are compared, and one of the ways is chosen beforehand."""
    rivals = {"best classical", "generation", *PROMPTED}
    tested = {test["a"] for test in record.tests if (test["b"], test["metric"]) == ("most frequent", "accuracy")}
    assert tested == rivals
    assert {"zero-shot", "few-shot"} <= {test["a"] for test in record.tests if test["metric"] == "rougeL"}
    sizes = {record.systems[name]["accuracy"]["n"] for name in rivals}
    assert sizes == {record.notes["bar"]["questions"]}, "all on the same questions"
    chosen, classical = record.notes["bar"]["accuracy"]
    assert chosen in PROMPTED and classical == "best classical"
    assert any((test["a"], test["b"]) == (chosen, classical) for test in record.tests)


def instruct(record: RunRecord) -> None:
    """Fine-tuning beats zero-shot, and is compared with every cheap rival on the same questions."""
    rivals = {
        "accuracy": {"zero-shot", "best classical", *PROMPTED},
        "rougeL": {"zero-shot", "few-shot", "one text for all"},
        "perplexity": {"zero-shot", "few-shot"},
    }
    for metric, names in rivals.items():
        assert {t["b"] for t in record.tests if (t["a"], t["metric"]) == ("qlora", metric)} == names
        assert len({record.systems[name][metric]["n"] for name in ("qlora", *names)}) == 1
    treated, remembered = risks(record, "bias"), risks(record, "privacy")
    assert len(treated) == 8 and all(row["change"] for row in treated.values())
    assert {"texts with personal data (share)"} <= set(remembered)
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
    NLI: nli, PREFIX: prefix, VLM: vlm, PROMPTS: prompts, CAPTIONS: captions, ADAPTERS: adapters, LOW_RANK: low_rank,
    SCALE_OUT: scale_out,
    LLM_ADAPTER: llm_adapter,
}  # fmt: skip


def shown(folder: Path) -> str:
    """What an executed notebook printed and showed, as text; not its source."""
    cells = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join("".join(text) for text in texts)
