"""The arithmetic of several cards, against simulations, architectures counted by hand, and trying everything."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.errors import ParameterError
from helpers.memory import recording, several, steps
from helpers.memory.depth import canonical, deepened
from helpers.memory.jobs import Job
from helpers.memory.marks import put_marks
from helpers.memory.planner import GB
from helpers.memory.several import cheapest_set, lengths_table, plan_rank
from helpers.memory.shards import marked_record, sharded
from helpers.memory.spread import STRATEGIES, Spread, cards_of, spread_of
from helpers.memory.units import Member, held
from helpers.memory.wire import BROADCAST, DOWN, GATHER, NORM, REDUCE, SCATTER, UP, Traffic
from helpers.models.skeletons import skeleton

SMOL = Job("smollm2-135m", batch_size=2, length=128, labelled=64, capability=(8, 0), dtype="bfloat16")
FULL = SMOL.but(method="full", quant="none")


def ring(kind: str, cards: int, chunk: float) -> list[float]:
    """Bytes that each card sends: each passes a chunk to the next, step by step, until all have what they need."""
    sent = [0.0] * cards
    rounds = {GATHER: 1, SCATTER: 1, REDUCE: 2, NORM: 2, BROADCAST: 1}[kind]
    for _ in range(rounds * (cards - 1)):
        for card in range(cards):
            sent[card] += chunk
    return sent


@pytest.mark.parametrize("cards", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", [GATHER, SCATTER, REDUCE, NORM])
def test_bytes_sent_are_those_of_a_ring(kind: str, cards: int) -> None:
    size = 840 * cards
    assert all(sent == pytest.approx(Traffic(kind, cards, 1, size).sent) for sent in ring(kind, cards, size / cards))


def test_copies_within_a_machine_are_not_sent() -> None:
    assert [Traffic(kind, 1, 3, 100).sent for kind in (UP, DOWN)] == [0, 0]


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("shape", [(8, 5), (7, 3), (2, 4), (1, 6), (13,)])
def test_a_card_holds_the_rows_that_torch_gives_it(shape: tuple[int, ...], count: int) -> None:
    """Also where there are fewer rows than cards; padded, all have as much as the first."""
    parts = [part.numel() for part in torch.zeros(shape).chunk(count)]
    member, spread = Member(shape, torch.float32, True), Spread("fsdp", count, count)
    assert [member.numbers(spread, rank) for rank in range(count)] == parts + [0] * (count - len(parts))
    assert member.numbers(spread) == parts[0]


@pytest.mark.parametrize("storage", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("columns", [64, 63])
def test_packed_weights_have_the_size_that_bitsandbytes_gives_them(storage: str, columns: int) -> None:
    from bitsandbytes.functional import quantize_4bit

    dtype = getattr(torch, storage)
    real, _ = quantize_4bit(torch.randn(16, columns), quant_type="nf4", quant_storage=dtype)
    member = Member((8 * columns, 1), torch.uint8, False, packed=True)
    assert member.numbers(Spread("ddp", 1, 1, storage)) == real.numel()


def test_llama_7b_on_four_cards_counted_by_hand() -> None:
    """QLoRA of rank 16 on all linear layers; every dimension is divisible by 4, so that nothing is padded."""
    job = Job("llama-2-7b", batch_size=1, length=64, labelled=16, checkpointing=True)
    spread = spread_of(job, "fsdp", 4)
    found = plan_rank(job, spread)
    packed = 4 * 4096 * 4096 + 3 * 4096 * 11008  # weights of a layer
    adapter = 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    layers, ends = 32 * (packed // 2 + 2 * 2 * 4096), 2 * (2 * 32000 * 4096 + 4096)
    assert held(found.units, spread) == {
        "parameters": (layers + ends + 4 * 32 * adapter) // 4,
        "gradients": 32 * adapter,
        "optimizer states": 2 * 32 * adapter,
    }
    rows = {row.kind: row for row in found.sent}
    layer = packed // 2 + 2 * 2 * 4096 + 2 * adapter  # gathered in 16 bits
    table = 2 * 32000 * 4096
    assert rows[GATHER].size == 2 * 32 * layer + 2 * table + table + 2 * 4096  # head and last norm once
    assert rows[GATHER].calls == 2 * 32 + 2 + 1 + 1
    assert (rows[SCATTER].calls, rows[SCATTER].size) == (32, 32 * 2 * adapter)
    assert (rows[NORM].calls, rows[NORM].size) == (1, 4 * 32 * 14)
    assert found.plan.parts["quantisation scales"] == pytest.approx(32 * packed / 64, rel=0.02)  # whole on each
    assert found.loading > found.plan.total


def test_a_hybrid_gathers_within_a_group_and_sums_among_groups() -> None:
    whole, groups = (plan_rank(FULL, spread_of(FULL, name, 4)).sent for name in ("fsdp", "hybrid"))
    a, b = ({row.kind: row for row in rows} for rows in (whole, groups))
    assert (b[GATHER].cards, b[SCATTER].cards, b[REDUCE].cards) == (2, 2, 2) and REDUCE not in a
    assert (a[GATHER].size, a[SCATTER].size) == (b[GATHER].size, b[SCATTER].size)
    assert b[REDUCE].size == b[SCATTER].size // 2 and b[REDUCE].calls == b[SCATTER].calls


def test_more_passes_an_update_gather_again_and_sum_once() -> None:
    once, thrice = (
        {row.kind: row for row in plan_rank(job, spread_of(job, "fsdp", 4)).sent}
        for job in (FULL, FULL.but(accumulation=3))
    )
    assert thrice[GATHER].size == 3 * once[GATHER].size and thrice[SCATTER] == once[SCATTER]


def test_offloading_moves_a_cards_part_and_sends_the_same() -> None:
    fsdp, offload = (plan_rank(FULL, spread_of(FULL, name, 4)) for name in ("fsdp", "offload"))
    rows = {row.kind: row for row in offload.sent}
    assert list(fsdp.sent) == [row for row in offload.sent if row.kind not in (UP, DOWN)]
    kept = held(offload.units, offload.spread)
    assert offload.host == pytest.approx(sum(kept.values()), rel=0.01) and fsdp.host == 0
    assert rows[DOWN].size == kept["gradients"]
    assert kept["parameters"] <= rows[UP].size <= 2 * kept["parameters"]
    assert offload.plan.total < fsdp.plan.total


@pytest.mark.parametrize("job", [SMOL, FULL, FULL.but(accumulation=2)], ids=["qlora", "full", "two passes"])
def test_what_is_gathered_and_sent_is_given_back(job: Job) -> None:
    """At the end of a step there is what was there before it, and nothing ends twice."""
    record, units = marked_record(job)
    for name in STRATEGIES[1:]:
        spread = spread_of(job, name, 4)
        ledger, _ = sharded(record.ledger, units, job, spread)
        left = Counter[str]()
        sizes: dict[int, int] = {}
        for key, size in ledger.events:
            left[ledger.causes[key]] += size
            assert size >= 0 or sizes.pop(key) == -size
            if size >= 0:
                assert key not in sizes
                sizes[key] = size
        assert left[steps.GATHERED] == left[steps.SENT] == left[steps.GRADIENTS] == 0


def test_more_cards_never_need_more_of_each() -> None:
    for name in ("fsdp", "grad-op", "offload"):
        sizes = [plan_rank(FULL, spread_of(FULL, name, count)).plan.tensors for count in (2, 3, 4, 8, 16)]
        assert sizes == sorted(sizes, reverse=True)
    four = {name: plan_rank(FULL, spread_of(FULL, name, 4)).plan.tensors for name in STRATEGIES}
    assert four["offload"] < four["fsdp"] < four["hybrid"] < four["ddp"] and four["fsdp"] < four["grad-op"]


@pytest.mark.parametrize("job", [SMOL, SMOL.but(checkpointing=True), FULL], ids=["qlora", "again", "full"])
def test_two_shallow_models_give_the_marks_of_a_deep_one(job: Job) -> None:
    layers = 6
    same = job.but(mixed=False, uniform=True)
    records = [recording._recorded(same, n, put_marks)[0] for n in (recording.SHALLOW, recording.SHALLOW + 1, layers)]
    found = deepened(records[0], records[1], layers - recording.SHALLOW)
    assert found is not None and canonical(found) == canonical(records[2])
    words = [[ledger.shapes[key][2] for key, _ in canonical_order(ledger)] for ledger in (found, records[2])]
    assert words[0] == words[1]


def canonical_order(ledger: Any) -> list[tuple[int, int]]:
    """The events that begin something, marks among them."""
    return [(key, size) for key, size in ledger.events if size >= 0]


def test_the_cheapest_set_is_what_trying_everything_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"a": 1.2, "b": 1.7, "c": 2.6}
    monkeypatch.setattr(several, "CARDS", {name: (size * GB, (8, 0)) for name, size in sizes.items()})
    for strategy, possible in (("fsdp", (2, 4)), ("hybrid", (4,)), ("offload", (2, 4))):
        plans = {count: plan_rank(FULL, spread_of(FULL, strategy, count)).plan for count in possible}
        fitting = [(n, card) for n, plan in plans.items() for card, size in sizes.items() if plan.fits(size * GB)]
        for prices in (None, {"a": 3.0, "b": 1.0, "c": 1.1}, {"c": 5.0}):
            costs = {key: (prices or sizes)[key[1]] * key[0] for key in fitting if key[1] in (prices or sizes)}
            found = cheapest_set(lambda card: FULL, strategy, prices, counts=(1, 2, 4))
            least = min(costs, key=lambda key: (costs[key], key[0]), default=None)
            assert (found and (found.found.spread.count, found.card)) == least
    assert cheapest_set(lambda card: FULL, "fsdp", counts=(2,), prices={"a": 1.0}) is None


def test_a_table_of_lengths_and_cards() -> None:
    table = lengths_table(SMOL.but(quant="none"), "fsdp", [64, 256], [1, 2, 4])
    sizes = {key: plan.total for key, plan in table.items() if plan}
    assert set(sizes) == {(length, count) for length in (64, 256) for count in (1, 2, 4)}
    assert all(sizes[256, n] > sizes[64, n] for n in (1, 2, 4))
    assert lengths_table(SMOL, "hybrid", [64], [2, 4])[64, 2] is None


def test_code_llama_has_the_parameters_that_its_name_says() -> None:
    assert sum(p.numel() for p in skeleton("codellama/CodeLlama-34b-hf").parameters()) == 33_743_970_304


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2xT4", (2, "T4 16 GB")), ("T4x2", (2, "T4 16 GB")), ("8 x A100-80", (8, "A100 80 GB")),
        ("h100", (1, "H100 80 GB")), ("4×L4", (4, "L4 24 GB")),
    ],
)  # fmt: skip
def test_cards_by_number_and_name(text: str, expected: tuple[int, str]) -> None:
    assert cards_of(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3xFOO", "names no cards.*Cards: P100"), ("2xT5", "did you mean 'T4'"), ("0xT4", "0 cards"), ("2x", "2xT4"),
        ("", "2xT4"), ("2xT4x2", "2xT4"), ("-1xT4", "2xT4"), ("5000xT4", "1 to 1024"),
    ],
)  # fmt: skip
def test_cards_that_are_none_are_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(ParameterError, match=says) as error:
        cards_of(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "strategy", "count", "options", "says"),
    [
        ({}, "fspd", 2, {}, "did you mean 'fsdp'"),
        ({}, "hybrid", 8, {"shard": 3}, "Did you mean --shard 2"),
        ({}, "hybrid", 2, {}, "Use --strategy fsdp"),
        ({}, "hybrid", 4, {"shard": 4}, "Did you mean --shard 2"),
        ({}, "fsdp", 1, {}, "Give 2 cards"),
        ({}, "fsdp", 2, {"shard": 2}, "no meaning with fsdp"),
        ({}, "fsdp", 2, {"storage": "float16"}, "Use quant_storage = 'bfloat16'"),
        ({}, "fsdp", 2, {"storage": "bfloat"}, "did you mean 'bfloat16'"),
        ({"quant": "none"}, "fsdp", 2, {"storage": "bfloat16"}, "for 4-bit weights"),
        ({"quant": "int8"}, "fsdp", 2, {}, "Use quant = 'nf4-double'"),
        ({"method": "embedding"}, "fsdp", 2, {}, "Use --strategy ddp"),
        ({"step": "classify"}, "fsdp", 2, {}, "Use --strategy ddp"),
        ({"optimizer": "adamw_bnb_8bit", "quant": "none", "method": "full"}, "fsdp", 2, {}, "adamw_torch"),
        ({"prepared": True}, "fsdp", 2, {}, "prepared = False"),
        ({"step": "generate"}, "ddp", 2, {}, "trains nothing"),
    ],
)
def test_what_cannot_be_spread_is_one_clear_line(
    change: dict[str, Any], strategy: str, count: int, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ParameterError, match=says) as error:
        spread_of(SMOL.but(**change), strategy, count, **options)
    assert "\n" not in str(error.value)


def test_a_model_without_layers_of_a_known_kind_is_one_unit(tmp_path: Path) -> None:
    """Nothing is hidden in a unit of its own: all of it is gathered at once, as accelerate would do it."""
    from torch import nn

    from helpers.memory.units import ROOT, units_of

    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False))
    model.get_input_embeddings = model.get_output_embeddings = lambda: None  # type: ignore[assignment]
    (unit,) = units_of(model, FULL)
    assert unit.name == ROOT and unit.keeps and sum(math.prod(m.shape) for m in unit.members) == 28
