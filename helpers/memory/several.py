"""A plan for each of several cards: what it holds at the peak of a step and what it sends; the cheapest cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from helpers.errors import ParameterError
from helpers.machine.hardware import NEEDED
from helpers.memory.build import BUFFERS, SCALES
from helpers.memory.gpu import FLASH
from helpers.memory.jobs import Job
from helpers.memory.ledger import Ledger
from helpers.memory.planner import CARDS, CONTEXT, GB, Plan, plan_of
from helpers.memory.recording import Record
from helpers.memory.shards import marked_record, sharded, whole_record, with_buckets
from helpers.memory.spread import Spread, spread_of
from helpers.memory.units import Unit, held, members
from helpers.memory.wire import Traffic, buckets, traffic

COUNTS = (1, 2, 4, 8, 16, 32)  # cards that a set may have


@dataclass(frozen=True)
class RankPlan:
    """What a job takes on one of several cards: on the one that holds most, since parts may be uneven.

    Attributes:
        plan: of the card.
        sent: what goes over the wire in one update.
        units: of the model.
        host: bytes that a process keeps in the machine's memory.
        whole: bytes of the model's weights with their scales, before they are sharded.
    """

    job: Job
    spread: Spread
    plan: Plan
    sent: tuple[Traffic, ...]
    units: tuple[Unit, ...]
    host: int
    whole: int

    @property
    def loading(self) -> int:
        """Bytes on each card while 4-bit weights are loaded there, whole, and sharded afterwards; 0 where none are.

        transformers puts quantised weights on the process' GPU; accelerate then shards them in place.
        """
        packed = self.job.quant.startswith("nf4") and self.spread.sharded
        return int(self.whole + CONTEXT) if packed else 0


def plan_rank(job: Job, spread: Spread) -> RankPlan:
    """Plan a job on one of several cards: the step is recorded once, all strategies and numbers of cards follow.

    Raises:
        ModelError: the model's configuration cannot be found.
    """
    record, units = _recorded(job, spread.sharded)
    host = 0
    if spread.sharded:
        ledger, host = sharded(record.ledger, units, job, spread)
    elif spread.count > 1:
        ledger = with_buckets(record.ledger, buckets(units, spread))
    else:
        ledger = record.ledger
    alone = Spread("ddp", 1, 1)
    whole = sum(m.numbers(alone) * m.dtype.itemsize for m in members(units)) + _there(record.ledger, SCALES)
    sent = traffic(units, job, spread, _there(record.ledger, BUFFERS))
    found = plan_of(job, Record(ledger, record.states, record.config))
    return RankPlan(job, spread, found, tuple(sent), units, host, whole)


def _recorded(job: Job, marks: bool) -> tuple[Record, tuple[Unit, ...]]:
    if job.device == "cuda":  # so that cards share a record: it depends on no more of a card
        job = job.but(capability=FLASH if job.capability >= FLASH else (7, 5))
    return (marked_record if marks else whole_record)(job)


def _there(ledger: Ledger, cause: str) -> int:
    """Bytes of the storages for a cause that are still there after the step."""
    return sum(size for key, size in ledger.events if ledger.causes[key] == cause)


@dataclass(frozen=True)
class CardSet:
    """Cards that a job fits on."""

    card: str
    found: RankPlan
    cost: float

    def __str__(self) -> str:
        return f"{self.found.spread.count} × {self.card}"


def cheapest_set(
    job_on: Callable[[str], Job],
    strategy: str,
    prices: Mapping[str, float] | None = None,
    counts: Sequence[int] = COUNTS,
) -> CardSet | None:
    """The cheapest cards that a job fits on with a margin, of one kind; ``None`` where none of the sets does.

    Args:
        job_on: the job as it is on a card of ``CARDS``; number formats differ.
        prices: of one card, in any unit; only cards with a price are looked at. Without prices the least memory in all
            is the cheapest, and of equal ones the fewest cards.
        counts: how many cards a set may have.
    """
    wanted = [card for card in CARDS if prices is None or card in prices]
    costs = {card: CARDS[card][0] / GB if prices is None else prices[card] for card in wanted}
    if strategy == "ddp":  # more cards leave each as full as one
        counts = [1]
    sets = sorted((costs[card] * count, count, card) for card in wanted for count in counts)
    for cost, count, card in sets:
        size, capability = CARDS[card]
        job = job_on(card)
        if capability < NEEDED.get(job.quant.split("-")[0], (0, 0)) or (count == 1 and strategy != "ddp"):
            continue
        try:
            spread = spread_of(job, strategy, count)
        except ParameterError:
            if strategy == "hybrid" and count < 4:  # no groups
                continue
            raise
        if _least(job, spread) > size:
            continue
        found = plan_rank(job, spread)
        if found.plan.tensors + CONTEXT <= size and found.plan.fits(size):
            return CardSet(card, found, cost)
    return None


def _least(job: Job, spread: Spread) -> float:
    """Bytes that a card has to have for what it holds between two steps alone."""
    record, units = _recorded(job, spread.sharded)
    kept = 0 if spread.offloads else sum(held(units, spread).values())
    return kept + _there(record.ledger, SCALES) + CONTEXT


def lengths_table(
    job: Job, strategy: str, lengths: Sequence[int], counts: Sequence[int], shard: int | None = None
) -> dict[tuple[int, int], Plan | None]:
    """(tokens of a row, cards) -> plan of a card; ``None`` where the strategy needs more; one card has all."""
    found: dict[tuple[int, int], Plan | None] = {}
    for length in lengths:
        longer = job.but(length=length, labelled=min(job.labelled, length - 1))
        for count in counts:
            if strategy == "hybrid" and 1 < count < 4:
                found[length, count] = None
                continue
            spread = spread_of(longer, strategy, count, shard=shard) if count > 1 else spread_of(longer, "ddp", 1)
            found[length, count] = plan_rank(longer, spread).plan
    return found
