"""Plans beside published measurements: each row agrees, has its cause, or is called unexplained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.memory import older, planner, published
from helpers.memory.jobs import Job
from helpers.memory.published import AGREES, PLANS, THEN, comparison, measurements, summary, verdict
from helpers.models.skeletons import SHAPES, configuration

ROOT = Path(__file__).resolve().parents[2]
ROWS = measurements()


def test_each_figure_has_a_source_that_says_what_it_counts_and_what_is_not_known() -> None:
    assert len(ROWS) >= 16 and len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert set(row.source) == {
            "title", "url", "date", "software", "gpu", "capability", "counts", "unit", "known", "open",
        }  # fmt: skip
        assert row.source["url"].startswith("https://") and len(row.source["url"].split("/")[6]) == 40, "at a commit"
        assert row.source["counts"] in ("allocated", "reserved", "unknown")
        assert (SHAPES / f"{row.job.model}.json").is_file(), "planned without a network"
        assert set(row.then) <= set(THEN)


def test_every_row_agrees_or_its_cause_is_found_or_it_is_called_unexplained() -> None:
    rows = comparison()
    assert set(json.loads(PLANS.read_text())["plans"]) == {row.name for row in ROWS}
    for row in rows:
        near = abs(row["ratio"] - 1) <= AGREES
        assert (row["says"] == "agrees") == near
        if row["says"] == "explained":
            assert row["why"] and abs(row["then"] - 1) <= AGREES, row
    assert [row["what"] for row in rows if row["says"] == "unexplained"] == ["Qwen-7B, LoRA, 8,192 tokens"]
    assert summary(rows)["agree"] >= 16


@pytest.mark.parametrize(
    ("ratio", "then", "says"),
    [
        (1.069, None, "agrees"),
        (0.93, None, "agrees"),
        (0.9, None, "unexplained"),
        (0.9, 0.99, "explained"),
        (0.9, 0.92, "unexplained"),
    ],
)
def test_a_difference_is_explained_only_where_its_cause_brings_the_plan_there(
    ratio: float, then: float | None, says: str
) -> None:
    assert verdict(ratio, then) == says


# Among the quickest; `python benchmarks/planned_memory.py --published` plans all anew.
LIVE = [row for row in ROWS if row.name in ("phi-1.5, NF4, answering", "Llama-3.2-3B, prefix of 200")]


@pytest.mark.parametrize("row", LIVE, ids=lambda row: row.name)
def test_the_kept_plan_is_what_is_planned_now(row: published.Measurement) -> None:
    kept = json.loads(PLANS.read_text())["plans"][row.name]
    assert row.planned() == pytest.approx(kept["planned"], rel=0.01)
    if row.then:
        assert row.planned_then() == pytest.approx(kept["then"], rel=0.01)


def test_an_older_four_bit_layer_keeps_its_input() -> None:
    job = Job(
        "tiny/llama", step="causal", quant="nf4", dtype="bfloat16", mixed=False, padded=False, batch_size=2, length=128,
        labelled=100, targets="q_proj", capability=(8, 0),
    )  # fmt: skip
    now = planner.plan.__wrapped__(job)
    with older.inputs_kept():
        then = planner.plan.__wrapped__(job)
    assert planner.plan.__wrapped__(job).tensors == now.tensors, "and only within the block"
    sizes = configuration(job.model)
    # A number's two bytes for both norms' outputs and the feed-forward product; flash attention keeps its own in any
    # case, and what goes into the first layer needs no gradient.
    widths = sizes.num_hidden_layers * (2 * sizes.hidden_size + sizes.intermediate_size) - sizes.hidden_size
    assert then.tensors - now.tensors == 2 * widths * job.batch_size * job.length


def test_readme_says_how_far_plans_are_off() -> None:
    found = summary(comparison())
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    error = f"error in the median {found['median']:.1%}, largest {found['largest']:.0%}"
    for said in (f"{found['n']} published measurements", f"{found['agree']} of them within {AGREES:.0%}", error):
        assert said.replace("%", " %") in text
