"""How a training is spread over several cards: which, how many, and what each of them holds of the model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.errors import ParameterError
from helpers.hints import did_you_mean
from helpers.memory.jobs import Job

# What each card holds: everything (DDP); a part of weights, gradients and optimizer states (FSDP, full shard); the
# same, but weights stay whole from the forward to the backward pass (shard grad op); a part among the cards of one
# group, and the groups are copies of each other (hybrid); a part in the machine's memory (CPU offload).
STRATEGIES = ("ddp", "fsdp", "grad-op", "hybrid", "offload")
STORAGES = ("uint8", "float16", "bfloat16", "float32")
SHARDED_STEPS = ("completion", "causal")
MOST = 1024


@dataclass(frozen=True)
class Spread:
    """A strategy and its cards; make one with ``spread_of``, which checks it against a job.

    Attributes:
        strategy: one of ``STRATEGIES``.
        count: cards, one process each.
        shard: cards that share one copy of the model; 1 for DDP.
        storage: dtype that 4-bit weights are kept in, ``bnb_4bit_quant_storage``. Whole numbers are not sharded.
    """

    strategy: str
    count: int
    shard: int
    storage: str = "uint8"

    @property
    def sharded(self) -> bool:
        return self.strategy != "ddp"

    @property
    def copies(self) -> int:
        """How many copies of the model there are; gradients are summed over them."""
        return self.count // self.shard

    @property
    def frees(self) -> bool:
        """Whether a gathered unit is given back after its forward pass and gathered again for its backward pass."""
        return self.strategy in ("fsdp", "hybrid", "offload")

    @property
    def offloads(self) -> bool:
        return self.strategy == "offload"

    def __str__(self) -> str:
        groups = f", {self.copies} groups of {self.shard}" if self.strategy == "hybrid" else ""
        return f"{self.strategy} on {self.count} card{'s' * (self.count > 1)}{groups}"


def cards_of(text: str) -> tuple[int, str]:
    """ "2xT4", "T4x2" or "T4" -> (how many, the card's name in ``planner.CARDS``).

    Raises:
        ParameterError: not a number of cards, or no card of that name.
    """
    from helpers.memory.report import card_named

    cure = "Write a number and a card, such as 2xT4 or 8xA100-80"
    found = re.fullmatch(r"\s*(?:(\d+)\s*[x×*]\s*)?([A-Za-z].*?)(?:\s*[x×*]\s*(\d+))?\s*", text)
    if not found or (found[1] and found[3]):
        raise ParameterError(f"cards = {text!r} is not a number of cards", cure)
    count = int(found[1] or found[3] or 1)
    if not 1 <= count <= MOST:
        raise ParameterError(f"cards = {text!r} are {count} cards", f"Give 1 to {MOST} of them, such as 2xT4")
    return count, card_named(found[2])


def spread_of(job: Job, strategy: str, count: int, *, shard: int | None = None, storage: str | None = None) -> Spread:
    """A strategy for a job, checked.

    Args:
        shard: cards that share one copy, for "hybrid"; half of all without it.
        storage: one of ``STORAGES`` for 4-bit weights; without it the one that is sharded.

    Raises:
        ParameterError: the strategy is not known, its numbers do not divide, or the job cannot be trained with it.
    """
    if strategy not in STRATEGIES:
        near = did_you_mean(strategy, STRATEGIES)
        raise ParameterError(f"strategy = {strategy!r} is not known{near}", f"Strategies: {', '.join(STRATEGIES)}")
    if not job.trains:
        raise ParameterError(f"step {job.step!r} trains nothing", "Strategies for several cards are for training")
    if storage is not None and storage not in STORAGES:
        near = did_you_mean(storage, STORAGES)
        raise ParameterError(f"quant_storage = {storage!r} is not known{near}", f"Allowed: {', '.join(STORAGES)}")
    if storage is not None and not job.quant.startswith("nf4"):
        raise ParameterError(f"quant_storage is for 4-bit weights, and quant is {job.quant!r}", "Leave it out")
    if job.step == "contrast":
        raise ParameterError("trained prompts are not planned for several cards", "Plan them with --card")
    if shard is not None and strategy != "hybrid":
        raise ParameterError(
            f"shard = {shard} has no meaning with {strategy}", "Leave it out, or use --strategy hybrid"
        )
    packed = job.quant.startswith("nf4")
    if strategy == "ddp":
        return Spread(strategy, count, 1, (storage or "uint8") if packed else "uint8")
    if count < 2:
        raise ParameterError(
            f"{strategy} on one card has no other to share with", "Give 2 cards, or use --strategy ddp"
        )
    _shardable(job)
    if packed:
        storage = _matching(job, storage)
    return Spread(strategy, count, _group(count, shard) if strategy == "hybrid" else count, storage or "uint8")


def _group(count: int, shard: int | None) -> int:
    """Cards of one group: they have to divide all cards, and to be fewer."""
    options = [n for n in range(2, count) if count % n == 0]
    if not options:
        raise ParameterError(f"hybrid needs groups of cards, and {count} cannot be divided", "Use --strategy fsdp")
    wanted = count // 2 if shard is None else shard
    if wanted not in options:
        nearest = min(options, key=lambda n: abs(n - wanted))
        what = f"{count} cards are not groups of {wanted}"
        raise ParameterError(what, f"Did you mean --shard {nearest}? Possible: {', '.join(map(str, options))}")
    return wanted


def _shardable(job: Job) -> None:
    """Refuse what FSDP cannot train, or what has not been compared with it."""
    reasons: list[tuple[bool, str, str]] = [
        (
            job.quant == "int8",
            "quant = 'int8' cannot be sharded: bitsandbytes keeps the scales on a tensor that FSDP replaces",
            "Use quant = 'nf4-double' or 'none'",
        ),
        (
            job.method not in ("lora", "full"),
            f"method = {job.method!r} is not planned sharded",
            "Use --strategy ddp, or method = 'lora'",
        ),
        (
            job.step not in SHARDED_STEPS,
            f"step = {job.step!r} is not planned sharded",
            f"Use --strategy ddp; sharded: {', '.join(SHARDED_STEPS)}",
        ),
        (
            job.optimizer != "adamw_torch",
            f"optimizer = {job.optimizer!r} is not planned sharded",
            "Use optimizer = 'adamw_torch'",
        ),
        (
            job.prepared,
            "prepared = True: weights in float32 beside 16-bit ones are cast back when they are gathered",
            "Leave prepare_model_for_kbit_training out, prepared = False",
        ),
    ]
    for refused, what, cure in reasons:
        if refused:
            raise ParameterError(what, cure)


def gathered_in(job: Job) -> str | None:
    """The dtype that weights are cast to when they are gathered, ``param_dtype``; ``None``: each stays as it is."""
    return job.dtype if job.mixed and job.dtype != "float32" else None


def _matching(job: Job, storage: str | None) -> str:
    """Floats that hold 4-bit weights are cast like weights when they are gathered, unless they are of that dtype."""
    policy = gathered_in(job) or job.dtype
    if storage in (None, policy):
        return policy
    if storage == "uint8" or gathered_in(job) is None:
        return str(storage)
    what = f"quant_storage = {storage!r} does not match {policy}, to which FSDP casts weights when it gathers them"
    raise ParameterError(f"{what}: packed 4-bit weights would be destroyed", f"Use quant_storage = {policy!r}")
