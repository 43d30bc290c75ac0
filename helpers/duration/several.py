"""The plan of a model for several cards by their names: memory of each, what is sent, time, and the cheapest sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from helpers.config.parameters import MODEL_SIZES
from helpers.duration import links
from helpers.duration import several_report as words
from helpers.duration.named import Planned
from helpers.duration.predict import step_time
from helpers.duration.rates import of_card
from helpers.errors import ParameterError
from helpers.machine import hardware
from helpers.memory import report
from helpers.memory.fit import jobs_named
from helpers.memory.jobs import Job
from helpers.memory.planner import CARDS
from helpers.memory.search import cheapest
from helpers.memory.several import CardSet, RankPlan, cheapest_set, lengths_table, plan_rank
from helpers.memory.spread import STRATEGIES, cards_of, spread_of

# What people mean by the size of a model: the Llama 2 family, and Code Llama, which has the 34B that Llama 2 lacks.
SIZES = dict(zip(MODEL_SIZES, ("llama-2-7b", "llama-2-13b", "codellama-34b", "llama-2-70b"), strict=True))
KINDS = {
    "QLoRA": {"method": "lora", "quant": "nf4-double"},
    "LoRA": {"method": "lora", "quant": "none"},
    "full": {"method": "full", "quant": "none"},
}
USUAL: dict[str, Any] = {"batch_size": 1, "length": 1024, "labelled": 512, "checkpointing": True}
CHANGES = ("batch_size", "accumulation", "checkpointing", "length", "quant")  # that may make it fit


def planned_cards(
    what: str,
    profile: str,
    given: Mapping[str, Any],
    cards: str,
    strategy: str | None = None,
    *,
    shard: int | None = None,
    link: str | None = None,
    prices: Sequence[str] = (),
    lengths: Sequence[int] = (),
) -> Planned:
    """Plan a training on several cards; loads no weights.

    Args:
        what: a lesson, or the id of a model; with ``cards="auto"`` several of them, or of ``SIZES``, with commas.
        profile: of a lesson.
        given: parameters that differ from the profile's, or fields of ``Job``; and ``quant_storage``.
        cards: "2xT4", or "auto" for the cheapest set of each strategy.
        strategy: one of ``STRATEGIES``; all are compared without it.
        shard: cards of a group, for "hybrid".
        link: between the cards, see ``links.link_of``.
        prices: "T4=0.35", of one card in any unit, for "auto".
        lengths: tokens of a row, for a table of lengths and numbers of cards.

    Raises:
        ParameterError: one of these is not known or does not fit another.
        ModelError: neither a lesson nor a model.
    """
    if strategy is not None and strategy not in STRATEGIES:
        spread_of(Job("any"), strategy, 2)  # says which is near
    given = dict(given)
    storage = given.pop("quant_storage", None)
    if cards.strip().lower() == "auto":
        return _sets(what, given, strategy, _priced(prices))
    if prices:
        raise ParameterError("prices are for comparing sets of cards", "Give --cards auto")
    count, card = cards_of(cards)
    machine = report.machine_with(card, hardware.probe())
    jobs, names = jobs_named(SIZES.get(what.upper(), what), profile, given, machine)
    job = next(iter(jobs.values()))
    between, host = links.link_of(card, link), links.host_of(card)
    if lengths:
        table = lengths_table(job, strategy or "fsdp", lengths, _counts(count), shard)
        return words.lengths(job, strategy or "fsdp", card, table)
    if strategy is None:
        found = {name: _rank(job, name, count, shard, storage) for name in STRATEGIES}
        return words.strategies(job, count, card, found, between, host)
    rank = _rank(job, strategy, count, shard, storage)
    if isinstance(rank, ParameterError):
        raise rank
    change = None
    size = CARDS[card][0]
    if not rank.plan.fits(size):
        allowed = {field for field in CHANGES if field in names}
        change = cheapest(job, size, lambda j: plan_rank(j, spread_of(j, strategy, count, shard=shard)).plan, allowed)
    computing = step_time(job.but(mixed=False, uniform=job.mixed) if rank.spread.sharded else job, of_card(card))
    return words.one(rank, card, between, host, computing.total, change, names)


def _rank(job: Job, strategy: str, count: int, shard: int | None, storage: str | None) -> RankPlan | ParameterError:
    """The plan, or why there is none."""
    try:
        return plan_rank(job, spread_of(job, strategy, count, shard=shard, storage=storage))
    except ParameterError as error:
        return error


def _counts(most: int) -> list[int]:
    """1, 2, 4 … up to this number, which is the last."""
    powers = [2**n for n in range(most.bit_length()) if 2**n < most]
    return [*powers, most]


def _priced(prices: Sequence[str]) -> dict[str, float] | None:
    found: dict[str, float] = {}
    for text in prices:
        name, sign, value = text.partition("=")
        try:
            found[report.card_named(name)] = float(value)
        except ValueError:
            sign = ""
        if not sign or found[report.card_named(name)] <= 0:
            raise ParameterError(f"price {text!r} is not a card and a price", "Write --price T4=0.35")
    return found or None


def _sets(what: str, given: dict[str, Any], strategy: str | None, prices: dict[str, float] | None) -> Planned:
    """The cheapest set of cards for each model, kind of training and strategy."""
    kinds = KINDS if not {"method", "quant"} & set(given) else {"as given": {}}
    rows: list[tuple[str, str, dict[str, CardSet | None]]] = []
    machine = hardware.probe()
    for name in what.split(","):
        model = SIZES.get(name.strip().upper(), name.strip())
        for kind, values in kinds.items():

            def job_on(card: str, model: str = model, values: Mapping[str, Any] = values) -> Job:
                own = USUAL | dict(values) | given
                return next(iter(jobs_named(model, "full", own, report.machine_with(card, machine))[0].values()))

            chosen = [strategy] if strategy else list(STRATEGIES)
            rows.append((name.strip(), kind, {each: cheapest_set(job_on, each, prices) for each in chosen}))
    return words.sets(rows, USUAL | given, prices)
