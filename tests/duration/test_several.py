"""Plans for several cards by their names: links by hand, tables that are as planned, README's cells planned again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_cases import command

from helpers.duration.links import host_of, link_of, seconds, update_seconds
from helpers.duration.rates import sheet
from helpers.duration.several import KINDS, SIZES, USUAL, planned_cards
from helpers.errors import ParameterError
from helpers.files import repo_root
from helpers.machine import hardware
from helpers.memory import report
from helpers.memory.fit import jobs_named
from helpers.memory.planner import CARDS, GB
from helpers.memory.several import cheapest_set, plan_rank
from helpers.memory.spread import STRATEGIES, spread_of
from helpers.memory.wire import GATHER, REDUCE, UP, Traffic

TINY: dict[str, Any] = {"length": 64, "labelled": 32, "batch_size": 2}


def test_every_card_has_links_with_sources() -> None:
    links = sheet()["links"]
    assert all(row["source"] and row["bandwidth"] > 1 for row in links.values())
    for card in CARDS:
        assert link_of(card).name in links and host_of(card).name in links
    # What a data sheet gives for both directions.
    both = {"PCIe 3.0 x16": 32, "PCIe 4.0 x16": 64, "PCIe 5.0 x16": 128, "NVLink 3": 600, "NVLink 4": 900}
    assert {name: 2 * row["bandwidth"] for name, row in links.items()} == pytest.approx(both, rel=0.02)


def test_seconds_of_sending_by_hand() -> None:
    rows = [Traffic(GATHER, 4, 10, 8 * 10**9), Traffic(REDUCE, 2, 1, 10**9), Traffic(UP, 1, 10, 2 * 10**9)]
    link, host = link_of("T4 16 GB", "10"), host_of("T4 16 GB")
    assert seconds(rows, link, host) == pytest.approx((6 + 1) / 10 + 2 / (15.75 * 0.7))
    assert update_seconds(3.0, 1.0) == (3.0, 4.0) and update_seconds(1.0, 3.0) == (3.0, 4.0)


def test_links_by_name() -> None:
    assert link_of("T4 16 GB", "nvlink 3").bandwidth == 300e9 and link_of("T4 16 GB", "PCIe4.0x16").share == 0.7


@pytest.mark.parametrize("given", ["NVLink 33", "fast", "0", "-3", "nan"])
def test_a_link_that_is_none_is_one_clear_line(given: str) -> None:
    with pytest.raises(ParameterError, match=r"link = .*(PCIe 3.0 x16|above 0)"):
        link_of("T4 16 GB", given)


def test_one_strategy_says_what_is_planned() -> None:
    found = planned_cards("tiny/llama", "full", TINY, "2xT4", "fsdp", link="5")
    spread = spread_of(jobs_named("tiny/llama", "full", TINY, _with("T4 16 GB"))[0]["training"], "fsdp", 2)
    plan = plan_rank(jobs_named("tiny/llama", "full", TINY, _with("T4 16 GB"))[0]["training"], spread)
    assert found.fits and found.values["needed_gb"] == round(plan.plan.total / GB, 3)
    sent = sum(row["sent"] for row in found.values["sent"])
    assert found.values["sending_seconds"] == pytest.approx(sent / 5e9, abs=1e-4)
    least, most = found.values["update_seconds"]
    assert most == pytest.approx(found.values["computing_seconds"] + found.values["sending_seconds"], abs=2e-4)
    assert least <= most
    for part in ("bnb_4bit_quant_storage = 'float16'", "all-gather", "gathered", "not measured on several cards"):
        assert part in found.words


def test_all_strategies_side_by_side_say_why_one_has_no_plan() -> None:
    found = planned_cards("tiny/llama", "full", TINY, "2xT4")
    assert list(found.values["strategies"]) == list(STRATEGIES)
    assert "cannot be divided" in found.words and "error" in found.values["strategies"]["hybrid"]


def test_a_lesson_is_planned_for_several_cards() -> None:
    found = planned_cards("04", "smoke", {}, "2xT4", "ddp")
    assert found.fits and [row["kind"] for row in found.values["sent"]] == ["all-reduce", "broadcast"]


def test_a_plan_that_does_not_fit_names_the_cheapest_change() -> None:
    given = {"batch_size": 64, "length": 1024, "quant": "none"}
    found = planned_cards("smollm2-135m", "full", given, "2xT4", "fsdp")
    assert not found.fits and re.search(r"cheapest change: batch_size = \d+, accumulation = \d+", found.words)


def test_whole_numbers_are_not_sharded_and_the_plan_says_so() -> None:
    floats, whole = (
        planned_cards("tiny/phi", "full", TINY | {"quant_storage": storage}, "2xL4", "fsdp")
        for storage in ("bfloat16", "uint8")
    )
    assert "set bnb_4bit_quant_storage = 'bfloat16'" in whole.words and "set bnb" not in floats.words
    assert whole.values["held_bytes"]["parameters"] > floats.values["held_bytes"]["parameters"]


def test_lengths_by_cards() -> None:
    found = planned_cards("tiny/llama", "full", TINY, "4xT4", "fsdp", lengths=[32, 128])
    assert [(row["length"], row["cards"]) for row in found.values["lengths"]] == [
        (length, count) for length in (32, 128) for count in (1, 2, 4)
    ]


def test_auto_lists_a_set_for_each_strategy_and_prices_change_it() -> None:
    found = planned_cards("tiny/llama", "full", TINY | {"quant": "none"}, "auto")
    (row,) = found.values["rows"]
    cards = {name: (one["spread"]["count"], one["card"]) for name, one in row["sets"].items()}
    assert cards == {name: ({"ddp": 1, "hybrid": 4}.get(name, 2), "T4 16 GB") for name in STRATEGIES}
    dear = planned_cards("tiny/llama", "full", TINY, "auto", "ddp", prices=["T4=9", "L4=1"])
    assert {row["sets"]["ddp"]["card"] for row in dear.values["rows"]} == {"L4 24 GB"}


@pytest.mark.parametrize(
    ("cards", "more", "says"),
    [
        ("2xT4", {"strategy": "fspd"}, "did you mean 'fsdp'"),
        ("3xFOO", {}, "names no cards"),
        ("auto", {"prices": ["T4"]}, "--price T4=0.35"),
        ("auto", {"prices": ["T4=no"]}, "--price T4=0.35"),
        ("auto", {"prices": ["T4=0"]}, "--price T4=0.35"),
        ("auto", {"prices": ["=3"]}, "card"),
        ("auto", {"strategy": "ful"}, "Strategies: ddp"),
        ("2xT4", {"prices": ["T4=1"]}, "--cards auto"),
        ("2xT4", {"strategy": "hybrid"}, "Use --strategy fsdp"),
    ],
)
def test_a_mistake_is_one_clear_line(cards: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says) as error:
        planned_cards("tiny/llama", "full", TINY, cards, more.pop("strategy", None), **more)
    assert "\n" not in str(error.value)


def test_the_command_line_plans_several_cards() -> None:
    words = ["plan", "tiny/llama"]
    done = command(*words, "--cards", "2xT4", "--strategy", "fsdp", "-p", "length", "64", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["spread"]["count"] == 2
    for stray in (["--strategy", "fsdp"], ["--cards", "2xT4", "--card", "T4"], ["--cards", "2xT4", "--lengths", "a"]):
        done = command(*words, *stray)
        assert done.returncode == 2 and done.stderr.startswith("ParameterError: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "kind", "strategy"), [("7B", "QLoRA", "fsdp"), ("13B", "full", "grad-op"), ("34B", "full", "offload")]
)
def test_readme_has_what_is_planned(model: str, kind: str, strategy: str) -> None:
    text = Path(repo_root(), "README.md").read_text(encoding="utf-8")
    block = text.split("<!-- cards:start -->")[1].split("<!-- cards:end -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line.startswith("|")
    ]
    (cells,) = (row for row in rows if row[:2] == [model, kind])
    assert [row[:2] for row in rows[2:]] == [[model, kind] for model in SIZES for kind in KINDS]

    def job_on(card: str) -> Any:
        return jobs_named(SIZES[model], "full", USUAL | KINDS[kind], _with(card))[0]["training"]

    found = cheapest_set(job_on, strategy)
    assert found is not None
    cell = cells[rows[0].index(strategy)]
    assert cell.startswith(str(found))
    assert float(cell.split(", ")[1].split(" ")[0]) == pytest.approx(found.found.plan.total / GB, rel=0.02)


def _with(card: str) -> Any:
    return report.machine_with(card, hardware.probe())
